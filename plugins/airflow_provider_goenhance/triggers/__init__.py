# SPDX-License-Identifier: Apache-2.0
"""Triggers: they only ask about jobs, never submit one."""
