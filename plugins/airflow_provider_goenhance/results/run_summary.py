# SPDX-License-Identifier: Apache-2.0
"""Count the rows of a run in the database, in one pass over them: states, submits, credits, and how long jobs took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from ..exceptions import ErrorCode
from .clock import whole_seconds
from .run_rows import RunRows, suspicious
from .states import Review, Status
from .swap import GONE_BY_CHOICE

#: Durations are counted by the second up to this many seconds, and by the minute above: the number of groups is small.
BY_THE_SECOND = 3600


@dataclass(frozen=True, slots=True)
class RunSummary:
    """
    A run in figures.

    :param counts: rows in each state; 0 for states without rows
    :param over_budget: rows that a budget holds back
    :param gone: rows that are held because the pair was erased, or its picture deleted
    :param attempts: submits that may have been accepted, and so paid for
    :param cost: credits as GoEnhance reported them; ``None`` if it reported none
    :param median_seconds: from the submit to the kept picture; ``None`` without kept pictures
    :param slowest_seconds: the same for the slowest one
    :param rejected_pictures: rows whose picture a reviewer has rejected
    :param suspicious: rows with a suspicious picture, by its quality
    """

    counts: Mapping[Status, int]
    over_budget: int = 0
    gone: int = 0
    attempts: int = 0
    cost: int | None = None
    median_seconds: int | None = None
    slowest_seconds: int | None = None
    rejected_pictures: int = 0
    suspicious: Mapping[str, int] = field(default_factory=dict)

    @property
    def held_back(self) -> int:
        """Return how many rows are held on purpose: no failures, and nobody has to act."""
        return self.over_budget + self.gone

    @property
    def rows(self) -> int:
        """Return how many rows there are."""
        return sum(self.counts.values())


def summarize(rows: RunRows) -> RunSummary:
    """Return some rows of a run in figures. They are counted in the database, and read by it once."""
    c = rows.database.swaps.c
    over_budget = sa.and_(c.status == Status.HELD, c.error_code == ErrorCode.BUDGET_REACHED)
    gone = sa.and_(c.status == Status.HELD, c.error_code.in_(GONE_BY_CHOICE))
    took = sa.case((c.status == Status.SUCCEEDED, whole_seconds(c.submitted_at, c.finished_at)))
    # OFFSET 0 keeps PostgreSQL from merging the two queries: it would compute the seconds again for each use, expect as
    # many groups as there are times, and sort the run.
    inner = (
        rows.select(
            c.status,
            sa.case((over_budget, "budget"), (gone, "gone"), else_="").label("held_for"),
            took.label("took"),
            c.attempts,
            c.cost,
            sa.case((c.review == Review.REJECTED, 1), else_=0).label("rejected"),
            sa.case((suspicious(c), c.quality)).label("suspicion"),
        )
        .offset(0)
        .subquery()
    )
    by_time = sa.case((inner.c.took < BY_THE_SECOND, inner.c.took), else_=inner.c.took - inner.c.took % 60)
    groups = (
        inner.c.status,
        inner.c.held_for,
        sa.case((inner.c.took >= 0, by_time)).label("seconds"),
        inner.c.suspicion,
    )
    query = sa.select(
        *groups,
        sa.func.count().label("rows"),
        sa.func.sum(inner.c.attempts).label("attempts"),
        sa.func.sum(inner.c.cost).label("cost"),
        sa.func.sum(inner.c.rejected).label("rejected"),
        sa.func.max(inner.c.took).label("slowest"),
    ).group_by(*groups)
    return _summary(rows.database.read(query))


def warned_of(rows: RunRows) -> tuple[int, int]:
    """Return of how many pairs that were sent the check of their pictures had warned, and how many of those failed."""
    c = rows.database.swaps.c
    # Not the failures that say nothing about the two pictures, such as a download that broke off.
    by_pictures = c.error_code.in_([ErrorCode.JOB_FAILED, ErrorCode.BAD_REQUEST])
    failed = sa.case((sa.and_(c.status == Status.FAILED, by_pictures), 1), else_=0)
    query = rows.select(
        sa.func.count().label("warned"), sa.func.coalesce(sa.func.sum(failed), 0).label("failed")
    ).where(c.input_warnings.is_not(None), c.status.in_([Status.SUCCEEDED, Status.FAILED]))
    (found,) = rows.database.read(query)
    return int(found["warned"]), int(found["failed"])


def _summary(groups: list[dict[str, Any]]) -> RunSummary:
    counts = dict.fromkeys(Status, 0)
    by_quality: Counter[str] = Counter()
    for group in groups:
        counts[Status(group["status"])] += int(group["rows"])
        if group["suspicion"]:
            by_quality[group["suspicion"]] += int(group["rows"])
    timed = sorted(
        (int(group["seconds"]), int(group["rows"]), int(group["slowest"]))
        for group in groups
        if group["seconds"] is not None
    )
    return RunSummary(
        counts=counts,
        over_budget=sum(int(group["rows"]) for group in groups if group["held_for"] == "budget"),
        gone=sum(int(group["rows"]) for group in groups if group["held_for"] == "gone"),
        attempts=_total(groups, "attempts") or 0,
        cost=_total(groups, "cost"),
        median_seconds=_median([(seconds, rows) for seconds, rows, _ in timed]),
        rejected_pictures=_total(groups, "rejected") or 0,
        slowest_seconds=max((slowest for _, _, slowest in timed), default=None),
        suspicious=by_quality,
    )


def _total(groups: list[dict[str, Any]], name: str) -> int | None:
    """Return the sum of a column; ``None`` if it has no value in any group."""
    values = [int(group[name]) for group in groups if group[name] is not None]
    return sum(values) if values else None


def _median(counted: list[tuple[int, int]]) -> int | None:
    """Return the upper median of values that are sorted and counted."""
    middle = sum(rows for _, rows in counted) // 2
    for value, rows in counted:
        if middle < rows:
            return value
        middle -= rows
    return None
