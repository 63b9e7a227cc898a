# SPDX-License-Identifier: Apache-2.0
"""A picture before GoEnhance fetches it: which one it is, whether it is fit, its staged copy, the link to it."""
