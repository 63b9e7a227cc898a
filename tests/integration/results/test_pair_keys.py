# SPDX-License-Identifier: Apache-2.0
"""Of all runs that reach for one pair of an account, one at a time may submit it."""

from __future__ import annotations

import threading

import pytest

from airflow_provider_goenhance.results.ledger import Ledger, RunKey
from airflow_provider_goenhance.results.pair_keys import PairKey, read_keys
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.swap import Swap
from airflow_provider_goenhance.results.transitions import Accepted, Claim, ClaimOwner, NotSent
from tests.integration.results.conftest import MakeDatabase
from tests.integration.results.databases import TestDatabase
from tests.swaps import planned

PAIRS = 4
ONE = ClaimOwner("swap[0] of run 1", "account")
TWO = ClaimOwner("swap[0] of run 2", "account")
THREE = ClaimOwner("swap[0] of run 3", "account")


def plan(ledger: Ledger, run_id: str) -> list[Swap]:
    """Plan the same pairs in one more run."""
    rows = [planned(number, run_id=run_id) for number in range(PAIRS)]
    ledger.plan(RunKey("dag", run_id), rows, task_id="swap")
    return rows


@pytest.fixture
def ledger(database: TestDatabase) -> Ledger:
    return Ledger(database)


def key_of(database: TestDatabase, swap: Swap, account: str = "account") -> PairKey | None:
    keys = database.run_read(
        lambda connection: read_keys(connection, database.swaps, account, [swap.pair_fingerprint])
    )
    return keys.get(swap.pair_fingerprint)


def status(ledger: Ledger, swap: Swap) -> Status:
    (row,) = ledger.by_ids([swap.swap_id])
    return row.status


def test_of_two_runs_that_claim_a_pair_one_is_granted_it_and_the_others_row_stays_as_it_was(
    database: TestDatabase, ledger: Ledger
) -> None:
    (first, *_), (second, *_) = plan(ledger, "1"), plan(ledger, "2")
    assert database.take(ONE, [Claim.of(first)]) == [True]
    assert database.take(TWO, [Claim.of(second)]) == [False]
    assert (status(ledger, first), status(ledger, second)) == (Status.SUBMITTING, Status.PLANNED)
    assert key_of(database, first) == PairKey(first.swap_id, 1)


def test_another_account_may_submit_the_same_pair(database: TestDatabase, ledger: Ledger) -> None:
    (first, *_), (second, *_) = plan(ledger, "1"), plan(ledger, "2")
    assert database.take(ONE, [Claim.of(first)]) == [True]
    assert database.take(ClaimOwner("another", "account 2"), [Claim.of(second)]) == [True]


def test_a_refused_claim_does_not_refuse_the_others_of_its_group(
    database: TestDatabase, ledger: Ledger
) -> None:
    (first, *_), others = plan(ledger, "1"), plan(ledger, "2")
    database.take(ONE, [Claim.of(first)])
    assert database.take(TWO, [Claim.of(swap) for swap in others]) == [False, True, True, True]
    assert [status(ledger, swap) for swap in others] == [Status.PLANNED, *[Status.SUBMITTING] * 3]


def test_of_two_rows_of_one_pair_in_one_group_the_first_is_granted(
    database: TestDatabase, ledger: Ledger
) -> None:
    (first, *_), (second, *_) = plan(ledger, "1"), plan(ledger, "2")
    assert database.take(ONE, [Claim.of(second), Claim.of(first)]) == [True, False]


def test_the_one_who_has_seen_the_last_claim_may_submit_next(database: TestDatabase, ledger: Ledger) -> None:
    (first, *_), (second, *_) = plan(ledger, "1"), plan(ledger, "2")
    database.take(ONE, [Claim.of(first)])
    database.take(ONE, [NotSent(first.swap_id, "service_busy", "Busy.")])
    assert database.take(TWO, [Claim.of(second, claims_seen=1)]) == [True]
    assert key_of(database, first) == PairKey(second.swap_id, 2)


def test_a_decision_no_longer_holds_once_the_same_row_has_claimed_again(
    database: TestDatabase, ledger: Ledger
) -> None:
    """Run 2 saw run 1's row unsent, and decided to submit; meanwhile run 1 submits it after all."""
    (first, *_), (second, *_) = plan(ledger, "1"), plan(ledger, "2")
    database.take(ONE, [Claim.of(first)])
    database.take(ONE, [NotSent(first.swap_id, "service_busy", "Busy.")])
    seen = key_of(database, second)
    assert seen is not None
    assert database.take(ONE, [Claim.of(first, seen.claims)]) == [True]
    assert database.take(TWO, [Claim.of(second, seen.claims)]) == [False]


def test_of_two_who_have_seen_the_same_claim_one_is_granted_the_next(
    database: TestDatabase, ledger: Ledger
) -> None:
    (first, *_), (second, *_), (third, *_) = plan(ledger, "1"), plan(ledger, "2"), plan(ledger, "3")
    database.take(ONE, [Claim.of(first)])
    database.take(ONE, [NotSent(first.swap_id, "service_busy", "Busy.")])
    assert database.take(TWO, [Claim.of(second, claims_seen=1)]) == [True]
    assert database.take(THREE, [Claim.of(third, claims_seen=1)]) == [False]


@pytest.mark.parametrize("fate", ["cut_before", "cut_after"])
def test_a_claim_whose_commit_was_cut_keeps_its_key(
    database: TestDatabase, ledger: Ledger, fate: str
) -> None:
    (first, *_), (second, *_) = plan(ledger, "1"), plan(ledger, "2")
    assert database.take(ONE, [Claim.of(first)], fate) == [True]  # type: ignore[arg-type]
    assert database.take(TWO, [Claim.of(second)]) == [False]
    key = key_of(database, first)
    assert key is not None
    assert key.swap_id == first.swap_id
    # One who saw the first of the two commits is refused: it saw the pair before it was in flight.
    assert database.take(TWO, [Claim.of(second, claims_seen=0)]) == [False]


def test_the_result_of_a_post_is_recorded_beside_a_refused_claim(
    database: TestDatabase, ledger: Ledger
) -> None:
    first, second = plan(ledger, "1"), plan(ledger, "2")
    database.take(ONE, [Claim.of(first[0])])
    database.take(TWO, [Claim.of(second[1])])
    done = database.take(ONE, [Accepted(first[0].swap_id, "job"), Claim.of(first[1])])
    assert done == [True, False]
    assert status(ledger, first[0]) is Status.SUBMITTED


def test_of_many_runs_at_the_same_moment_each_pair_is_granted_once(
    make_database: MakeDatabase, ledger: Ledger
) -> None:
    runs = [plan(ledger, str(number)) for number in range(6)]
    start, granted = threading.Barrier(len(runs)), []

    def claim(number: int) -> None:
        database = make_database()
        _ = database.engine
        start.wait()
        # In an order of its own, in which the runs would wait for each other for ever.
        rows = runs[number] if number % 2 else runs[number][::-1]
        took = database.take(ClaimOwner(f"run {number}", "account"), [Claim.of(swap) for swap in rows])
        granted.append({swap.pair_id: taken for swap, taken in zip(rows, took, strict=True)})

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(len(runs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(granted) == len(runs)
    assert {pair: sum(each[pair] for each in granted) for pair in granted[0]} == dict.fromkeys(granted[0], 1)
