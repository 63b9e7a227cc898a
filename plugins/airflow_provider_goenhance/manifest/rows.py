# SPDX-License-Identifier: Apache-2.0
"""The form in which a reader of any file format hands rows over to be checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Rows held at once while reading: enough to keep pandas quick, about 20 MB with long URLs.
CHUNK_ROWS = 50_000


@dataclass(frozen=True, slots=True)
class Rows:
    """
    Some consecutive rows of a manifest, column by column; blank rows are left out, values are trimmed.

    A column that the file does not have is a list of empty strings. ``overflow`` is what a row has beyond the
    last column of the header, empty for a sound row.
    """

    row_number: list[int]
    source_img: list[str]
    reference_img: list[str]
    pair_id: list[str]
    consent_ref: list[str]
    overflow: list[str]

    def __iter__(self) -> Iterator[tuple[int, str, str, str, str, str]]:
        """One tuple a row, in the order of the fields above."""
        return zip(
            self.row_number,
            self.source_img,
            self.reference_img,
            self.pair_id,
            self.consent_ref,
            self.overflow,
            strict=True,
        )
