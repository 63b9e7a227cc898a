# SPDX-License-Identifier: Apache-2.0
"""
Budgets under every interleaving: several workers, cut and killed at every step, over two runs and two days.

What must hold after each step: no more was accepted than a budget allows, no counter is above its limit, and every
reservation that is counted belongs to a row whose submit was accepted, or may have been.
"""

from __future__ import annotations

import datetime as dt
import os
import random
from collections import Counter
from dataclasses import dataclass, field

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from airflow_provider_goenhance.results import budgets
from airflow_provider_goenhance.results.ledger import Ledger, RunKey
from airflow_provider_goenhance.results.resolution import NotBilled
from airflow_provider_goenhance.results.settlement import settle
from airflow_provider_goenhance.results.spending import (
    Amount,
    Caps,
    Spending,
    day_scope,
    run_scope,
)
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

EXAMPLES = int(os.environ.get("GOENHANCE_LEDGER_EXAMPLES", "0"))
#: Today and tomorrow: rows that are claimed have the time of the test's own clock.
DAYS = [(dt.datetime.now(dt.UTC).date() + dt.timedelta(days=days)).isoformat() for days in (0, 1)]
RUNS = (RunKey("dag", "one"), RunKey("dag", "two"))
ROWS = 6
PRICE = 3
PER_RUN, PER_DAY = Caps(max_pairs=4, max_cost=14), Caps(max_pairs=6)
FATES: tuple[Fate, ...] = ("ok",) * 10 + ("cut_before", "cut_after", "crash_before", "crash_after")
#: A row that has reserved something is in one of these states.
MAY_BE_PAID_FOR = {Status.SUBMITTING, Status.UNKNOWN, Status.SUBMITTED}


@dataclass
class Worker:
    """One execution: what it may still send, and the results that it has not committed yet."""

    owner: ClaimOwner
    run: RunKey
    granted: list[str] = field(default_factory=list)
    results: list[Transition] = field(default_factory=list)


