# SPDX-License-Identifier: Apache-2.0
"""A local server that implements the GoEnhance image face swap API and really swaps faces."""
