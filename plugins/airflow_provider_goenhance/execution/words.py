# SPDX-License-Identifier: Apache-2.0
"""Counts in words."""

from __future__ import annotations


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Return a count with its noun: ``1 pair``, ``2 pairs``."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"