class World:
    """The database, the vendor, and the workers between them."""

    def __init__(self, database: TestDatabase, chance: random.Random) -> None:
        self.database, self.chance = database, chance
        self.ledger = Ledger(database)
        tables = [database.swaps, database.shared.budgets, database.shared.pairs]
        database.run(lambda connection: [connection.execute(table.delete()) for table in tables])
        for number, run in enumerate(RUNS):
            rows = [planned(10 * number + row, run_id=run.run_id) for row in range(ROWS)]
            self.ledger.plan(run, rows, task_id="swap")
        self.day = DAYS[0]
        self.workers: list[Worker] = []
        self.started = 0
        self.accepted: Counter[str] = Counter()
        self.billed: set[str] = set()
        #: Reservations of submits of unknown outcome whose rows have been claimed again since.
        self.kept: Counter[str] = Counter()

    def rows(self) -> list[Swap]:
        return [row for run in RUNS for row in self.ledger.of_run(run)]

    def move(self) -> None:
        moves = {
            self.a_worker_starts: 2 if len(self.workers) < 4 else 0,
            self.a_worker_commits: 8 if self.workers else 0,
            self.a_post_is_sent: 8 if any(worker.granted for worker in self.workers) else 0,
            self.a_worker_is_killed: 1 if self.workers else 0,
            self.claims_expire: 1,
            self.a_person_says_not_billed: 1,
            self.midnight: 0.3,
        }
        self.chance.choices(list(moves), weights=list(moves.values()))[0]()

    def a_worker_starts(self) -> None:
        self.started += 1
        run = self.chance.choice(RUNS)
        spending = Spending("account", run, PER_RUN, PER_DAY, PRICE)
        owner = ClaimOwner(f"swap[{self.started}] try 1", "account", 1, spending=spending)
        budgets.open_budgets(self.database, spending)
        self.workers.append(Worker(owner, run))

    def a_worker_commits(self) -> None:
        worker = self.chance.choice(self.workers)
        due = [
            row for row in self.ledger.of_run(worker.run) if row.status in {Status.PLANNED, Status.UNKNOWN}
        ]
        self.chance.shuffle(due)
        claims = [self.claim(row) for row in due[: self.chance.choice((0, 1, 2, 5))]]
        results, worker.results = worker.results, []
        before = {row.swap_id: row for row in self.rows()}
        try:
            taken = self.database.take(worker.owner, [*results, *claims], self.chance.choice(FATES))
        except ProcessDied:
            self.workers.remove(worker)
            taken = []
        self.count_claims_again(before)
        for claim, granted in zip(claims, taken[len(results) :], strict=False):
            if granted:
                worker.granted.append(claim.swap_id)

    def claim(self, row: Swap) -> Claim:
        # Without its pair's key: what is asked here is whether the budgets hold alone.
        return Claim(row.swap_id, row.status, row.attempts, max_tries=row.max_tries)

    def count_claims_again(self, before: dict[str, Swap]) -> None:
        for row in self.rows():
            old = before[row.swap_id]
            if old.status is Status.UNKNOWN and row.attempts == old.attempts + 1:
                for scope in budgets.scopes_of([old]):
                    self.kept[scope.budget_id] += 1

    def a_post_is_sent(self) -> None:
        worker = self.chance.choice([worker for worker in self.workers if worker.granted])
        swap_id = worker.granted.pop()
        answer = self.chance.choice(("accepted", "accepted", "declined", "refused", "lost", "lost_accepted"))
        if answer in {"accepted", "lost_accepted"}:
            self.accepted[worker.run.run_id] += 1
            self.billed.add(swap_id)
        steps: dict[str, Transition] = {
            "accepted": Accepted(swap_id, f"job-{sum(self.accepted.values())}", PRICE),
            "declined": Declined(swap_id, "bad_request", "no face"),
            "refused": NotSent(swap_id, "unreachable", "no connection"),
        }
        worker.results.append(
            steps.get(answer, OutcomeUnknown(swap_id, "submit_outcome_unknown", "the connection broke"))
        )

    def a_worker_is_killed(self) -> None:
        self.workers.remove(self.chance.choice(self.workers))

    def claims_expire(self) -> None:
        alive = {worker.owner.name for worker in self.workers}
        self.ledger.mark_abandoned([row for row in self.rows() if row.claimed_by not in alive])

    def a_person_says_not_billed(self) -> None:
        """Say so of some rows, whatever their state is; a person who looked is right about it."""
        now = dt.datetime.now(dt.UTC)
        steps = [
            NotBilled(row.swap_id, row.attempts, row.claimed_at, "anna", now, "Not in the console.")
            for row in self.rows()
            if row.swap_id not in self.billed and self.not_on_the_wire(row) and self.chance.random() < 0.2
        ]
        self.database.run(lambda connection: settle(connection, self.database.swaps, steps))

    def not_on_the_wire(self, row: Swap) -> bool:
        return all(row.swap_id not in worker.granted for worker in self.workers)

    def midnight(self) -> None:
        self.day = DAYS[1]

    def check(self) -> None:
        expected = Counter(self.kept)
        for row in self.rows():
            if row.reserved_day is not None:
                assert row.status in MAY_BE_PAID_FOR, f"{row.status} has reserved credits"
                expected.update(scope.budget_id for scope in budgets.scopes_of([row]))
        table = self.database.shared.budgets
        used = {
            row["budget_id"]: Amount(row["pairs"], row["cost"])
            for row in self.database.read(sa.select(table))
        }
        assert {key: amount.pairs for key, amount in used.items() if amount.pairs} == dict(expected)
        assert all(amount.cost == amount.pairs * PRICE for amount in used.values())
        for run in RUNS:
            amount = used.get(run_scope(*(run.dag_id, run.run_id)).budget_id, Amount())
            assert self.accepted[run.run_id] <= amount.pairs <= 4
            assert amount.cost <= 14
        for day in DAYS:
            assert used.get(day_scope("account", day).budget_id, Amount()).pairs <= 6


@pytest.fixture
def fast(database: TestDatabase) -> TestDatabase:
    if database.url.get_backend_name() == "sqlite":
        sa.event.listen(database.engine, "connect", lambda raw, _: raw.execute("PRAGMA synchronous=OFF"))
        database.engine.dispose()
    return database


def test_no_interleaving_exceeds_a_budget_or_loses_a_reservation(
    fast: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    @settings(
        max_examples=EXAMPLES or 4,
        derandomize=not EXAMPLES,
        phases=list(Phase) if EXAMPLES else [Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(seed=st.integers(0, 2**62))
    def check(seed: int) -> None:
        world = World(fast, random.Random(seed))
        monkeypatch.setattr(budgets, "today", lambda: world.day)
        for _ in range(60):
            world.move()
            world.check()

    check()


pytestmark = [pytest.mark.timeout(3600 if EXAMPLES else 600)]
