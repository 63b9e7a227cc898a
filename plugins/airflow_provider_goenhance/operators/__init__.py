# SPDX-License-Identifier: Apache-2.0
"""Operators: thin faces over the rooms below."""
