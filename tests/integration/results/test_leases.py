# SPDX-License-Identifier: Apache-2.0
"""The limits of an account over all its tasks: leases that expire by themselves, turns, and what a 429 does."""

from __future__ import annotations

import datetime as dt
import itertools
import os
import time
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_goenhance.results import leases as leases_module
from airflow_provider_goenhance.results.lease_rows import LOWEST_PACE, Holder, Lease, Request
from airflow_provider_goenhance.results.leases import MARGIN, ROTATE_SECONDS, AccountLeases
from airflow_provider_goenhance.results.ledger import Ledger
from tests.integration.results.databases import Fate, ProcessDied, TestDatabase

ACCOUNT = "account"
#: How many interleavings of the property tests are tried; `make test-system` asks for many more.
EXAMPLES = int(os.environ.get("GOENHANCE_LEDGER_EXAMPLES", "0"))
A, B, C = Holder("a", "dag", "r1"), Holder("b", "dag", "r2"), Holder("c", "dag", "r3")
POST_SECONDS = 60.0


class Task:
    """An execution that follows the protocol: it reports what it may have under way, and keeps to the reply."""

    def __init__(self, database: Any, holder: Holder, wanted: int = 100, limit: int = 10) -> None:
        self._database = database
        self.holder, self.wanted, self.limit = holder, wanted, limit
        self.slots = self.under_way = 0
        self.forget()

    def forget(self) -> None:
        """Forget when the lease was written, as the passing of time would."""
        self.leases = AccountLeases(self._database, ACCOUNT, post_seconds=POST_SECONDS)

    def renew(self) -> Lease:
        held = max(self.slots, self.under_way)
        lease = self.leases.renew(self.holder, Request(held, self.wanted, self.limit))
        self.slots = lease.slots
        return lease

    def release(self) -> None:
        self.leases.release(self.holder)
        self.slots = self.under_way = 0


def recorded(database: TestDatabase) -> dict[str, int]:
    table = database.shared.leases
    return {row["owner"]: row["slots"] for row in database.read(sa.select(table))}


def let_pass(database: TestDatabase, seconds: float) -> None:
    """Change all times in the tables, as the passing of time would."""
    for table, names in (
        (database.shared.leases, ("since", "expires_at")),
        (database.shared.accounts, ("next_turn_at", "paused_until", "pace_since")),
    ):
        for row in database.read(sa.select(table)):
            values = {name: row[name] - dt.timedelta(seconds=seconds) for name in names if row[name]}
            where = [column == row[column.name] for column in table.primary_key]
            if values:
                database.run(_update(table, where, values))


def _update(table: sa.Table, where: list[Any], values: dict[str, Any]) -> Callable[[sa.Connection], Any]:
    return lambda connection: connection.execute(sa.update(table).where(*where).values(**values))


def test_a_task_that_has_the_account_alone_has_the_whole_limit(database: TestDatabase) -> None:
    assert Task(database, A).renew().slots == 10


def test_a_second_run_gets_its_half_once_the_first_has_reduced_itself(database: TestDatabase) -> None:
    first, second = Task(database, A), Task(database, B)
    first.renew()
    first.under_way = 8
    assert second.renew().slots == 0
    assert first.renew().slots == 5
    assert recorded(database) == {"a": 10, "b": 0}  # eight are still under way
    first.under_way = 5
    first.renew()
    assert second.renew().slots == 5
    assert recorded(database) == {"a": 5, "b": 5}


def test_a_share_grows_when_another_task_ends(database: TestDatabase) -> None:
    first, second = Task(database, A), Task(database, B)
    second.renew()
    assert first.renew().slots == 0
    second.release()
    assert first.renew().slots == 10


def test_a_lease_that_has_not_changed_is_read_and_not_written(database: TestDatabase) -> None:
    task = Task(database, A)
    task.renew()
    writes = []
    sa.event.listen(
        database.engine,
        "before_cursor_execute",
        lambda *args: writes.append(args[2]) if args[2].startswith(("UPDATE", "INSERT", "DELETE")) else None,
    )
    for _ in range(5):
        assert task.renew().slots == 10
    assert writes == []


def test_the_slots_of_a_killed_task_are_free_once_its_lease_has_expired(database: TestDatabase) -> None:
    killed, other = Task(database, A), Task(database, B)
    killed.renew()
    assert other.renew().slots == 0
    let_pass(database, POST_SECONDS + leases_module.VALID_SECONDS + 1)
    assert other.renew().slots == 10
    assert recorded(database) == {"b": 10}


def test_a_task_that_was_killed_while_it_waited_keeps_no_place_in_the_queue(database: TestDatabase) -> None:
    first, killed, last = (Task(database, holder, limit=1) for holder in (A, B, C))
    for task in (first, killed, last):
        task.renew()
    let_pass(database, 2 * leases_module.REWRITE_SECONDS + 1)
    first.release()
    last.forget()
    assert last.renew().slots == 1


