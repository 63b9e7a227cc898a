# SPDX-License-Identifier: Apache-2.0
"""No value from outside costs a paid job's UUID, and none makes a row unreadable."""

from __future__ import annotations

import datetime as dt

import pytest
import sqlalchemy as sa

from airflow_provider_goenhance.results.database import ResultsDatabase
from airflow_provider_goenhance.results.group_commit import GroupCommit
from airflow_provider_goenhance.results.ledger import Ledger, Outcome, RunKey
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.transitions import Accepted, Claim, ClaimOwner, Declined
from tests.integration.results.databases import TestDatabase
from tests.swaps import planned

KEY = RunKey("dag", "run")
OWNER = ClaimOwner("swap[0] try 1 a", "account", 1)


@pytest.fixture
def ledger(database: TestDatabase) -> Ledger:
    ledger = Ledger(database)
    ledger.plan(KEY, [planned(number) for number in range(2)], task_id="swap")
    return ledger


@pytest.mark.parametrize("cost", [3_000_000_000, -(10**30), 2**31])
def test_a_cost_of_any_size_leaves_the_uuid_on_the_row(
    database: TestDatabase, ledger: Ledger, cost: int
) -> None:
    swap = ledger.of_run(KEY)[0]
    database.take(OWNER, [Claim.of(swap)])
    assert database.take(OWNER, [Accepted(swap.swap_id, "job-1", cost)]) == [True]
    now = ledger.of_run(KEY)[0]
    assert (now.status, now.img_uuid) == (Status.SUBMITTED, "job-1")


def test_a_text_of_any_size_and_kind_leaves_the_state_on_the_row(
    database: TestDatabase, ledger: Ledger
) -> None:
    swap = ledger.of_run(KEY)[0]
    database.take(OWNER, [Claim.of(swap)])
    step = Declined(swap.swap_id, "c" * 500, "\x00\udc80" * 10_000)
    assert database.take(OWNER, [step]) == [True]
    assert (ledger.of_run(KEY)[0].status, ledger.of_run(KEY)[0].error_code) == (Status.FAILED, "c" * 64)


def test_what_the_database_refuses_beside_a_uuid_is_left_out(database: TestDatabase, ledger: Ledger) -> None:
    """A trigger stands for every reason that nobody thought of."""
    swap, other = ledger.of_run(KEY)
    _refuse_any_cost(database)
    with GroupCommit(database, OWNER) as writer:
        claims = writer.write_all([[Claim.of(swap)], [Claim.of(other)]])
        assert claims.result() == [[True], [True]]
        jobs = writer.write_all([[Accepted(swap.swap_id, "job-1", 7)], [Accepted(other.swap_id, "job-2")]])
        assert jobs.result() == [[True], [True]]
    found = [(row.status, row.img_uuid, row.cost) for row in ledger.of_run(KEY)]
    assert found == [(Status.SUBMITTED, "job-1", None), (Status.SUBMITTED, "job-2", None)]


def _refuse_any_cost(database: TestDatabase) -> None:
    kind = database.url.get_backend_name()
    constraint = "ALTER TABLE goenhance_swaps ADD CONSTRAINT no_cost CHECK (cost IS NULL)"
    trigger = (
        "CREATE TRIGGER no_cost BEFORE UPDATE ON goenhance_swaps WHEN NEW.cost IS NOT NULL "
        "BEGIN SELECT RAISE(ABORT, 'no cost'); END"
    )
    database.run(lambda connection: connection.exec_driver_sql(trigger if kind == "sqlite" else constraint))


@pytest.mark.parametrize("year", [1, 9999])
def test_a_time_that_cannot_be_real_is_replaced_by_now(
    database: TestDatabase, ledger: Ledger, year: int
) -> None:
    swap = ledger.of_run(KEY)[0]
    database.take(OWNER, [Claim.of(swap), Accepted(swap.swap_id, "job-1")])
    database.take(OWNER, [Accepted(swap.swap_id, "job-1")])
    end = dt.datetime(year, 1, 1, tzinfo=dt.UTC)
    ledger.record_outcomes(
        [Outcome(swap.swap_id, "job-1", Status.SUCCEEDED, result_uri="file:///x", finished_at=end)]
    )
    now = ledger.of_run(KEY)[0]
    assert now.status is Status.SUCCEEDED
    assert now.finished_at is not None
    assert abs(now.finished_at - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=5)


def test_a_row_that_was_poisoned_before_is_read_on_a_server_west_of_utc(postgres_url: sa.URL) -> None:
    _west(postgres_url)
    database = ResultsDatabase(postgres_url, name="a server west of UTC")
    ledger = Ledger(database)
    ledger.plan(KEY, [planned(0)], task_id="swap")
    poison = sa.text("UPDATE goenhance_swaps SET finished_at = '0001-01-01 00:00:00+00'")
    database.run(lambda connection: connection.execute(poison))
    try:
        (row,) = ledger.of_run(KEY)
        assert row.finished_at == dt.datetime(1, 1, 1, tzinfo=dt.UTC)
        zone = sa.text("SELECT current_setting('TimeZone')")
        assert database.run_read(lambda connection: connection.execute(zone).scalar_one()) == "UTC"
    finally:
        database.close()


def _west(url: sa.URL) -> None:
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"ALTER DATABASE {url.database} SET timezone TO 'America/Los_Angeles'")
    engine.dispose()
