# SPDX-License-Identifier: Apache-2.0
"""The places at which pages begin, as texts for an address. They come back from browsers: anything may be in them."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any, Self

from .tally import Zone

#: Stands for the number of a row without one.
LAST = 2**31 - 1


@dataclass(frozen=True, slots=True)
class ZonePlace:
    """
    A place in the order of the zones.

    :param phase: which of the orders that follow one another
    :param zone: the zone
    :param row: number, pair id and id of the row before it; ``None``: it is after the whole zone
    """

    phase: int
    zone: Zone
    row: tuple[int, str, str] | None = None

    def text(self) -> str:
        """Return it as a text."""
        return _text([self.phase, *self.zone, *(self.row or ())])

    @classmethod
    def read(cls, text: str | None) -> Self | None:
        """Return the place of a text, ``None`` if it has none."""
        match _values(text):
            case [int(phase), str() | None as task, int() | None as batch]:
                return cls(phase, Zone(task, batch))
            case [int(phase), str() | None as task, int() | None as batch, int(number), str(pair), str(swap)]:
                return cls(phase, Zone(task, batch), (number, pair, swap))
        return None


@dataclass(frozen=True, slots=True)
class PairPlace:
    """A place in the order of the pair ids: after a row."""

    pair_id: str
    swap_id: str

    def text(self) -> str:
        """Return it as a text."""
        return _text([self.pair_id, self.swap_id])

    @classmethod
    def read(cls, text: str | None) -> Self | None:
        """Return the place of a text, ``None`` if it has none."""
        match _values(text):
            case [str(pair), str(swap)]:
                return cls(pair, swap)
        return None


def _text(values: list[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(values, ensure_ascii=False).encode()).decode().rstrip("=")


def _values(text: str | None) -> list[Any] | None:
    """Return the values in a text: texts without NUL, and numbers that fit a column."""
    if not text:
        return None
    try:
        values = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, list) or not all(map(_storable, values)):
        return None
    return values


def _storable(value: Any) -> bool:
    if isinstance(value, str):
        # A database refuses a NUL, and no driver encodes half of a character.
        return "\0" not in value and not any("\ud800" <= char <= "\udfff" for char in value)
    return value is None or (type(value) is int and 0 <= value <= LAST)
