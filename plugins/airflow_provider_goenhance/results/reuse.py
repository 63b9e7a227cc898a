# SPDX-License-Identifier: Apache-2.0
"""What an earlier run has that serves a pair again: its picture, or its job that was paid for and not brought home."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable, Sequence

from .recovery import JOB_NOT_FOUND, job_itself_failed
from .states import Status
from .swap import Swap


def by_pair(swaps: Iterable[Swap]) -> dict[str, list[Swap]]:
    """Group rows by their pair's fingerprint, the order within a pair kept."""
    groups: dict[str, list[Swap]] = {}
    for swap in swaps:
        groups.setdefault(swap.pair_fingerprint, []).append(swap)
    return groups


def picture_of(earlier: Sequence[Swap]) -> Swap | None:
    """Return the latest row whose picture was kept. Whether it is still in storage is for the caller to see."""
    kept = (swap for swap in reversed(earlier) if swap.status is Status.SUCCEEDED and swap.result_uri)
    return next(kept, None)


def job_of(earlier: Sequence[Swap]) -> Swap | None:
    """
    Return the row whose job another run takes over instead of paying for a new one.

    That is the pair's latest job, unless GoEnhance failed it or does not know it. A job is given one more chance only:
    where a run took it over and did not bring it home either, the run after that pays for a new one.

    :param earlier: all rows of one pair and account, in the order they were planned
    """
    latest = next((swap for swap in reversed(earlier) if swap.img_uuid), None)
    if latest is None:
        return None
    if latest.status is Status.FAILED:
        given_up = job_itself_failed(latest) or latest.error_code == JOB_NOT_FOUND or latest.adopted_job
        return None if given_up else latest
    return latest if latest.status in {Status.SUBMITTED, Status.SUCCEEDED} else None


def may_have_been_paid(earlier: Sequence[Swap]) -> bool:
    """Tell whether the pair's latest submit is one whose outcome nobody knows."""
    return bool(earlier) and earlier[-1].status is Status.UNKNOWN


def reusing(row: Swap, earlier: Swap) -> Swap:
    """Return a planned row as one for which an earlier picture serves."""
    return dataclasses.replace(
        row,
        status=Status.REUSED,
        img_uuid=earlier.img_uuid,
        account=earlier.account,
        result_uri=earlier.result_uri,
        result_sha256=earlier.result_sha256,
        reused_from=earlier.swap_id,
        cost=0,
        finished_at=dt.datetime.now(dt.UTC),
    )


def taking_over(row: Swap, earlier: Swap) -> Swap:
    """Return a planned row as one that waits for an earlier row's job. It has no submit, and no cost, of its own."""
    return dataclasses.replace(
        row,
        status=Status.SUBMITTED,
        img_uuid=earlier.img_uuid,
        account=earlier.account,
        reused_from=earlier.swap_id,
        cost=0,
        submitted_at=earlier.submitted_at,
    )
