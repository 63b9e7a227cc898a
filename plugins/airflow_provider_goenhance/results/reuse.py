# SPDX-License-Identifier: Apache-2.0
"""Reuse what earlier runs paid for: a kept picture, or a job whose picture is not kept yet."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable, Sequence

from .recovery import JOB_NOT_FOUND, job_itself_failed
from .states import Status
from .swap import Swap


def by_pair(swaps: Iterable[Swap]) -> dict[str, list[Swap]]:
    """Group rows by their pair's fingerprint; the order within a pair is kept."""
    groups: dict[str, list[Swap]] = {}
    for swap in swaps:
        groups.setdefault(swap.pair_fingerprint, []).append(swap)
    return groups


def picture_of(earlier: Sequence[Swap]) -> Swap | None:
    """Return the latest row whose picture was kept. The caller checks that it is still in storage."""
    kept = (swap for swap in reversed(earlier) if swap.status is Status.SUCCEEDED and swap.result_uri)
    return next(kept, None)


def job_of(earlier: Sequence[Swap]) -> Swap | None:
    """
    Return the row whose job a new run adopts instead of paying for another.

    That is the pair's latest job, unless GoEnhance failed it or does not know it. A job is adopted again and again,
    however many runs did not get its picture: it is paid for, and nothing but GoEnhance's own word ends it.

    :param earlier: the rows of one pair and account, in the order they were planned
    """
    latest = next((swap for swap in reversed(earlier) if swap.img_uuid), None)
    if latest is None:
        return None
    if latest.status is Status.FAILED:
        return None if job_itself_failed(latest) or latest.error_code == JOB_NOT_FOUND else latest
    return latest if latest.status in {Status.SUBMITTED, Status.SUCCEEDED} else None


def may_have_been_paid(earlier: Sequence[Swap]) -> bool:
    """Return whether the outcome of the pair's latest submit is unknown."""
    return bool(earlier) and earlier[-1].status is Status.UNKNOWN


def reusing(row: Swap, earlier: Swap) -> Swap:
    """Return a planned row as one that reuses an earlier picture."""
    return dataclasses.replace(
        row,
        status=Status.REUSED,
        img_uuid=earlier.img_uuid,
        account=earlier.account,
        result_uri=earlier.result_uri,
        result_sha256=earlier.result_sha256,
        additional_result_uris=earlier.additional_result_uris,
        reused_from=earlier.swap_id,
        cost=0,
        finished_at=dt.datetime.now(dt.UTC),
    )


def adopting(row: Swap, earlier: Swap) -> Swap:
    """Return a planned row as one that waits for an earlier row's job, without a submit or cost of its own."""
    return dataclasses.replace(
        row,
        status=Status.SUBMITTED,
        img_uuid=earlier.img_uuid,
        account=earlier.account,
        reused_from=earlier.swap_id,
        cost=0,
        submitted_at=earlier.submitted_at,
    )
