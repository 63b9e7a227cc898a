# SPDX-License-Identifier: Apache-2.0
"""
Check the rows of a manifest: each becomes a pair or a rejected row with a reason.

Codes of a rejected row: ``missing_value``, ``not_http_url``, ``no_host``, ``bad_host``, ``two_schemes``,
``two_urls``, ``unsafe_characters``, ``too_long``, ``credentials_in_url``, ``same_picture``, ``duplicate_pair_id``,
``too_many_values``, ``no_consent``.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ..exceptions import ErrorCode
from ..redaction import mask_user, short_url
from ..url_identity import url_identity
from .model import Manifest, Pair, RejectedRow, Rows
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

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: column (empty: the row as a whole), code, and a clause for the reason
Problem = tuple[str, str, str]


_NO_CONSENT: Problem = (
    "consent_ref",
    ErrorCode.NO_CONSENT,
    "consent_ref is empty, and this run requires one: enter the reference of the person's consent",
)


class RowChecker:
    """
    Sort the rows of one manifest, in file order, into pairs and rejected rows.

    :param limit: stop at this many pairs, ``None`` to take all
    :param require_consent: reject rows without ``consent_ref``
    """

    def __init__(self, limit: int | None = None, *, require_consent: bool = False) -> None:
        self.pairs: list[Pair] = []
        self.rejected: list[RejectedRow] = []
        self._limit = limit
        self._require_consent = require_consent
        self._row_of: dict[str, int] = {}

    @property
    def full(self) -> bool:
        """Whether the limit is reached and further rows are ignored."""
        return self._limit is not None and len(self.pairs) >= self._limit

    def add(self, rows: Rows) -> None:
        """
        Check rows.

        A pair_id belongs to the first row that is accepted with it, so a corrected row further down may repeat the
        pair_id of a rejected one.
        """
        # One pass over plain values, no pandas: matching both URLs takes under 1 us per row, less than the string
        # methods of a Series, and the pairs have to be created one by one in any case.
        plain_url, plain_id = PLAIN_URL.fullmatch, PLAIN_PAIR_ID.fullmatch
        most = self._limit or sys.maxsize
        for number, source, reference, pair_id, consent, overflow, *keys in rows:
            plain = plain_url(source) and plain_url(reference) and plain_id(pair_id)
            # Two links of one picture differ at most in their queries and fragments.
            sound = plain and not overflow and _address(source) != _address(reference)
            if not sound and (problems := row_problems(source, reference, pair_id, overflow)):
                self._reject(number, source, reference, pair_id, problems)
                continue
            if self._require_consent and not consent:
                self._reject(number, source, reference, pair_id, [_NO_CONSENT])
                continue
            self._accept(number, source, reference, pair_id, consent, *keys)
            if len(self.pairs) >= most:
                return

    def _accept(
        self,
        number: int,
        source: str,
        reference: str,
        pair_id: str,
        consent: str,
        source_key: str,
        reference_key: str,
    ) -> None:
        name = pair_id or default_pair_id(
            source, reference, source_key=source_key, reference_key=reference_key
        )
        if (first := self._row_of.setdefault(name, number)) != number:
            self.rejected.append(_duplicate(number, source, reference, name, first, derived=not pair_id))
        else:
            pair = Pair(
                name, source, reference, number, consent or None, source_key or None, reference_key or None
            )
            self.pairs.append(pair)

    def _reject(
        self, number: int, source: str, reference: str, pair_id: str, problems: list[Problem]
    ) -> None:
        # Values in the wrong columns, or an invalid URL, may contain a password in an unexpected place.
        suspect = {column for column, _, _ in problems}
        everything = "" in suspect
        self.rejected.append(
            RejectedRow(
                row_number=number,
                pair_id=_kept(pair_id, MAX_PAIR_ID_LENGTH, secret=everything),
                source_img=_kept(source, MAX_URL_LENGTH, secret=everything or "source_img" in suspect),
                reference_img=_kept(
                    reference, MAX_URL_LENGTH, secret=everything or "reference_img" in suspect
                ),
                column=problems[0][0],
                code=problems[0][1],
                reason="; ".join(clause for _, _, clause in problems),
            )
        )


def check_pairs(records: Sequence[Mapping[str, Any]], *, location: str) -> Manifest:
    """
    Check pairs that come as values from another task rather than from a file; the same rules apply.

    :param records: dicts with ``source_img`` and ``reference_img``, optionally ``pair_id``, ``consent_ref``,
        ``source_key`` and ``reference_key``
    :param location: their origin, for messages
    :returns: each of them as a pair or as a rejected row; ``row_number`` counts from 1
    """

    def column(name: str) -> list[str]:
        return [_as_text(record.get(name)) for record in records]

    checker = RowChecker()
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
        )
    )
    return Manifest(location=location, pairs=checker.pairs, rejected=checker.rejected)


def _address(url: str) -> str:
    return url.partition("#")[0].partition("?")[0]


def _as_text(value: object) -> str:
    """
    Return a value of another task as the text that a CSV file would have.

    pandas makes numbers of texts: a column of ids with one blank becomes 4711.0 and NaN.
    """
    if value is None or value != value:  # only NaN differs from itself
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def row_problems(source: str, reference: str, pair_id: str, overflow: str) -> list[Problem]:
    """Return all problems of one row of trimmed values, except duplicates."""
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
    if source and url_identity(source) == url_identity(reference):
        clause = "reference_img is the same picture as source_img: there is no face to swap"
        problems.append(("reference_img", ErrorCode.SAME_PICTURE, clause))
    return problems


def _duplicate(
    number: int, source: str, reference: str, pair_id: str, first: int, *, derived: bool
) -> RejectedRow:
    if derived:
        reason = f"the same pictures as row {first}, and no pair_id: add a unique pair_id to swap them again"
    else:
        reason = f"pair_id {pair_id} is already used by row {first}: pair_ids must be unique"
    return RejectedRow(number, pair_id, source, reference, "pair_id", ErrorCode.DUPLICATE_PAIR_ID, reason)


def _kept(value: str, longest: int, *, secret: bool) -> str:
    """Return the value of a rejected row as it is recorded."""
    text = mask_user(value) if secret else value
    return text if len(text) <= longest else text[:longest] + "..."
