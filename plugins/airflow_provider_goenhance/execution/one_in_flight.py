# SPDX-License-Identifier: Apache-2.0
"""
Submit rows so that of each pair of an account one job at a time is in flight, over all tasks, runs and Dags.

Before each round of submits a *look* decides about every row that is due, given what other rows have done with its
pair: the row reuses a picture, adopts a job, is held, waits, or is sent. Rows that have to wait come last.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..exceptions import GoEnhanceError, TaskEndedError
from ..results.pair_transitions import Freed, PairStep, step_to
from ..results.recovery import was_cleared
from ..results.reuse import Decision, NextStep, holding
from ..results.states import Status
from ..results.stores import has_expired
from .messages import pluralize
from .outcomes import failures_of_wait
from .pair_decisions import decide_pairs, decided
from .reused_marks import with_marked_pictures
from .submit_report import SubmitReport

if TYPE_CHECKING:
    from ..api.polling import WaitOutcome
    from ..pictures.collector import StorageOptions
    from ..results.ledger import Ledger
    from ..results.recovery import Policies
    from ..results.stores import SwapStore
    from ..results.swap import Swap
    from ..results.transitions import ClaimOwner
    from .task_loop import TaskLoop

log = logging.getLogger(__name__)

#: Seconds between two looks at pairs that other tasks are submitting.
LOOK_EVERY = 1.0
#: Seconds after which a row is held whose pair another task is still submitting. A retry checks again.
IN_FLIGHT_SECONDS = 60.0


@dataclass
class _Looked:
    """What a look has found: the rows to send, the rows to look at again, and the rows behind another's job."""

    send: list[Swap] = field(default_factory=list)
    claims_seen: dict[str, int] = field(default_factory=dict)
    in_flight: dict[str, Decision] = field(default_factory=dict)
    behind: dict[str, Decision] = field(default_factory=dict)