def test_the_next_try_of_a_killed_task_does_not_wait_for_the_lease_to_expire(database: TestDatabase) -> None:
    killed = Task(database, Holder("swap[0] try 1", "dag", "r1", "swap[0] "))
    others = [
        Task(database, Holder(name, "dag", run, f"{name} "), wanted=1)
        for name, run in (("swap[1]", "r1"), ("swap[0]", "r2"))
    ]
    for task in (*others, killed):
        task.renew()
    assert killed.slots == 8
    next_try = Task(database, Holder("swap[0] try 2", "dag", "r1", "swap[0] "))
    next_try.renew()
    # GoEnhance may still work on the requests of the killed process.
    lease = next_try.renew()
    assert (lease.slots, lease.silent_slots) == (0, 8)
    assert 0 < lease.silent_seconds <= leases_module.ORPHAN_SECONDS
    let_pass(database, leases_module.ORPHAN_SECONDS + 0.5)
    lease = next_try.renew()
    assert (lease.slots, lease.silent_slots) == (8, 0)
    next_try.release()
    assert recorded(database) == {"swap[1]": 1, "swap[0]": 1}


def test_an_execution_that_lives_on_beside_the_next_try_keeps_what_it_has_under_way(
    database: TestDatabase,
) -> None:
    """Airflow may take a task for dead that is not: both count."""
    first = Task(database, Holder("swap[0] try 1", "dag", "r1", "swap[0] "))
    second = Task(database, Holder("swap[0] try 2", "dag", "r1", "swap[0] "))
    first.renew()
    first.under_way = 10
    assert second.renew().slots == 0
    first.renew()
    let_pass(database, leases_module.ORPHAN_SECONDS + 0.5)
    assert second.renew().slots == 0
    assert recorded(database) == {"swap[0] try 1": 10, "swap[0] try 2": 0}


def test_a_lease_outlasts_the_last_post_that_its_owner_may_start(database: TestDatabase) -> None:
    before = time.monotonic()
    lease = Task(database, A).renew()
    (row,) = database.read(sa.select(database.shared.leases))
    seconds = (row["expires_at"] - Ledger(database).now()).total_seconds()
    assert seconds - (lease.valid_until - time.monotonic()) >= POST_SECONDS - 0.1
    assert lease.valid_until <= time.monotonic() + leases_module.VALID_SECONDS
    assert lease.valid_until >= before + leases_module.VALID_SECONDS


def test_a_stalled_task_counts_what_it_still_has_under_way(database: TestDatabase) -> None:
    stalled, other = Task(database, A), Task(database, B)
    stalled.renew()
    let_pass(database, POST_SECONDS + leases_module.VALID_SECONDS + 1)
    other.renew()
    stalled.slots, stalled.under_way = 0, 2
    assert stalled.renew().slots == 0
    assert recorded(database) == {"a": 2, "b": 10}


def test_a_run_that_got_nothing_for_a_minute_gets_the_place_of_another(database: TestDatabase) -> None:
    first, second = Task(database, A, limit=1), Task(database, B, limit=1)
    first.renew()
    second.renew()
    assert (first.renew().slots, second.renew().slots) == (1, 0)
    let_pass(database, ROTATE_SECONDS + 1)
    first.forget()
    second.forget()
    assert second.renew().slots == 0
    assert first.renew().slots == 0
    first.renew()
    assert second.renew().slots == 1


class SpoiledWrites:
    """The same database, whose next write transaction goes wrong."""

    def __init__(self, database: TestDatabase) -> None:
        self._database = database
        self.shared, self.run_read = database.shared, database.run_read
        self.next: Fate = "ok"

    def run(self, work: Callable[[sa.Connection], Any]) -> Any:
        self._database.fate, self.next = self.next, "ok"
        try:
            return self._database.run(work)
        finally:
            self._database.fate = "ok"


class Simulation:
    """Tasks that come, send, end and die; the POSTs of those that died are orphans until they must have ended."""

    def __init__(self, database: TestDatabase, limit: int) -> None:
        for table in (database.shared.leases, database.shared.accounts):
            database.run(_delete(table))
        self.database, self.limit, self.spoiled = database, limit, SpoiledWrites(database)
        self.born = self.orphans = 0
        self.tasks = [self.spawn() for _ in range(3)]

    def spawn(self) -> Task:
        self.born += 1
        return Task(self.spoiled, Holder(f"t{self.born}", "dag", f"r{self.born % 2}"), limit=self.limit)

    @property
    def under_way(self) -> int:
        return self.orphans + sum(task.under_way for task in self.tasks)

    def take(self, step: str, number: int, fate: Fate) -> None:
        self.spoiled.next = fate
        try:
            getattr(self, step)(self.tasks[number])
        except ProcessDied:
            self.kill(self.tasks[number])

    def renew(self, task: Task) -> None:
        task.renew()

    def post(self, task: Task) -> None:
        task.under_way = max(task.under_way, task.slots)

    def answer(self, task: Task) -> None:
        task.under_way = max(0, task.under_way - 1)

    def release(self, task: Task) -> None:
        if not task.under_way:
            task.slots = 0
            task.release()

    def kill(self, task: Task) -> None:
        self.orphans += task.under_way
        self.tasks[self.tasks.index(task)] = self.spawn()

    def expire(self, _task: Task) -> None:
        """Nobody renewed for so long: every POST has ended, and nobody may start another one."""
        let_pass(self.database, POST_SECONDS + leases_module.VALID_SECONDS + 1)
        self.orphans = 0
        for task in self.tasks:
            task.slots = task.under_way = 0
            task.forget()


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["renew", "renew", "renew", "post", "post", "answer", "release", "kill", "expire"]),
        st.integers(0, 2),
        st.sampled_from(["ok", "ok", "ok", "cut_before", "cut_after", "crash_before", "crash_after"]),
    ),
    min_size=10,
    max_size=40,
)


