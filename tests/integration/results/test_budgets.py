# SPDX-License-Identifier: Apache-2.0
"""Budgets are reserved with the claim: no run and no day costs more than it may, whatever the workers do."""

from __future__ import annotations

import dataclasses
import datetime as dt
import threading
from typing import Any

import pytest
import sqlalchemy as sa
import time_machine

from airflow_provider_goenhance.results.budgets import open_budgets, used_so_far
from airflow_provider_goenhance.results.ledger import Ledger, RunKey
from airflow_provider_goenhance.results.prices import learned_price, store_price
from airflow_provider_goenhance.results.resolution import NotBilled, WrittenOff
from airflow_provider_goenhance.results.settlement import settle
from airflow_provider_goenhance.results.spending import (
    Amount,
    Caps,
    Spending,
    day_scope,
    run_scope,
    today,
)
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.transition_sql import apply
from airflow_provider_goenhance.results.transitions import (
    Accepted,
    Claim,
    ClaimOwner,
    Declined,
    NotSent,
    OutcomeUnknown,
    Transition,
)
from tests.integration.results.conftest import MakeDatabase
from tests.integration.results.databases import Fate, ProcessDied, TestDatabase
from tests.swaps import planned

KEY = RunKey("dag", "run")
ROWS = 10


@pytest.fixture
def ledger(database: TestDatabase) -> Ledger:
    ledger = Ledger(database)
    ledger.plan(KEY, [planned(number) for number in range(ROWS)], task_id="swap")
    return ledger


def owner(name: str = "swap[0] try 1 a", key: RunKey = KEY, **values: Any) -> ClaimOwner:
    return ClaimOwner(name, "account", 1, spending=Spending("account", key, **values))


def spending_of(who: ClaimOwner) -> Spending:
    assert who.spending is not None
    return who.spending


def claims(ledger: Ledger, *numbers: int, key: RunKey = KEY) -> list[Transition]:
    rows = ledger.of_run(key)
    return [Claim.of(rows[number]) for number in numbers or range(len(rows))]


def swap_id(number: int) -> str:
    return planned(number).swap_id


def used(database: TestDatabase, key: RunKey = KEY) -> Amount:
    return used_in(database, run_scope(key.dag_id, key.run_id).budget_id)


def used_in(database: TestDatabase, budget_id: str) -> Amount:
    table = database.shared.budgets
    found = database.read(sa.select(table.c.pairs, table.c.cost).where(table.c.budget_id == budget_id))
    return Amount(**found[0]) if found else Amount()


def statuses(ledger: Ledger) -> list[str]:
    return [row.status.value for row in ledger.of_run(KEY)]


def test_claims_beyond_the_pairs_of_a_run_are_refused_before_their_posts(
    database: TestDatabase, ledger: Ledger
) -> None:
    who = owner(per_run=Caps(max_pairs=4))

    assert database.take(who, claims(ledger)) == [True] * 4 + [False] * 6
    assert statuses(ledger) == ["submitting"] * 4 + ["planned"] * 6
    assert used(database) == (4, 0)
    assert spending_of(who).refused == {swap_id(number) for number in range(4, ROWS)}
    assert str(spending_of(who).reached) == "The budget of run run of Dag dag is reached: 4 of 4 pairs."


def test_credits_are_reserved_at_the_price_of_one_swap(database: TestDatabase, ledger: Ledger) -> None:
    who = owner(per_run=Caps(max_cost=10), price=3)

    assert sum(database.take(who, claims(ledger))) == 3
    assert used(database) == (3, 9)
    row = ledger.of_run(KEY)[0]
    assert (row.reserved_cost, row.reserved_day) == (3, today())
    assert str(spending_of(who).reached) == (
        "The budget of run run of Dag dag is reached: 9 of 10 credits are spent or reserved, and one pair costs 3."
    )


def test_a_cap_on_credits_without_a_price_lets_nothing_through(
    database: TestDatabase, ledger: Ledger
) -> None:
    assert not any(database.take(owner(per_run=Caps(max_cost=10)), claims(ledger)))


@pytest.mark.parametrize("step", [NotSent, Declined])
def test_a_post_that_was_not_accepted_gives_back_what_it_reserved_and_the_next_claim_has_it(
    database: TestDatabase, ledger: Ledger, step: type[NotSent | Declined]
) -> None:
    who = owner(per_run=Caps(max_pairs=1, max_cost=5), price=5)
    database.take(who, claims(ledger, 0))

    assert database.take(who, [step(swap_id(0), "code", "why"), *claims(ledger, 1)]) == [True, True]
    assert used(database) == (1, 5)
    first = ledger.of_run(KEY)[0]
    assert (first.reserved_cost, first.reserved_day) == (None, None)


