# SPDX-License-Identifier: Apache-2.0
"""A picture before GoEnhance fetches it: which one it is, where it is staged, and the link to it."""
