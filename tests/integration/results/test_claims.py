# SPDX-License-Identifier: Apache-2.0
"""A claim expires by the database's clock: a submit that was killed is settled then, and never before."""

from __future__ import annotations

import datetime as dt
import logging
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_provider_goenhance.api.account import Account
from airflow_provider_goenhance.execution.planning import settle_expired_claims
from airflow_provider_goenhance.execution.submit_round import longest_turn
from airflow_provider_goenhance.results.clock import WRITER_SECONDS, claim_seconds
from airflow_provider_goenhance.results.ledger import Ledger, RunKey
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.stores import TableStore
from airflow_provider_goenhance.results.swap import Swap
from airflow_provider_goenhance.results.transitions import Accepted, Claim, ClaimOwner
from tests.integration.results.databases import TestDatabase
from tests.swaps import planned

KEY = RunKey("dag", "run")
KILLED = ClaimOwner("swap[0] try 1 a", "account", 1, claim_seconds=600.0)
#: A moment for the statements of a test.
SOON = dt.timedelta(seconds=60)


@pytest.fixture
def ledger(database: TestDatabase) -> Ledger:
    ledger = Ledger(database)
    ledger.plan(KEY, [planned(number) for number in range(3)], task_id="swap")
    return ledger


def rows(ledger: Ledger) -> list[Swap]:
    return ledger.of_run(KEY)


def claim_first(database: TestDatabase, ledger: Ledger, owner: ClaimOwner = KILLED) -> None:
    database.take(owner, [Claim.of(rows(ledger)[0])])


def change(database: TestDatabase, **values: Any) -> None:
    """Change the claimed row, as the passing of time would."""
    table = database.swaps
    where = table.c.status == Status.SUBMITTING
    database.run(lambda connection: connection.execute(sa.update(table).where(where).values(**values)))


def test_the_expiry_is_stored_with_the_claim(database: TestDatabase, ledger: Ledger) -> None:
    before = ledger.now()
    claim_first(database, ledger)
    expires = rows(ledger)[0].claim_expires_at
    assert expires is not None
    slack = dt.timedelta(seconds=1)  # MariaDB drops fractions
    assert before - slack <= expires - dt.timedelta(seconds=600) <= ledger.now() + slack


def test_a_claim_is_not_settled_before_it_expires(database: TestDatabase, ledger: Ledger) -> None:
    claim_first(database, ledger)
    assert ledger.settle_expired_claims() == []
    assert rows(ledger)[0].status is Status.SUBMITTING


def test_the_worker_s_clock_plays_no_part(database: TestDatabase, ledger: Ledger) -> None:
    """The worker believed that it was last year: its claim is as good as any."""
    claim_first(database, ledger)
    change(database, claimed_at=ledger.now() - dt.timedelta(days=365))
    assert ledger.settle_expired_claims() == []
    store = TableStore(ledger, lambda: rows(ledger))
    assert store.mark_abandoned(ClaimOwner("other[1] try 1", "account", 1), "other[1] ") == 0
    assert rows(ledger)[0].status is Status.SUBMITTING


def test_a_claim_that_has_expired_is_settled_and_named(
    database: TestDatabase, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    claim_first(database, ledger)
    change(database, claim_expires_at=ledger.now() - SOON)
    with caplog.at_level(logging.WARNING):
        settle_expired_claims(ledger)
        settle_expired_claims(ledger)
    settled, *others = rows(ledger)
    assert (settled.status, settled.error_code) == (Status.UNKNOWN, "submit_outcome_unknown")
    assert {swap.status for swap in others} == {Status.PLANNED}
    assert caplog.text.count("1 submit was in progress when its execution was killed") == 1
    assert "pair 'p0' (row 1) of run run" in caplog.text


def test_a_late_answer_still_reaches_a_row_that_was_settled(database: TestDatabase, ledger: Ledger) -> None:
    claim_first(database, ledger)
    change(database, claim_expires_at=ledger.now() - SOON)
    ledger.settle_expired_claims()
    swap_id = rows(ledger)[0].swap_id
    assert database.take(KILLED, [Accepted(swap_id, "job-1")]) == [True]
    assert (rows(ledger)[0].status, rows(ledger)[0].img_uuid) == (Status.SUBMITTED, "job-1")


@pytest.mark.parametrize(("age", "left"), [(1700, 0), (1900, 1)])
def test_a_claim_of_release_0_1_0_has_its_fixed_time(
    database: TestDatabase, ledger: Ledger, age: int, left: int
) -> None:
    claim_first(database, ledger)
    claimed_at = ledger.now() - dt.timedelta(seconds=age)
    change(database, claim_expires_at=None, claimed_at=claimed_at)
    assert len(ledger.settle_expired_claims()) == left


def test_a_claim_outlasts_all_that_its_submit_may_take() -> None:
    account = Account(conn_id="c", token="a-token", request_timeout=300)
    seconds = claim_seconds(account.request_timeout, account.submit_attempts)
    assert seconds > account.submit_attempts * account.request_timeout + WRITER_SECONDS


def test_a_claim_outlasts_the_turns_of_a_slow_rate() -> None:
    account = Account(conn_id="c", token="a-token", requests_per_second=0.002, max_concurrency=10)
    turns = account.max_concurrency / account.requests_per_second
    seconds = claim_seconds(account.request_timeout, account.submit_attempts, longest_turn(account))
    assert seconds > turns + account.request_timeout + WRITER_SECONDS
    assert longest_turn(Account(conn_id="c", token="a-token")) == 0
