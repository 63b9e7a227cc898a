# SPDX-License-Identifier: Apache-2.0
"""The data model of a manifest: rows as read, pairs to swap, rejected rows."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Row number, source_img, reference_img, pair_id, consent_ref, overflow, source_key, reference_key, labels, unreadable,
#: consent_expires
Row = tuple[int, str, str, str, str, str, str, str, str, str, str]


@dataclass(frozen=True, slots=True)
class Rows:
    """
    Consecutive rows of a manifest, column by column, as every reader yields them: trimmed, without blank rows.

    A column that the file does not have is a list of empty strings; those with a default may also be an empty list.

    :param overflow: the values beyond the last column of the header; empty for a valid row
    :param labels: the columns that are not the manifest's own, as JSON text, see :mod:`.labels`; may be empty
    :param unreadable: what makes a row unreadable, as a clause; empty for a valid row
    :param damaged: whether they follow a fault that makes the file unusable: they are checked, and never accepted
    """

    row_number: list[int]
    source_img: list[str]
    reference_img: list[str]
    pair_id: list[str]
    consent_ref: list[str]
    overflow: list[str]
    source_key: list[str] = field(default_factory=list)
    reference_key: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    consent_expires: list[str] = field(default_factory=list)
    damaged: bool = False

    def __iter__(self) -> Iterator[Row]:
        """Yield one tuple per row, in the order of the fields above."""
        absent = [""] * len(self.row_number)
        return zip(
            self.row_number,
            self.source_img,
            self.reference_img,
            self.pair_id,
            self.consent_ref,
            self.overflow or absent,
            self.source_key or absent,
            self.reference_key or absent,
            self.labels or absent,
            self.unreadable or absent,
            self.consent_expires or absent,
            strict=True,
        )


@dataclass(frozen=True, slots=True)
class Pair:
    """
    A row that can be swapped.

    :param pair_id: unique within its manifest, 1 to 200 characters; from the row or derived from its URLs
    :param source_img: address of the picture with the face: an http(s) URL, an object in a store, or a local path
    :param reference_img: address of the picture that receives it
    :param row_number: the row as a spreadsheet counts it: the header is row 1, the first data row is row 2. In a file
        without a header row the first row is row 1
    :param consent_ref: the row's consent reference, ``None`` if it has none
    :param source_key: names the source picture instead of its URL, see :mod:`..url_identity`
    :param reference_key: the same for the reference picture
    :param labels: the row's other columns as the JSON text of an object, ``None`` if it has none, see :mod:`.labels`
    :param consent_expires: when the consent ends, ``None`` if the row does not say
    """

    pair_id: str
    source_img: str
    reference_img: str
    row_number: int
    consent_ref: str | None = None
    source_key: str | None = None
    reference_key: str | None = None
    labels: str | None = None
    consent_expires: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """
    A row that cannot be swapped, and why. Passwords inside URLs are masked, long values cut.

    :param row_number: as in :class:`Pair`
    :param pair_id: the row's value (for a duplicate, also a derived one); may be empty
    :param source_img: the row's value; may be empty
    :param reference_img: the row's value; may be empty
    :param column: the column of the first problem; empty if the row as a whole is invalid
    :param code: the error code of the first problem, e.g. ``missing_value`` (all: :mod:`.validate`)
    :param reason: every problem of the row, for a person to act on
    :param consent_ref: the row's value, ``None`` if it has none; so are the other optional ones
    :param labels: as in :class:`Pair`
    :param consent_expires: as in :class:`Pair`; ``None`` also for one that is not a date
    """

    row_number: int
    pair_id: str
    source_img: str
    reference_img: str
    column: str
    code: str
    reason: str
    consent_ref: str | None = None
    source_key: str | None = None
    reference_key: str | None = None
    labels: str | None = None
    consent_expires: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """
    A manifest that has been read. Each row that is not blank is in exactly one of the two lists, in file order.

    :param location: the location it was read from, without password and signed query
    :param pairs: the rows to swap
    :param rejected: the rows that cannot be swapped
    :param sha256: hex digest of the file's bytes; ``None`` for pairs that did not come from a file
    """

    location: str
    pairs: list[Pair]
    rejected: list[RejectedRow]
    sha256: str | None = field(default=None, compare=False)