@dataclass
class OneInFlight:
    """
    The submits of one execution of a task.

    :param store: the rows of the task; without a results table other tasks are not known, and all rows are sent
    :param owner: this execution
    :param policies: the choices that may cost money
    :param storage_options: where earlier pictures are, and whether they are marked
    :param loop: says when the task ends
    :param send: sends rows; receives how often the pair of each had been claimed
    :param ask: polls the jobs of rows once
    """

    store: SwapStore
    owner: ClaimOwner
    policies: Policies
    storage_options: StorageOptions
    loop: TaskLoop
    send: Callable[[list[Swap], Mapping[str, int]], SubmitReport]
    ask: Callable[[Sequence[Swap]], WaitOutcome]
    _behind: dict[str, Decision] = field(default_factory=dict)
    _given_up: set[str] = field(default_factory=set)

    def submit(self, due: list[Swap]) -> GoEnhanceError | None:
        """
        Submit the rows that may be sent, and decide what becomes of the others.

        :param due: rows as they were read
        :return: the error that stopped it, if any; rows not sent yet are left for a later attempt
        """
        self._behind = {}
        ledger = self.store.ledger
        if ledger is None:
            return self.send(due, {}).stopped_by
        held_at = 0.0
        due = [row for row in due if row.swap_id not in self._given_up]
        while due:
            if self.loop.ended:
                return TaskEndedError("The task was stopped before all pairs were sent.")
            looked = self._look(ledger, due)
            self._behind |= looked.behind
            report = self.send(looked.send, looked.claims_seen) if looked.send else SubmitReport()
            if _ends_the_round(report, looked):
                return report.stopped_by
            due = self._unchanged(looked, [*report.over_budget, *report.left])
            if report.submitted or report.changed:
                held_at = 0.0
            elif due:
                held_at = held_at or _start_to_wait(due, looked.in_flight)
                if time.monotonic() >= held_at:
                    self._hold(ledger, due, looked.in_flight)
                    return None
                time.sleep(LOOK_EVERY)
        return None

    @property
    def jobs_ahead(self) -> list[Swap]:
        """Return the rows of other tasks whose jobs have to end before rows of this task may be sent."""
        ahead = {other.img_uuid: other for decision in self._behind.values() if (other := decision.other)}
        return list(ahead.values())

    def hold_rows_behind(self, swaps: list[Swap]) -> list[Swap]:
        """Hold the rows behind another's job, in a task that does not wait; return the rows as they are then."""
        if self.store.ledger is None or not self._behind:
            return swaps
        self._hold(self.store.ledger, [row for row in swaps if row.swap_id in self._behind], self._behind)
        self._behind = {}
        return self.store.load()

    def hold_rows_behind_running_jobs(self, due: Sequence[Swap]) -> bool:
        """
        Hold the rows behind jobs that still run after they were waited for.

        :param due: the rows that are due; a deferral has forgotten which of them are behind
        :return: whether rows may have changed
        """
        self._behind = {}
        ledger = self.store.ledger
        if ledger is None or not due:
            return False
        behind = {
            swap_id: (decision, decision.other)
            for swap_id, decision in self._decisions(ledger, due).items()
            if decision.step is NextStep.WAIT_FOR_JOB and decision.other
        }
        ahead = {other.img_uuid: other for _, other in behind.values()}
        if not ahead:
            return False
        waited = self.ask(list(ahead.values()))
        ledger.record_outcomes(failures_of_wait(list(ahead.values()), waited))
        still_running = set(waited.running)
        running = {
            swap_id: decision
            for swap_id, (decision, other) in behind.items()
            if other.img_uuid in still_running
        }
        self._hold(ledger, [row for row in due if row.swap_id in running], running)
        return True

    def _look(self, ledger: Ledger, rows: Sequence[Swap]) -> _Looked:
        """Decide about rows, and write what is decided."""
        decisions = self._decisions(ledger, rows)
        self._settle_expired(ledger, decisions.values())
        ended = self._ended_jobs(ledger, decisions.values())
        looked = _Looked()
        sent: dict[str, Swap] = {}
        changed: list[tuple[Swap, Swap]] = []
        freed: list[Swap] = []
        for row in rows:
            decision = decisions[row.swap_id]
            other = decision.other
            if decision.step is NextStep.WAIT_FOR_JOB and other is not None and other.img_uuid in ended:
                decision = Decision(NextStep.SUBMIT, other, decision.claims_seen)
            if decision.step is NextStep.SUBMIT and row.pair_fingerprint in sent:
                decision = Decision(NextStep.WAIT_FOR_SUBMIT, sent[row.pair_fingerprint])
            if decision.step in {NextStep.REUSE, NextStep.ADOPT, NextStep.HOLD}:
                changed += [(row, decided(row, decision))] if _may_take(row, decision) else []
                continue
            freed += [row] if row.status is Status.HELD else []
            if decision.step is NextStep.SUBMIT:
                sent[row.pair_fingerprint] = row
                looked.claims_seen[row.swap_id] = decision.claims_seen
            elif decision.step is NextStep.WAIT_FOR_SUBMIT:
                looked.in_flight[row.swap_id] = decision
            else:
                looked.behind[row.swap_id] = decision
        self._write(ledger, changed, freed)
        looked.send = [_planned_again(row) for row in sent.values()]
        return looked

    def _decisions(self, ledger: Ledger, rows: Sequence[Swap]) -> dict[str, Decision]:
        return decide_pairs(
            rows,
            ledger,
            str(self.owner.account),
            reuse=self.policies.reuse == "succeeded",
            on_unknown_submit=self.policies.on_unknown_submit,
            storage_conn_id=self.storage_options.conn_id,
            pay_again={row.swap_id for row in rows if self._pays_again(row)},
        )

    def _pays_again(self, row: Swap) -> bool:
        return self.policies.on_clear == "resubmit" and was_cleared(row, self.owner.max_tries)

    def _settle_expired(self, ledger: Ledger, decisions: Collection[Decision]) -> None:
        """Make rows ``unknown`` whose execution was killed: the next look finds them so."""
        submitting = [d.other for d in decisions if d.step is NextStep.WAIT_FOR_SUBMIT and d.other]
        if submitting:
            now = ledger.now()
            ledger.mark_abandoned([swap for swap in submitting if has_expired(swap, now)])

    def _ended_jobs(self, ledger: Ledger, decisions: Collection[Decision]) -> set[str | None]:
        """Return the jobs ahead that have ended, and record those that failed."""
        ahead = {d.other.img_uuid: d.other for d in decisions if d.step is NextStep.WAIT_FOR_JOB and d.other}
        if not ahead:
            return set()
        waited = self.ask(list(ahead.values()))
        ledger.record_outcomes(failures_of_wait(list(ahead.values()), waited))
        return set(ahead) - set(waited.running)

    def _write(self, ledger: Ledger, changed: Sequence[tuple[Swap, Swap]], freed: Sequence[Swap]) -> None:
        after = [row for _, row in changed]
        if self.storage_options.marking:
            after = with_marked_pictures(after, self.storage_options.conn_id)
        steps: list[PairStep] = [
            step_to(before, row) for (before, _), row in zip(changed, after, strict=True)
        ]
        ledger.take([*steps, *map(Freed.of, freed)])
        found = Counter(row.status for row in after)
        if found:
            log.info(
                "Not submitted, because of earlier submits or reviews of the same pairs: %s.",
                ", ".join(f"{count} {_FOUND[status]}" for status, count in found.items()),
            )

    def _unchanged(self, looked: _Looked, left: Sequence[Swap]) -> list[Swap]:
        """Return the rows that are to be looked at again: those in flight elsewhere, and those that were refused."""
        done = {swap.swap_id for swap in left}
        before = {row.swap_id: (row.status, row.attempts) for row in looked.send if row.swap_id not in done}
        return [
            row
            for row in self.store.load()
            if before.get(row.swap_id) == (row.status, row.attempts) or row.swap_id in looked.in_flight
        ]

    def _hold(self, ledger: Ledger, rows: Sequence[Swap], decisions: Mapping[str, Decision]) -> None:
        """Hold rows, and look at them no more in this execution; one with a submit of its own keeps its state."""
        self._given_up |= {row.swap_id for row in rows}
        may = [row for row in rows if not row.attempts and row.status in {Status.PLANNED, Status.HELD}]
        unsure = Decision(NextStep.WAIT_FOR_SUBMIT)
        ledger.take([step_to(row, holding(row, decisions.get(row.swap_id, unsure))) for row in may])
        if may:
            log.warning(
                "%s held, because another task has the same pair in flight; a retry checks again.",
                pluralize(len(may), "pair is", "pairs are"),
            )