def test_a_submit_of_unknown_outcome_keeps_its_reservation(database: TestDatabase, ledger: Ledger) -> None:
    who = owner(per_run=Caps(max_pairs=1))
    database.take(who, claims(ledger, 0))
    database.take(who, [OutcomeUnknown(swap_id(0), "submit_outcome_unknown", "lost")])

    assert database.take(owner("another", per_run=Caps(max_pairs=1)), claims(ledger, 1)) == [False]
    assert used(database) == (1, 0)


def test_the_cost_that_goenhance_reports_replaces_the_reserved_one_and_is_the_next_price(
    database: TestDatabase, ledger: Ledger
) -> None:
    who = owner(per_run=Caps(max_cost=20), price=2)
    database.take(who, claims(ledger, 0))

    results = database.take(who, [Accepted(swap_id(0), "job-1", 7), *claims(ledger, 1, 2)])

    assert results == [True, True, False]
    assert used(database) == (2, 14)
    assert spending_of(who).price == 7


@pytest.mark.parametrize("fate", ["cut_before", "cut_after"])
def test_a_transaction_that_runs_twice_counts_once(
    database: TestDatabase, ledger: Ledger, fate: Fate
) -> None:
    who = owner(per_run=Caps(max_pairs=4))

    assert database.take(who, claims(ledger), fate) == [True] * 4 + [False] * 6
    assert used(database).pairs == 4
    steps = [NotSent(swap_id(0), "code", "why"), Accepted(swap_id(1), "job-1", 3), *claims(ledger, 5)]
    assert database.take(who, steps, fate) == [True, True, True]
    assert used(database) == (4, 6)


@pytest.mark.parametrize(("fate", "counted"), [("crash_before", 0), ("crash_after", 4)])
def test_a_worker_that_is_killed_leaves_reserved_exactly_what_may_have_been_sent(
    database: TestDatabase, ledger: Ledger, fate: Fate, counted: int
) -> None:
    with pytest.raises(ProcessDied):
        database.take(owner(per_run=Caps(max_pairs=4)), claims(ledger), fate)

    assert used(database).pairs == counted == statuses(ledger).count("submitting")


def test_the_budget_of_a_day_holds_over_all_runs_of_the_account(
    database: TestDatabase, ledger: Ledger
) -> None:
    other = RunKey("dag", "other")
    ledger.plan(other, [planned(number, run_id="other") for number in range(ROWS)], task_id="swap")
    limit = Caps(max_pairs=7)
    first = database.take(owner(per_day=limit), claims(ledger, *range(5)))
    second = database.take(owner("b", other, per_day=limit), claims(ledger, key=other))

    assert (sum(first), sum(second)) == (5, 2)
    assert used_in(database, day_scope("account", today()).budget_id).pairs == 7


def test_what_was_reserved_before_midnight_is_given_back_to_that_day(
    database: TestDatabase, ledger: Ledger
) -> None:
    who = owner(per_day=Caps(max_pairs=3))
    with time_machine.travel(dt.datetime(2026, 11, 27, 23, 59, tzinfo=dt.UTC), tick=False) as clock:
        database.take(who, claims(ledger, 0, 1, 2))
        clock.shift(120)
        results = database.take(who, [NotSent(swap_id(0), "code", "why"), *claims(ledger, 3, 4, 5, 6)])

    assert results == [True, True, True, True, False]
    assert used_in(database, day_scope("account", "2026-11-27").budget_id).pairs == 2
    assert used_in(database, day_scope("account", "2026-11-28").budget_id).pairs == 3


def test_several_workers_at_once_do_not_exceed_a_budget(make_database: MakeDatabase, ledger: Ledger) -> None:
    granted: list[bool] = []
    barrier = threading.Barrier(4)

    def work(number: int) -> None:
        database = make_database()
        who = owner(f"worker {number}", per_run=Caps(max_pairs=5))
        mine = claims(ledger, *range(number, ROWS, 4))
        barrier.wait(30)
        for claim in mine:
            granted.extend(database.take(who, [claim]))

    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)

    assert sum(granted) == 5
    assert statuses(ledger).count("submitting") == 5


def test_no_budget_costs_no_statement(database: TestDatabase, ledger: Ledger) -> None:
    def statements(who: ClaimOwner, number: int) -> int:
        seen: list[str] = []

        def count(_connection: Any, _cursor: Any, text: str, *_: Any) -> None:
            seen.append(text)

        claim = claims(ledger, number)
        sa.event.listen(database.engine, "before_cursor_execute", count)
        database.take(who, claim)
        sa.event.remove(database.engine, "before_cursor_execute", count)
        return len(
            [
                text
                for text in seen
                if not text.startswith("SELECT goenhance_swaps.swap_id, goenhance_swaps.dag_id")
            ]
        )

    bare = dataclasses.replace(owner(), spending=None)
    assert statements(owner(), 0) == statements(bare, 1)
    assert used(database) == (0, 0)
    assert ledger.of_run(KEY)[0].reserved_day is None


