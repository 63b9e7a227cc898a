# SPDX-License-Identifier: Apache-2.0
"""Reading values that may have come out of a template: as text, or as native objects."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

_YES = frozenset({"true", "1", "yes", "on"})
_NO = frozenset({"false", "0", "no", "off", "none", ""})


def flag(value: object, name: str) -> bool:
    """
    Read a yes or no.

    :raises ValueError: when it is neither, naming the argument
    """
    word = str(value).strip().lower()
    if word not in _YES | _NO:
        raise ValueError(f"{name} is yes or no (True, False), not {value!r}.")
    return word in _YES


def text(value: object) -> str | None:
    """Read an optional text; what a template makes of ``None`` is none."""
    word = "" if value is None else str(value).strip()
    return None if word in {"", "None"} else word


def number(value: Any, name: str, *, most: float | None = None) -> float:
    """
    Read a number of 0 or more.

    :param most: the greatest it may be
    :raises ValueError: when it is none, naming the argument
    """
    try:
        read = float(value)
    except (TypeError, ValueError):
        read = -1.0
    if not 0 <= read <= (float("inf") if most is None else most):
        up_to = "or more" if most is None else f"to {most:g}"
        raise ValueError(f"{name} is a number, 0 {up_to}, not {value!r}.")
    return read


def whole(value: Any, name: str) -> int:
    """
    Read a whole number of 0 or more.

    :raises ValueError: when it is none, naming the argument
    """
    read = number(value, name)
    if read != int(read):
        raise ValueError(f"{name} is a whole number, not {value!r}.")
    return int(read)


def choice(value: object, name: str, choices: Collection[str]) -> str:
    """
    Read one of a few words. A typing error here could cost money, so nothing else passes.

    :raises ValueError: when it is none of them, naming the argument
    """
    if value not in choices:
        raise ValueError(f"{name} is {' or '.join(map(repr, choices))}, not {value!r}.")
    return str(value)