_FOUND = {Status.REUSED: "reused", Status.SUBMITTED: "adopted", Status.HELD: "held"}


def _ends_the_round(report: SubmitReport, looked: _Looked) -> bool:
    """Return whether this round needs no second look at any row."""
    if report.stopped_by is not None or report.left_out:
        return True
    return not (looked.in_flight or report.taken_elsewhere or report.changed)


def _start_to_wait(rows: Sequence[Swap], decisions: Mapping[str, Decision]) -> float:
    """Log which pairs other tasks are submitting; return when to wait no more, by ``time.monotonic``."""
    others = [d.other for row in rows if (d := decisions.get(row.swap_id)) and d.other]
    first = f" (the first: run {others[0].run_id} of Dag {others[0].dag_id})" if others else ""
    log.info(
        "Other tasks are submitting %s%s: waiting for their jobs, for up to %.0f s.",
        pluralize(len(rows), "pair"),
        first,
        IN_FLIGHT_SECONDS,
    )
    return time.monotonic() + IN_FLIGHT_SECONDS


def _may_take(row: Swap, decision: Decision) -> bool:
    """Return whether a row is to change: one with a submit or a job of its own keeps its own state and reason."""
    if decision.step is NextStep.HOLD:
        return not row.attempts and not row.img_uuid and row.status is not Status.UNKNOWN
    return True


def _planned_again(row: Swap) -> Swap:
    """Return a row as it is once it was freed."""
    return row if row.status is not Status.HELD else Freed.after(row)
