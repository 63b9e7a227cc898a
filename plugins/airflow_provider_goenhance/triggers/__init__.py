# SPDX-License-Identifier: Apache-2.0
"""Triggers. They only poll jobs; they never submit one."""
