# SPDX-License-Identifier: Apache-2.0
"""A local server that speaks the GoEnhance image face swap API and really swaps faces."""
