# SPDX-License-Identifier: Apache-2.0
"""A run as the page shows it: its bar by state, how far and how fast it is, what it cost, and what is to be done."""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
class Todo:
    """
    What a person has to do about some rows.

    :param text: a sentence
    :param query: the filter that shows these rows
    """

    text: str
    query: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RunView:
    """
    A run as the page shows it.

    :param state: of the run in Airflow; ``None`` if Airflow does not have it any more
    :param going_on: whether rows may still change
    :param tone: ``good``, ``warn``, ``bad``, ``busy`` or ``quiet``
    :param verdict: how it stands, in one sentence; empty if what is to be done says it all
    :param todo: what a person has to do, the most urgent first
    :param caps: its budget, if it has one that is known
    """

    key: RunKey
    planned_at: dt.datetime | None
    state: str | None
    figures: Figures
    going_on: bool
    tone: str
    verdict: str
    todo: tuple[Todo, ...]
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
    todo = tuple(_todo(figures))
    tone, verdict = _verdict(figures, unfinished, todo, going_on=going_on)
    return RunView(
        key=key,
        planned_at=planned_at,
        state=state,
        figures=figures,
        going_on=going_on,
        tone=tone,
        verdict=verdict,
        todo=todo,
        pace=_pace(figures, tally.rate()) if going_on and unfinished else "",
        caps=caps,
    )


def _verdict(figures: Figures, unfinished: int, todo: Sequence[Todo], *, going_on: bool) -> tuple[str, str]:
    """Return how a run stands, as the tone of its colour and one sentence."""
    if not figures.rows:
        return "quiet", "No rows are counted yet."
    if going_on and unfinished:
        return "busy", f"Running, {100 * figures.done // figures.rows} % finished."
    if unfinished:
        left = f"{pluralize(unfinished, 'pair')} {'was' if unfinished == 1 else 'were'} not finished"
        return (
            "bad",
            f"The run has ended, and {left}: clear {'its task' if unfinished == 1 else 'their tasks'}.",
        )
    if any("quality" not in each.query for each in todo):
        return "bad", ""
    reused = figures.counts.get(Status.REUSED, 0)
    gone = _gone(figures)
    but = f", but for {gone:,} whose content was erased or deleted" if gone else ""
    return "warn" if todo else "good", f"Every pair has its picture{but}" + (
        f"; {reused:,} {'is' if reused == 1 else 'are'} reused." if reused else "."
    )


def _gone(figures: Figures) -> int:
    """Return how many rows are held because their content was erased or deleted: nobody has to act."""
    return sum(figures.reasons.get((Status.HELD, code), 0) for code in GONE_BY_CHOICE)


#: What ends a hold, by its reason; any other reason is a submit that may have been paid for.
_HELD = {
    ErrorCode.IN_FLIGHT: "because another run has a job of the pair: clear {their_tasks} once that has ended",
    ErrorCode.PICTURE_REJECTED: "because a reviewer rejected the picture: undo that, or swap the pair again",
    ErrorCode.BUDGET_REACHED: "by a budget: a later run sends {them}",
}
_HELD_BY_SUBMIT = "by an earlier submit: settle that, and clear {their_tasks}"


def _todo(figures: Figures) -> Iterator[Todo]:
    """Yield what a person has to do, the most urgent first."""
    count = figures.counts.get
    yield from _sentence(count(Status.UNKNOWN, 0), "unknown: settle {them}", status=Status.UNKNOWN)
    yield from _sentence(count(Status.FAILED, 0), "failed: see the reasons", status=Status.FAILED)
    held = {code: rows for (status, code), rows in figures.reasons.items() if status is Status.HELD}
    others = count(Status.HELD, 0) - _gone(figures) - sum(held.get(code, 0) for code in _HELD)
    one_code = [code for code in held if code not in _HELD and code not in GONE_BY_CHOICE]
    reason = {"reason": one_code[0]} if len(one_code) == 1 else {}
    yield from _sentence(others, f"held {_HELD_BY_SUBMIT}", status=Status.HELD, **reason)
    for code, words in _HELD.items():
        yield from _sentence(held.get(code, 0), f"held {words}", status=Status.HELD, reason=code)
    yield from _sentence(count(Status.REJECTED, 0), "rejected: correct the manifest", status=Status.REJECTED)
    for quality, rows in sorted(figures.suspicious.items()):
        found = quality.replace("_", " ")
        yield from _sentence(rows, f"suspicious ({found}): look at the picture{{s}}", quality=quality)


def _sentence(rows: int, words: str, **query: str) -> Iterator[Todo]:
    if rows:
        one = {"them": "it", "their_tasks": "its task", "s": ""}
        many = {"them": "them", "their_tasks": "their tasks", "s": "s"}
        yield Todo(f"{rows:,} {words.format(**(one if rows == 1 else many))}.", query)


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
