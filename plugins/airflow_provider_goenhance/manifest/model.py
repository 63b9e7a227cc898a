# SPDX-License-Identifier: Apache-2.0
"""What a manifest holds once it has been read: the pairs to swap and the rows that cannot be."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pair:
    """
    One row that can be swapped.

    :param pair_id: unique within its manifest, 1 to 200 characters; given by the row or derived from its pictures
    :param source_img: http(s) URL of the picture that gives the face
    :param reference_img: http(s) URL of the picture that receives it
    :param row_number: the row as a spreadsheet counts it: the header is row 1, the first data row is row 2
    :param consent_ref: the row's consent reference, ``None`` if it gives none
    """

    pair_id: str
    source_img: str
    reference_img: str
    row_number: int
    consent_ref: str | None = None


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """
    One row that cannot be swapped, and why. Passwords inside URLs are already blanked out, long values cut.

    :param row_number: as in :class:`Pair`
    :param pair_id: what the row gives (or would have been given, if it is a duplicate); may be empty
    :param source_img: what the row gives; may be empty
    :param reference_img: what the row gives; may be empty
    :param column: the column of the first problem; empty where the row as a whole is at fault
    :param code: the first problem in one word of code, e.g. ``missing_value`` (all: :mod:`.validate`)
    :param reason: every problem of the row, for a person to act on
    """

    row_number: int
    pair_id: str
    source_img: str
    reference_img: str
    column: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """
    A manifest that has been read. Each row that is not blank is in exactly one of the two lists, in file order.

    :param location: where it was read from, without any password or signed query
    :param pairs: the rows to swap
    :param rejected: the rows that cannot be swapped
    """

    location: str
    pairs: list[Pair]
    rejected: list[RejectedRow]
