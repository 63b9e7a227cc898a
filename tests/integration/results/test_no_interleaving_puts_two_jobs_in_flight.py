# SPDX-License-Identifier: Apache-2.0
"""Whatever runs do at the same moment, and wherever they die, no pair has two submits or jobs in flight."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_goenhance.execution.pair_decisions import decide_pairs
from airflow_provider_goenhance.results.ledger import Ledger, Outcome, RunKey
from airflow_provider_goenhance.results.pair_transitions import Freed, step_to
from airflow_provider_goenhance.results.reuse import Decision, NextStep, adopting, holding
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.swap import Swap
from airflow_provider_goenhance.results.transitions import (
    Accepted,
    Claim,
    ClaimOwner,
    Declined,
    NotSent,
    OutcomeUnknown,
    Transition,
)
from tests.integration.results.databases import Fate, ProcessDied, TestDatabase
from tests.swaps import planned

RUNS = ("1", "2", "3")
PAIRS = 2
FATES: tuple[Fate, ...] = ("ok",) * 8 + ("cut_before", "cut_after", "crash_before", "crash_after")
EXAMPLES = int(os.environ.get("GOENHANCE_LEDGER_EXAMPLES", "4"))


@dataclass
class Night:
    """Several runs with the same pairs, and GoEnhance, which knows what is really in flight."""

    database: TestDatabase
    chance: random.Random
    decided: dict[str, tuple[Swap, Decision]] = field(default_factory=dict)
    claimed: dict[str, str] = field(default_factory=dict)  # row -> pair, its POST may still be sent
    jobs: dict[str, str] = field(default_factory=dict)  # job that runs -> pair
    lost: set[str] = field(default_factory=set)  # pairs with a submit that may have been accepted
    posts: int = 0

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.database)
        for table in (self.database.swaps, self.database.shared.pairs):
            self.database.run(lambda connection, table=table: connection.execute(table.delete()))
        for run in RUNS:
            rows = [planned(number, run_id=run) for number in range(PAIRS)]
            self.ledger.plan(RunKey("dag", run), rows, task_id="swap")

    def rows(self) -> list[Swap]:
        return [row for run in RUNS for row in self.ledger.of_run(RunKey("dag", run))]

    def move(self) -> None:
        what = self.chance.choice([self.look, self.look, self.claim, self.claim, self.answer, self.job_ends])
        what()

    def look(self) -> None:
        """A task looks at a row, and may act on what it saw much later, or never."""
        due = [row for row in self.rows() if row.status in {Status.PLANNED, Status.HELD}]
        if not due:
            return
        row, reuse = self.chance.choice(due), self.chance.random() < 0.5
        decisions = decide_pairs(
            [row], self.ledger, "account", reuse=reuse, on_unknown_submit="hold", storage_conn_id=None
        )
        decision = decisions[row.swap_id]
        match decision.step:
            case NextStep.ADOPT if decision.other is not None:
                self.ledger.take([step_to(row, adopting(row, decision.other))])
            case NextStep.HOLD:
                self.ledger.take([step_to(row, holding(row, decision))])
            case NextStep.SUBMIT:
                self.ledger.take([Freed.of(row)] if row.status is Status.HELD else [])
                self.decided[row.swap_id] = (Freed.after(row), decision)

    def claim(self) -> None:
        """A task claims what it has decided to submit, some of it together, and may die of it."""
        some = self.chance.sample(sorted(self.decided), min(len(self.decided), self.chance.choice((1, 2))))
        chosen = [self.decided.pop(swap_id) for swap_id in some]
        before = {swap.swap_id for swap in self.rows() if swap.status is Status.SUBMITTING}
        steps: list[Transition] = [Claim.of(row, decision.claims_seen) for row, decision in chosen]
        if not self.take(steps):
            died = [s for s in self.rows() if s.status is Status.SUBMITTING and s.swap_id not in before]
            for swap in died:
                self.granted(swap)
                self.ledger.mark_abandoned([swap])
                self.lost.add(self.claimed.pop(swap.swap_id))
            return
        for row in self.rows():
            if row.swap_id in some and row.status is Status.SUBMITTING and row.swap_id not in before:
                self.granted(row)

    def granted(self, row: Swap) -> None:
        """What must hold, whenever a row may be sent."""
        pair = row.pair_fingerprint
        assert pair not in self.claimed.values(), "two submits of a pair at once"
        assert pair not in self.jobs.values(), "a submit beside a job that runs"
        assert pair not in self.lost, "a submit after one that may have been accepted"
        self.claimed[row.swap_id] = pair

    def answer(self) -> None:
        """GoEnhance answers a POST, or its answer is lost."""
        if not self.claimed:
            return
        swap_id = self.chance.choice(sorted(self.claimed))
        pair = self.claimed.pop(swap_id)
        self.posts += 1
        job = f"job-{self.posts}"
        step: Transition = self.chance.choice(
            [
                Accepted(swap_id, job, 1),
                Accepted(swap_id, job, 1),
                Declined(swap_id, "bad_request", "No face."),
                NotSent(swap_id, "service_busy", "Busy."),
                OutcomeUnknown(swap_id, "submit_outcome_unknown", "Lost."),
            ]
        )
        if isinstance(step, Accepted):
            self.jobs[job] = pair
        if isinstance(step, OutcomeUnknown):
            self.lost.add(pair)
        if not self.take([step]):
            (row,) = self.ledger.by_ids([swap_id])
            if row.status is Status.SUBMITTING:  # it died before the answer was committed
                self.ledger.mark_abandoned([row])
                self.lost.add(pair)

    def job_ends(self) -> None:
        """A job fails, and a task that waits for it, whichever, records that."""
        waiting = [row for row in self.rows() if row.img_uuid in self.jobs]
        if waiting:
            row = self.chance.choice(waiting)
            assert row.img_uuid is not None
            del self.jobs[row.img_uuid]
            failed = Outcome(row.swap_id, row.img_uuid, Status.FAILED, error_code="job_failed")
            self.ledger.record_outcomes([failed], "account")

    def take(self, steps: list[Transition]) -> bool:
        """Take steps; return whether the process survived it."""
        owner = ClaimOwner("a task", "account")
        try:
            self.database.take(owner, steps, self.chance.choice(FATES) if steps else "ok")
        except ProcessDied:
            return False
        return True


def test_no_pair_has_two_submits_or_jobs_in_flight(database: TestDatabase) -> None:
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, 2**62))
    def nights(seed: int) -> None:
        night = Night(database, random.Random(seed))
        for _ in range(60):
            night.move()

    nights()
