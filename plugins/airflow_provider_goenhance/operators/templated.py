# SPDX-License-Identifier: Apache-2.0
"""Reading values that may have come out of a template."""

from __future__ import annotations


def flag(value: object) -> bool:
    """Read a yes or no: Jinja gives booleans as text, unless the Dag renders native objects."""
    return value if isinstance(value, bool) else str(value).strip().lower() in {"true", "1", "yes", "on"}