def test_a_submit_that_a_person_says_was_not_billed_gives_its_reservation_back_once(
    database: TestDatabase, ledger: Ledger
) -> None:
    who = owner(per_run=Caps(max_pairs=2), price=4)
    database.take(who, claims(ledger, 0, 1))
    database.take(who, [OutcomeUnknown(swap_id(0), "submit_outcome_unknown", "lost")])

    now = dt.datetime.now(dt.UTC)
    steps = [
        NotBilled(row.swap_id, 1, row.claimed_at, "anna", now, "Not in the console.")
        for row in ledger.of_run(KEY)[:2]
    ]
    for _ in range(2):
        database.run(lambda connection: settle(connection, database.swaps, steps))

    assert used(database) == (1, 4)
    assert statuses(ledger)[:2] == ["planned", "submitting"]


@pytest.mark.parametrize("cost", [None, 7])
@pytest.mark.parametrize("resolution", [NotBilled, WrittenOff])
def test_a_job_whose_answer_comes_after_its_submit_was_settled_counts_in_the_budgets_again(
    database: TestDatabase, ledger: Ledger, resolution: type[NotBilled | WrittenOff], cost: int | None
) -> None:
    who = owner(per_run=Caps(max_cost=20), per_day=Caps(max_pairs=5), price=5)
    database.take(who, claims(ledger, 0))
    database.take(who, [OutcomeUnknown(swap_id(0), "connection_lost", "lost")])
    (row,) = (row for row in ledger.of_run(KEY) if row.swap_id == swap_id(0))
    settled = resolution(
        row.swap_id, 1, row.claimed_at, "anna", dt.datetime.now(dt.UTC), "Not in the console."
    )
    database.run(lambda connection: settle(connection, database.swaps, [settled]))
    for _ in range(2):
        # Sent twice, as by a writer that lost the connection during its commit.
        database.take(who, [Accepted(swap_id(0), "uuid-0", cost)])
        assert used(database) == Amount(1, cost or 5)
        assert used_in(database, day_scope("account", today()).budget_id) == Amount(1, cost or 5)


def test_a_budget_that_is_set_late_counts_what_was_spent_before(
    database: TestDatabase, ledger: Ledger
) -> None:
    before = ClaimOwner("before", "account", 1)
    database.take(before, claims(ledger, 0, 1, 2))
    database.take(before, [Accepted(swap_id(0), "job-1", 6)])
    spending = Spending("account", KEY, Caps(max_pairs=4), Caps(max_cost=20), price=5)

    for _ in range(2):
        open_budgets(database, spending)

    assert [amount for _, _, amount in used_so_far(database, spending)] == [(3, 16), (3, 16)]
    assert sum(database.take(ClaimOwner("late", "account", 1, spending=spending), claims(ledger, 3, 4))) == 0


def test_a_limit_per_day_that_is_set_late_counts_what_was_spent_with_and_without_a_budget(
    database: TestDatabase, ledger: Ledger
) -> None:
    limited = owner("limited", per_run=Caps(max_pairs=5), price=1)
    open_budgets(database, spending_of(limited))
    database.take(limited, claims(ledger, 0))
    database.take(ClaimOwner("without a budget", "account", 1), claims(ledger, 1, 2, 3))

    late = owner("late", per_day=Caps(max_pairs=5), price=1)
    open_budgets(database, spending_of(late))
    assert [amount.pairs for _, _, amount in used_so_far(database, spending_of(late))] == [4]
    assert database.take(late, claims(ledger, 4, 5)) == [True, False]

    # What the first one gives back is room for one more.
    database.take(limited, [NotSent(swap_id(0), "service_busy", "Busy.")])
    assert used(database).pairs == 1
    assert database.take(late, claims(ledger, 5, 6)) == [True, False]


def test_the_learned_price_is_stored_for_the_account(database: TestDatabase) -> None:
    assert learned_price(database, "account") is None
    store_price(database, "account", 4)
    store_price(database, "account", 5)
    assert learned_price(database, "account") == 5
    assert learned_price(database, "another") is None


def test_a_row_of_another_state_is_neither_counted_nor_refused(
    database: TestDatabase, ledger: Ledger
) -> None:
    stale = claims(ledger, 0)
    database.take(owner("first", per_run=Caps(max_pairs=1)), stale)
    late = owner("late", per_run=Caps(max_pairs=1))

    assert database.run(lambda connection: apply(connection, database.swaps, late, stale)) == [False]
    assert (used(database).pairs, spending_of(late).refused) == (1, set())
    assert ledger.of_run(KEY)[0].status is Status.SUBMITTING
