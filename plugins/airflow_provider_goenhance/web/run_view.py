# SPDX-License-Identifier: Apache-2.0
"""A run as the page shows it: its bar by state, how far and how fast it is, what it cost, and what is to be done."""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session

from ..error_codes import ErrorCode
from ..execution.failures import STATUSES as FAILURES
from ..execution.messages import pluralize
from ..execution.progress import duration
from ..results.page_rows import PROBLEMS_FIRST
from ..results.page_runs import RunEntry
from ..results.plan import RunKey
from ..results.spending import Caps
from ..results.states import Review, Status
from ..results.swap import GONE_BY_CHOICE
from ..results.tally import Figures, Tally, figures_of

log = logging.getLogger(__name__)

#: A rate over less time than this says nothing yet, seconds.
SHORTEST_MEASURE = 5.0
#: States of an Airflow run in which its tasks still work.
_GOING_ON = frozenset({"queued", "running"})


@dataclass(frozen=True, slots=True)
class Segment:
    """
    A part of a run's bar.

    :param start: percent at which it begins
    :param width: percent
    """

    status: Status
    rows: int
    start: float
    width: float


@dataclass(frozen=True, slots=True)
class RunView:
    """
    A run as the page shows it.

    :param state: of the run in Airflow; ``None`` if Airflow does not have it any more
    :param going_on: whether rows may still change
    :param tone: ``good``, ``bad``, ``busy`` or ``quiet``
    :param caps: its budget, if it has one that is known
    """

    key: RunKey
    planned_at: dt.datetime | None
    state: str | None
    figures: Figures
    going_on: bool
    tone: str
    verdict: str
    pace: str
    caps: Caps | None = None

    @property
    def bar(self) -> list[Segment]:
        """Return the bar, problems first."""
        total, start = self.figures.rows, 0.0
        found = []
        for status in PROBLEMS_FIRST:
            if rows := self.figures.counts.get(status, 0):
                width = 100 * rows / total
                found.append(Segment(status, rows, round(start, 3), round(width, 3)))
                start += width
        return found

    @property
    def paid(self) -> str:
        """Return what was paid for: submits that may have been accepted, and credits where GoEnhance reported them."""
        submits = f"{self.figures.attempts:,} {'submit' if self.figures.attempts == 1 else 'submits'}"
        return submits if self.figures.cost is None else f"{submits}, {self.figures.cost:,} credits"

    @property
    def without_picture(self) -> int:
        """Return how many rows a new run of the failures reads."""
        return sum(self.figures.counts.get(status, 0) for status in FAILURES)

    @property
    def rejected_pictures(self) -> int:
        """Return how many pictures a reviewer has rejected."""
        return self.figures.others.get("review", {}).get(Review.REJECTED, 0)

    @property
    def budget(self) -> str:
        """Return how much of the run's budget is used; empty if there is none."""
        if self.caps is None:
            return ""
        pairs, cost = self.caps.max_pairs, self.caps.max_cost
        parts = [f"{self.figures.attempts:,} of {pluralize(pairs, 'pair')}"] if pairs is not None else []
        if cost is not None:
            parts.append(f"{self.figures.cost or 0:,} of {pluralize(cost, 'credit')}")
        return f"budget: {' and '.join(parts)} used"

    @property
    def held_by_budget(self) -> int:
        """Return how many rows a budget holds back."""
        return self.figures.reasons.get((Status.HELD, ErrorCode.BUDGET_REACHED), 0)


def view_of(
    key: RunKey, planned_at: dt.datetime | None, state: str | None, tally: Tally, caps: Caps | None = None
) -> RunView:
    """
    Return a run as the page shows it, as far as its rows have been counted.

    :param state: of the run in Airflow
    :param caps: its budget
    """
    figures = figures_of(tally)
    unfinished = figures.rows - figures.done
    # A run that Airflow has no more, or has ended, does nothing; a cleared one is queued again.
    going_on = state in _GOING_ON
    tone, verdict = _verdict(figures, unfinished, going_on=going_on)
    return RunView(
        key=key,
        planned_at=planned_at,
        state=state,
        figures=figures,
        going_on=going_on,
        tone=tone,
        verdict=verdict,
        pace=_pace(figures, tally.rate()) if going_on and unfinished else "",
        caps=caps,
    )


