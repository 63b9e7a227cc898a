# SPDX-License-Identifier: Apache-2.0
"""Sample data, the sandbox server and the local stack. Not part of the provider package."""
