# SPDX-License-Identifier: Apache-2.0
"""What a person saw of a row, as a short text, so that what they decide is never applied to something newer."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Mapping

from .states import Status
from .swap import Swap

#: Longest text that :func:`version_of` returns, in characters.
MAX_VERSION = 100
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
#: Rows that an error names.
_NAMED_ROWS = 5


def version_of(swap: Swap) -> str:
    """
    Return the version of a row: state, submit, picture and review.

    Two versions are equal only if nothing has changed that a person decides by. The submit is its number and the time
    of its claim, to the microsecond where the database has them: one that was not billed does not count in
    ``attempts``.
    """
    return ".".join(
        (
            swap.status,
            f"{swap.attempts}-{_microseconds(swap.claimed_at)}",
            _digest(swap.img_uuid, swap.result_uri, swap.result_sha256),
            _digest(swap.review, swap.reviewed_by, str(_microseconds(swap.reviewed_at))),
        )
    )


def changes_since(rows: Iterable[Swap], seen: Mapping[str, str]) -> str | None:
    """
    Return one sentence for the rows that are not as they were seen, with what has changed; ``None`` if all are.

    :param rows: as they are now
    :param seen: ``swap_id`` -> its version as it was seen; a row that is not in it was not seen
    """
    changed = [(row, change) for row in rows if (change := _change(row, seen.get(row.swap_id, "")))]
    if not changed:
        return None
    named = "; ".join(f"{row.label} {change}" for row, change in changed[:_NAMED_ROWS])
    more = f"; and {len(changed) - _NAMED_ROWS} more" if len(changed) > _NAMED_ROWS else ""
    return f"{named}{more}. Nothing was changed: reload the rows, and decide again."


def _change(row: Swap, seen: str) -> str | None:
    now = version_of(row)
    if now == seen:
        return None
    status, claim, picture, _ = (seen.split(".") + [""] * 4)[:4]
    now_status, now_claim, now_picture, _ = now.split(".")
    if status not in set(Status):
        return "was not shown to you"
    if _claim_time(claim) != _claim_time(now_claim):
        return "was sent again since you looked at it"
    if status != now_status:
        return f"was {status} when you looked at it, and is {now_status} now"
    if claim != now_claim:
        return "has changed since you looked at it"
    if picture != now_picture:
        return "has another picture since you looked at it"
    if row.review is None:
        return "had a review when you looked at it, which was undone since"
    return f"was {row.review} by {row.reviewed_by} since you looked at it"


def _claim_time(claim: str) -> str:
    return claim.partition("-")[2]


def _microseconds(time: dt.datetime | None) -> int | None:
    return None if time is None else (time - _EPOCH) // dt.timedelta(microseconds=1)


def _digest(*values: str | None) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]