@pytest.mark.parametrize("limit", [1, 4])
@settings(
    max_examples=max(12, EXAMPLES // 3),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=STEPS)
def test_no_interleaving_and_no_kill_exceeds_the_limit_or_blocks_it_for_ever(
    database: TestDatabase, limit: int, steps: list[tuple[str, int, Fate]]
) -> None:
    simulation = Simulation(database, limit)
    for step in steps:
        simulation.take(*step)
        assert simulation.under_way <= limit
    let_pass(database, POST_SECONDS + leases_module.VALID_SECONDS + 1)
    last = Task(database, Holder("last", "dag", "r9"), limit=limit)
    assert last.renew().slots == limit


def _delete(table: sa.Table) -> Callable[[sa.Connection], Any]:
    return lambda connection: connection.execute(sa.delete(table))


# -- turns -----------------------------------------------------------------------------------------------------------


def turns(database: TestDatabase, count: int, rate: float = 20.0, lead: float = 0.0) -> list[float]:
    leases = AccountLeases(database, ACCOUNT, post_seconds=POST_SECONDS)
    return leases.take_turns(count, rate, lead=lead, most_ahead=200)


def test_turns_follow_each_other_whoever_takes_them(database: TestDatabase) -> None:
    taken = turns(database, 3) + turns(database, 1) + turns(database, 2)
    gaps = [later - earlier for earlier, later in itertools.pairwise(taken)]
    assert taken == sorted(taken)
    # A reply that was slow makes a turn later, never sooner.
    assert sum(gaps) >= 5 * MARGIN / 20.0 - 0.05


def test_turns_that_nobody_took_are_not_made_up_for(database: TestDatabase) -> None:
    turns(database, 1)
    let_pass(database, 60)
    before = time.monotonic()
    first, second = turns(database, 2)
    assert first >= before
    assert second - first == pytest.approx(MARGIN / 20.0)


def test_a_turn_is_no_sooner_than_its_claim_takes(database: TestDatabase) -> None:
    before = time.monotonic()
    (turn,) = turns(database, 1, lead=0.5)
    assert turn >= before + 0.5


def test_a_clock_that_was_set_back_does_not_stop_the_account(database: TestDatabase) -> None:
    turns(database, 1)
    let_pass(database, -3600)
    (turn,) = turns(database, 1)
    assert turn - time.monotonic() <= 200 * MARGIN / 20.0 + 1


# -- 429 -------------------------------------------------------------------------------------------------------------


def leases_of(database: TestDatabase) -> AccountLeases:
    return AccountLeases(database, ACCOUNT, post_seconds=POST_SECONDS)


def test_a_429_pauses_and_slows_every_task_of_the_account(database: TestDatabase) -> None:
    first, second = Task(database, A), Task(database, B, limit=8)
    first.renew()
    first.leases.slow_down(30.0)
    lease = second.renew()
    assert 25 < lease.paused_seconds <= 30
    assert lease.pace == pytest.approx(0.5)
    (turn,) = turns(database, 1)
    assert 25 < turn - time.monotonic() <= 31


def test_the_pace_recovers_slowly(database: TestDatabase) -> None:
    task = Task(database, A, limit=10)
    task.renew()
    leases_of(database).slow_down(0.0)
    assert task.renew().slots == 5
    let_pass(database, 12)
    assert task.renew().slots == 7
    let_pass(database, 30)
    assert task.renew().slots == 10


def test_the_429s_of_one_burst_slow_down_once(database: TestDatabase) -> None:
    for _ in range(5):
        leases_of(database).slow_down(5.0, sent_before=1.0)
    assert Task(database, A).renew().pace == pytest.approx(0.5)


def test_429s_after_the_pause_slow_down_further_but_never_to_a_stop(database: TestDatabase) -> None:
    for _ in range(8):
        leases_of(database).slow_down(1.0)
        let_pass(database, 1.5)
    task = Task(database, A, limit=5)
    assert task.renew().slots == 1
    assert LOWEST_PACE <= task.renew().pace < 0.3