def _verdict(figures: Figures, unfinished: int, *, going_on: bool) -> tuple[str, str]:
    """Return how a run stands, and what a person has to do, in one sentence."""
    if not figures.rows:
        return "quiet", "No rows are counted yet."
    count = figures.counts.get
    todo = _todo(figures)
    if going_on and unfinished:
        share = f"{100 * figures.done // figures.rows} % finished"
        return "busy", f"Running, {share}." + (f" {todo}" if todo else "")
    if unfinished:
        left = f"{pluralize(unfinished, 'pair')} {'was' if unfinished == 1 else 'were'} not finished"
        return "bad", f"The run has ended, and {left}: clear its tasks. {todo}"
    if todo:
        return "bad", todo
    reused = count(Status.REUSED, 0)
    gone = _gone(figures)
    but = f", but for {gone:,} whose content was erased or deleted" if gone else ""
    return "good", f"Every pair has its picture{but}" + (
        f"; {reused:,} {'is' if reused == 1 else 'are'} reused." if reused else "."
    )


def _gone(figures: Figures) -> int:
    """Return how many rows are held because their content was erased or deleted: nobody has to act."""
    return sum(figures.reasons.get((Status.HELD, code), 0) for code in GONE_BY_CHOICE)


def _todo(figures: Figures) -> str:
    """Return what a person has to do, the most urgent first; empty if nothing."""
    count = figures.counts.get
    over_budget = figures.reasons.get((Status.HELD, ErrorCode.BUDGET_REACHED), 0)
    held = count(Status.HELD, 0) - over_budget - _gone(figures)
    parts = [
        _sentence(count(Status.UNKNOWN, 0), "unknown: settle {them}"),
        _sentence(count(Status.FAILED, 0), "failed: see the reasons"),
        _sentence(held, "held: settle the earlier submits"),
        _sentence(over_budget, "held by a budget: a later run sends {them}"),
        _sentence(count(Status.REJECTED, 0), "rejected: correct the manifest"),
    ]
    return " ".join(filter(None, parts))


def _sentence(rows: int, words: str) -> str:
    return f"{rows:,} {words.format(them='it' if rows == 1 else 'them')}." if rows else ""


def _pace(figures: Figures, rate: float | None) -> str:
    """Return the rate, and how long the rest takes at that rate."""
    if rate is None and figures.began is not None:
        seconds = (dt.datetime.now(dt.UTC) - figures.began).total_seconds()
        rate = figures.done / seconds if figures.done and seconds >= SHORTEST_MEASURE else None
    if not rate or not figures.complete:
        return "rate not known yet"
    each = f"{rate:.1f} per second" if rate >= 1 else f"{rate * 60:.1f} per minute"
    return f"{each}, {duration((figures.rows - figures.done) / rate)} left"


def count_runs(entries: Sequence[tuple[RunEntry, Tally]], seconds: float) -> None:
    """Count some runs for about so long altogether, those first that were counted least."""
    waiting = sorted((tally for _, tally in entries), key=lambda tally: tally.share)
    end = time.monotonic() + seconds
    for tally in waiting:
        if (left := end - time.monotonic()) <= 0:
            break
        tally.advance(left)


def states_of(keys: Iterable[RunKey]) -> dict[RunKey, str]:
    """Return the states of runs in Airflow; those that it has deleted are left out."""
    wanted = list(keys)
    if not wanted:
        return {}
    query = sa.select(DagRun.dag_id, DagRun.run_id, DagRun.state).where(
        DagRun.dag_id.in_({key.dag_id for key in wanted}), DagRun.run_id.in_({key.run_id for key in wanted})
    )
    try:
        with create_session() as session:
            return {
                RunKey(dag, run): str(getattr(state, "value", state))
                for dag, run, state in session.execute(query)
            }
    except sa.exc.SQLAlchemyError as error:
        log.warning("The states of the runs could not be read from Airflow's database: %s", error)
        return {}
