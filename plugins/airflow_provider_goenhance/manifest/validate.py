# SPDX-License-Identifier: Apache-2.0
"""
Check the rows of a manifest: each becomes a pair or a rejected row with a reason.

Codes of a rejected row: ``missing_value``, ``not_http_url``, ``no_host``, ``no_object``, ``bad_host``,
``two_schemes``, ``two_urls``, ``unsafe_characters``, ``too_long``, ``credentials_in_url``, ``same_picture``,
``duplicate_pair_id``, ``too_many_values``, ``unreadable_row``, ``signature_removed``, ``no_consent``, ``bad_date``,
``consent_expired``.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..exceptions import ErrorCode
from ..redaction import mask_user, short_url
from ..url_identity import url_identity
from .columns import KNOWN
from .consent import has_expired, read_expiry
from .labels import labels_text
from .model import Manifest, Pair, RejectedRow, Rows
from .own_files import NOT_SIGNED
from .pair_ids import (
    MAX_PAIR_ID_LENGTH,
    PLAIN_PAIR_ID,
    default_pair_id,
    pair_id_problem,
)
from .urls import (
    MAX_URL_LENGTH,
    PLAIN_URL,
    url_problem,
)
from .values import as_text, label_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .model import Row

#: column (empty: the row as a whole), code, and a clause for the reason
Problem = tuple[str, str, str]


_NO_CONSENT: Problem = (
    "consent_ref",
    ErrorCode.NO_CONSENT,
    "consent_ref is empty, and this run requires one: enter the reference of the person's consent",
)


# A program may pass half of a character; no file contains one, and no hash can be made of it.
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")
_plain_url, _plain_id = PLAIN_URL.fullmatch, PLAIN_PAIR_ID.fullmatch
_FILE_BITS = 40
_RELATIVE = ("./", "../")


@dataclass(frozen=True, slots=True)
class Checked:
    """Rows that were checked: each is in one of the two lists."""

    pairs: list[Pair]
    rejected: list[RejectedRow]


class PairIds:
    """
    The pair_ids of a run, and the row that has each first.

    It holds a 64-bit hash of each, not its text: a million texts would take 100 MB more. Two of a million pair_ids
    have the same one with a probability of 1 in 30 million; the second would be rejected as a duplicate.
    """

    def __init__(self) -> None:
        self._rows: dict[int, int] = {}
        self._files: list[str] = []

    def copy(self) -> PairIds:
        """Return a copy, to check rows without adding theirs."""
        copy = PairIds()
        copy._rows, copy._files = dict(self._rows), list(self._files)
        return copy

    def begin(self, location: str) -> None:
        """Count the rows that follow as those of this manifest."""
        self._files.append(location)

    def first_with(self, pair_id: str, number: int) -> str:
        """Return the earlier row with this pair_id, e.g. ``row 7``; empty if this row is the first."""
        place = (max(len(self._files) - 1, 0) << _FILE_BITS) + number
        first = self._rows.setdefault(hash(pair_id), place)
        if first == place:
            return ""
        file, row = first >> _FILE_BITS, first & ((1 << _FILE_BITS) - 1)
        return f"row {row}" if file == place >> _FILE_BITS else f"row {row} of {self._files[file]}"


class RowChecker:
    """
    Sort the rows of one manifest, in file order, into pairs and rejected rows.

    :param limit: stop at this many pairs, ``None`` to take all
    :param require_consent: reject rows without ``consent_ref``
    :param ids: the pair_ids of the run so far
    :param refuse_expired: reject rows whose consent has expired
    :param folder: the local folder of the manifest, to which paths such as ``./face.jpg`` are relative
    """

    def __init__(
        self,
        limit: int | None = None,
        *,
        require_consent: bool = False,
        ids: PairIds | None = None,
        refuse_expired: bool = True,
        folder: str | None = None,
    ) -> None:
        self.pairs: list[Pair] = []
        self.rejected: list[RejectedRow] = []
        self._left = sys.maxsize if limit is None else limit
        self._require_consent = require_consent
        self._refuse_expired = refuse_expired
        self._ids = PairIds() if ids is None else ids
        self._folder = folder

    @property
    def full(self) -> bool:
        """Whether the limit is reached and further rows are ignored."""
        return self._left <= 0

    def take(self) -> Checked:
        """Return the rows checked since the last call, and forget them."""
        checked = Checked(self.pairs, self.rejected)
        self.pairs, self.rejected = [], []
        return checked

    def add(self, rows: Rows) -> None:
        """
        Check rows.

        A pair_id belongs to the first row that is accepted with it, so a corrected row further down may repeat the
        pair_id of a rejected one.
        """
        # One pass over plain values, no pandas: matching both URLs takes under 1 us per row, less than the string
        # methods of a Series, and the pairs have to be created one by one in any case.
        for row in rows:
            sound = _is_sound(row)
            if not sound and self._folder:
                row = _with_absolute_paths(row, self._folder)  # noqa: PLW2901
            if (not sound or row[10] or self._require_consent) and (
                problems := self._problems(row, sound=sound)
            ):
                self._reject(row, problems)
            elif not rows.damaged:
                self._accept(row)
                if self._left <= 0:
                    return

    def _problems(self, row: Row, *, sound: bool) -> list[Problem]:
        """Return the problems of a row; of a sound one only those of its consent."""
        consent, ends = row[4], row[10]
        if not sound and (problems := row_problems(row)):
            return problems
        if self._require_consent and not consent:
            return [_NO_CONSENT]
        return _expired(ends) if ends and self._refuse_expired else []

    def _accept(self, row: Row) -> None:
        number, source, reference, pair_id, consent, _, source_key, reference_key, labels, _, ends = row
        name = pair_id or default_pair_id(
            source, reference, source_key=source_key, reference_key=reference_key
        )
        if first := self._ids.first_with(name, number):
            self.rejected.append(_rejected(row, [_duplicate(name, first, derived=not pair_id)], pair_id=name))
            return
        self._left -= 1
        self.pairs.append(
            Pair(
                name,
                source,
                reference,
                number,
                consent or None,
                source_key or None,
                reference_key or None,
                labels or None,
                read_expiry(ends) if ends else None,
            )
        )

    def reject(self, row: Row, problem: Problem | None = None) -> bool:
        """Record a row that another rule refuses, and return ``True``; without a problem, its own are recorded."""
        self._reject(row, [problem] if problem else row_problems(row))
        return True

    def _reject(self, row: Row, problems: list[Problem]) -> None:
        self.rejected.append(_rejected(row, problems, pair_id=row[3]))


def _rejected(row: Row, problems: list[Problem], *, pair_id: str) -> RejectedRow:
    number, source, reference, _, consent, _, source_key, reference_key, labels, _, ends = row
    # Values in the wrong columns, or an invalid URL, may contain a password in an unexpected place.
    suspect = {column for column, _, _ in problems}
    everything = "" in suspect
    return RejectedRow(
        row_number=number,
        pair_id=_kept(pair_id, MAX_PAIR_ID_LENGTH, secret=everything),
        source_img=_kept(source, MAX_URL_LENGTH, secret=everything or "source_img" in suspect),
        reference_img=_kept(reference, MAX_URL_LENGTH, secret=everything or "reference_img" in suspect),
        column=problems[0][0],
        code=problems[0][1],
        reason="; ".join(clause for _, _, clause in problems),
        consent_ref=_kept(consent, MAX_URL_LENGTH, secret=everything) or None,
        source_key=_kept(source_key, MAX_URL_LENGTH, secret=everything) or None,
        reference_key=_kept(reference_key, MAX_URL_LENGTH, secret=everything) or None,
        labels=None if everything else labels or None,
        consent_expires=None if everything or "consent_expires" in suspect else _expiry(ends),
    )


def _expiry(text: str) -> dt.datetime | None:
    try:
        return read_expiry(text)
    except ValueError:
        return None


def check_pairs(records: Sequence[Mapping[str, Any]], *, location: str) -> Manifest:
    """
    Check pairs that come as values from another task rather than from a file; the same rules apply.

    :param records: dicts with ``source_img`` and ``reference_img``, optionally ``pair_id``, ``consent_ref``,
        ``source_key``, ``reference_key`` and ``consent_expires``; other keys are labels
    :param location: their origin, for messages
    :returns: each of them as a pair or as a rejected row; ``row_number`` counts from 1
    """

    def column(name: str) -> list[str]:
        return [as_text(record.get(name)) for record in records]

    # A task checks them at each attempt, and may have paid for a pair by then: its submit looks at the consent.
    checker = RowChecker(refuse_expired=False)
    checker.add(
        Rows(
            row_number=list(range(1, len(records) + 1)),
            source_img=column("source_img"),
            reference_img=column("reference_img"),
            pair_id=column("pair_id"),
            consent_ref=column("consent_ref"),
            overflow=[""] * len(records),
            source_key=column("source_key"),
            reference_key=column("reference_key"),
            consent_expires=column("consent_expires"),
            labels=[
                labels_text(
                    {str(name): label_text(value) for name, value in record.items() if name not in KNOWN}
                )
                for record in records
            ],
        )
    )
    return Manifest(location=location, pairs=checker.pairs, rejected=checker.rejected)


def row_problems(row: Row) -> list[Problem]:
    """Return all problems of one row of trimmed values, except duplicates."""
    _, source, reference, pair_id, _, overflow, _, _, _, unreadable, ends = row
    if unreadable and not (source or reference):
        return [("", ErrorCode.UNREADABLE_ROW, unreadable)]
    if overflow:
        # The values are in the wrong columns, so checking each makes no sense.
        clause = (
            f"the row has more values than the header has columns; the first extra one is {short_url(overflow)}: "
            "put values that contain a comma in double quotes as a whole"
        )
        return [("", ErrorCode.TOO_MANY_VALUES, clause)]
    checks = (
        ("source_img", url_problem(source)),
        ("reference_img", url_problem(reference)),
        ("pair_id", pair_id_problem(pair_id)),
    )
    problems = [(column, found[0], f"{column} {found[1]}") for column, found in checks if found]
    problems += [*_half_characters(row), *_bad_date(ends)]
    if (
        not _HALF_CHARACTER.search(source + reference)
        and not (checks[0][1] or checks[1][1])
        and url_identity(source) == url_identity(reference)
    ):
        clause = "reference_img is the same picture as source_img: there is no face to swap"
        problems.append(("reference_img", ErrorCode.SAME_PICTURE, clause))
    return _with_unreadable(problems, unreadable) if unreadable else problems


def _bad_date(ends: str) -> list[Problem]:
    """Return what is wrong with the end of a consent."""
    try:
        read_expiry(ends)
    except ValueError:
        clause = f"consent_expires must be a date such as 2027-03-31; got {short_url(ends)!r}"
        return [("consent_expires", ErrorCode.BAD_DATE, clause)]
    return []


def _expired(ends: str) -> list[Problem]:
    """Return that a consent has ended."""
    expires = read_expiry(ends)
    if expires is None or not has_expired(expires):
        return []
    clause = f"the consent expired on {expires:%Y-%m-%d}: renew it and correct consent_expires"
    return [("consent_expires", ErrorCode.CONSENT_EXPIRED, clause)]


def _half_characters(row: Row) -> list[Problem]:
    others = {"consent_ref": row[4], "source_key": row[6], "reference_key": row[7]}
    return [
        (column, ErrorCode.UNSAFE_CHARACTERS, f"{column} has U+{ord(found[0]):04X}, half a character, inside")
        for column, value in others.items()
        if (found := _HALF_CHARACTER.search(value))
    ]


def _with_unreadable(problems: list[Problem], unreadable: str) -> list[Problem]:
    """Put the columns that could not be read first: what was found in them instead is no further problem."""
    named = {clause.partition(" ")[0] for clause in unreadable.split("; ")}
    code = ErrorCode.SIGNATURE_REMOVED if NOT_SIGNED in unreadable else ErrorCode.UNREADABLE_ROW
    first: Problem = (unreadable.partition(" ")[0], code, unreadable)
    return [first, *(problem for problem in problems if problem[0] not in named)]


def _duplicate(pair_id: str, first: str, *, derived: bool) -> Problem:
    if derived:
        reason = f"the same pictures as {first}, and no pair_id: add a unique pair_id to swap them again"
    else:
        reason = f"pair_id {pair_id} is already used by {first}: pair_ids must be unique"
    return "pair_id", ErrorCode.DUPLICATE_PAIR_ID, reason


def _is_sound(row: Row) -> bool:
    """Return whether a row has no problems but those of its consent; nearly all rows need no closer look."""
    _, source, reference, pair_id, consent, overflow, source_key, reference_key, _, unreadable, ends = row
    if not (_plain_url(source) and _plain_url(reference) and _plain_id(pair_id)):
        return False
    if overflow or unreadable or ends or not (consent + source_key + reference_key).isascii():
        return False
    # Two links of one picture differ at most in their queries and fragments.
    return _address(source) != _address(reference)


def _with_absolute_paths(row: Row, folder: str) -> Row:
    """Return a row with the paths that are relative to the folder of its manifest, such as ``./face.jpg``, resolved."""
    number, source, reference, *others = row
    if not (source.startswith(_RELATIVE) or reference.startswith(_RELATIVE)):
        return row
    source, reference = (
        os.path.normpath(f"{folder}/{path}") if path.startswith(_RELATIVE) else path
        for path in (source, reference)
    )
    return (number, source, reference, *others)  # type: ignore[return-value]


def _address(url: str) -> str:
    return url.partition("#")[0].partition("?")[0]


def _kept(value: str, longest: int, *, secret: bool) -> str:
    """Return the value of a rejected row as it is recorded."""
    text = mask_user(value) if secret else value
    return text if len(text) <= longest else text[:longest] + "..."
