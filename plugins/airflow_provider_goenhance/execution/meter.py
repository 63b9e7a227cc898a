# SPDX-License-Identifier: Apache-2.0
"""
What a task counts and times while it works.

The names and tags are in :data:`METRICS`. The figures go to the meter that is in use: none, unless the task runs in an
Airflow that collects metrics. Tags have few values: never a pair, a job or a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import datetime as dt

    from ..results.outcome_transitions import Outcome
    from ..results.run_summary import RunSummary
    from ..results.swap import Swap
    from .submit_report import SubmitReport


@dataclass(frozen=True, slots=True)
class Metric:
    """
    A metric of the package.

    :param name: without Airflow's prefix
    :param kind: what is sent
    :param tags: beside ``dag_id``, which all of them have
    """

    name: str
    kind: Literal["counter", "timer", "gauge"]
    tags: tuple[str, ...] = ()


SUBMITS = Metric("goenhance.submits", "counter", ("outcome",))
CREDITS = Metric("goenhance.credits", "counter")
ROWS = Metric("goenhance.rows", "counter", ("status",))
PAUSES = Metric("goenhance.pauses", "counter")
PAUSE_SECONDS = Metric("goenhance.pause.seconds", "timer")
LEASES = Metric("goenhance.leases", "counter", ("outcome",))
ACCOUNT_PACE = Metric("goenhance.account.pace", "gauge")
JOB_SECONDS = Metric("goenhance.job.seconds", "timer")
COLLECT_SECONDS = Metric("goenhance.collect.seconds", "timer")
COLLECT_BYTES = Metric("goenhance.collect.bytes", "counter")
JOBS_WAITING = Metric("goenhance.jobs.waiting", "gauge", ("hostname",))
RUN_ROWS = Metric("goenhance.run.rows", "gauge", ("status",))
RUN_CREDITS = Metric("goenhance.run.credits", "gauge")
RUN_MEDIAN_SECONDS = Metric("goenhance.run.median_seconds", "gauge")

#: All metrics. ``docs/observability.md`` describes each.
METRICS = (
    SUBMITS,
    CREDITS,
    ROWS,
    PAUSES,
    PAUSE_SECONDS,
    LEASES,
    ACCOUNT_PACE,
    JOB_SECONDS,
    COLLECT_SECONDS,
    COLLECT_BYTES,
    JOBS_WAITING,
    RUN_ROWS,
    RUN_CREDITS,
    RUN_MEDIAN_SECONDS,
)


class Meter(Protocol):
    """Receives the figures of a task. It must not raise."""

    def count(self, metric: Metric, value: int = 1, **tags: str) -> None:
        """Add to a counter."""

    def time(self, metric: Metric, seconds: float, **tags: str) -> None:
        """Record a duration."""

    def gauge(self, metric: Metric, value: float, **tags: str) -> None:
        """Set a gauge."""


class NoMeter:
    """Receives figures that nothing collects."""

    def count(self, metric: Metric, value: int = 1, **tags: str) -> None:
        """Do nothing."""

    def time(self, metric: Metric, seconds: float, **tags: str) -> None:
        """Do nothing."""

    def gauge(self, metric: Metric, value: float, **tags: str) -> None:
        """Do nothing."""


# Not a context variable: a task's rounds run in a thread of their own, and a worker process runs one task at a time.
_in_use: Meter = NoMeter()


def meter() -> Meter:
    """Return the meter in use."""
    return _in_use


@contextmanager
def use_meter(new: Meter) -> Iterator[None]:
    """Send the figures of this process to a meter for as long as the context is open."""
    global _in_use
    before, _in_use = _in_use, new
    try:
        yield
    finally:
        _in_use = before


def count_submits(report: SubmitReport) -> None:
    """Count what became of the pairs of a round of submits."""
    outcomes = {
        "accepted": len(report.submitted),
        "declined": report.declined,
        "unknown": report.unknown,
        "over_budget": len(report.over_budget),
        "taken_elsewhere": report.taken_elsewhere,
    }
    for outcome, number in outcomes.items():
        if number:
            meter().count(SUBMITS, number, outcome=outcome)
    if report.cost:
        meter().count(CREDITS, report.cost)
    # Rows that were sent again and refused are as they were before.
    count_rows(
        {
            "failed": report.declined - len(report.left),
            "unknown": report.unknown,
            "held": len(report.over_budget),
        }
    )


def count_rows(rows: Mapping[Any, int]) -> None:
    """
    Count rows that have reached a status in which they stay.

    :param rows: how many, by status
    """
    for status, number in rows.items():
        if number > 0:
            meter().count(ROWS, number, status=str(status))


def count_outcomes(outcomes: Iterable[Outcome]) -> None:
    """Count the rows whose jobs have ended."""
    counts: dict[str, int] = {}
    for outcome in outcomes:
        counts[str(outcome.status)] = counts.get(str(outcome.status), 0) + 1
    count_rows(counts)


def time_job(swap: Swap, finished_at: dt.datetime | None) -> None:
    """Record how long a job took, from its submit to its end, as far as GoEnhance reports it."""
    if swap.submitted_at is not None and finished_at is not None:
        meter().time(JOB_SECONDS, max(0.0, (finished_at - swap.submitted_at).total_seconds()))


def show_run(summary: RunSummary) -> None:
    """Show the figures of a run that is reported."""
    for status, number in summary.counts.items():
        meter().gauge(RUN_ROWS, number, status=str(status))
    if summary.cost is not None:
        meter().gauge(RUN_CREDITS, summary.cost)
    if summary.median_seconds is not None:
        meter().gauge(RUN_MEDIAN_SECONDS, summary.median_seconds)
