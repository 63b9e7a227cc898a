# SPDX-License-Identifier: Apache-2.0
"""Find the faces in a picture. Needs the extra ``faces``; the sandbox's engine uses the same detector."""

#: Version of the rules: changes whenever the same picture may get another answer.
RULES = "2"
