# SPDX-License-Identifier: Apache-2.0
"""The balances of an account, and the rows between two of them, on SQLite and on Postgres."""

from __future__ import annotations

import datetime as dt

import pytest

from airflow_provider_goenhance.execution.reconcile import compare_run, settle_by_credits, settle_earlier_runs
from airflow_provider_goenhance.execution.settle import ResolutionError
from airflow_provider_goenhance.results.balances import Balances, Charges
from airflow_provider_goenhance.results.ledger import Ledger, Outcome, RunKey
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.transitions import Accepted, Claim, ClaimOwner, OutcomeUnknown
from tests.integration.results.databases import TestDatabase
from tests.swaps import planned

KEY = RunKey("dag", "run")
OWNER = ClaimOwner("swap[0] try 1 a", "account", 1)


@pytest.fixture
def balances(database: TestDatabase) -> Balances:
    return Balances(database, "account")


def submit(
    database: TestDatabase, *, run_id: str = "run", first: int = 0, done: int = 0, unknown: int = 0
) -> None:
    """Add rows to a run: some that end with a picture, and some whose submit has an unknown outcome."""
    ledger = Ledger(database)
    rows = [planned(number, run_id=run_id) for number in range(first, first + done + unknown)]
    ledger.plan(RunKey("dag", run_id), rows, task_id=None)
    database.take(OWNER, [Claim.of(row) for row in rows])
    jobs, lost = rows[:done], rows[done:]
    database.take(OWNER, [Accepted(row.swap_id, f"job-{row.swap_id}") for row in jobs])
    database.take(OWNER, [OutcomeUnknown(row.swap_id, "submit_outcome_unknown", "Lost.") for row in lost])
    ledger.record_outcomes(
        [
            Outcome(row.swap_id, f"job-{row.swap_id}", Status.SUCCEEDED, result_uri=f"file:///{row.pair_id}")
            for row in jobs
        ]
    )


def test_balances_are_stored_with_their_run_and_moment(balances: Balances) -> None:
    balances.record(KEY, "plan", 100)
    balances.record(RunKey("dag", "other"), "plan", 90)
    balances.record(None, "reconcile", 80)

    # MariaDB keeps whole seconds: within one, there is no order.
    assert {reading.balance for reading in balances.readings()} == {100, 90, 80}
    assert [reading.balance for reading in balances.readings(key=KEY, moment="plan")] == [100]
    assert balances.readings(key=KEY, moment="report") == []


@pytest.mark.parametrize("fate", ["cut_before", "cut_after"])
def test_a_balance_whose_commit_was_cut_is_stored_once(
    database: TestDatabase, balances: Balances, fate: str
) -> None:
    _ = database.engine
    database.fate = fate  # type: ignore[assignment]
    balances.record(KEY, "plan", 100)
    assert len(balances.readings()) == 1


def test_the_balance_of_another_account_is_not_read(database: TestDatabase, balances: Balances) -> None:
    Balances(database, "another").record(KEY, "plan", 1)
    assert balances.readings() == []


def test_rows_that_are_alike_are_counted_by_what_they_may_have_cost(
    database: TestDatabase, balances: Balances
) -> None:
    since = balances.record(KEY, "plan", 100).read_at.replace(microsecond=0)
    submit(database, done=3, unknown=2)
    submit(database, run_id="other", first=10, done=1)
    until = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1)

    found = balances.charges(KEY, since, until, 60)
    assert {(group.own, group.status, group.rows) for group in found} == {
        (True, Status.SUCCEEDED, 3),
        (True, Status.UNKNOWN, 2),
        (False, Status.SUCCEEDED, 1),
    }
    done = next(group for group in found if group.own and group.status is Status.SUCCEEDED)
    assert done == Charges(True, False, True, Status.SUCCEEDED, True, None, None, 1, 3)
    assert balances.charges(KEY, until, until, 0) == []
    assert balances.runs_with_unknown() == [KEY]


def test_jobs_in_flight_are_those_that_may_still_run(database: TestDatabase, balances: Balances) -> None:
    rows = [planned(number) for number in range(2)]
    Ledger(database).plan(KEY, rows, task_id="swap")
    database.take(OWNER, [Claim.of(row) for row in rows])
    assert balances.in_flight(60) == 2
    database.take(OWNER, [Accepted(row.swap_id, f"job-{row.swap_id}") for row in rows])
    assert balances.in_flight(60) == 2
    assert balances.in_flight(-60) == 0


def test_the_first_balance_after_a_quiet_hour_settles_the_night_before(
    database: TestDatabase, balances: Balances
) -> None:
    balances.record(KEY, "plan", 100)
    submit(database, done=6, unknown=2)
    ledger = Ledger(database)
    now = balances.record(KEY, "report", 94)

    comparison = compare_run(ledger, "account", KEY, now, named_price=1)
    assert comparison is not None
    assert (comparison.finding.low, comparison.finding.high) == (0, 0)
    with pytest.raises(ResolutionError, match="a job may run, and be charged for, until"):
        settle_by_credits(ledger, "account", comparison)
    assert settle_earlier_runs(ledger, "account", now, named_price=1) == []

    settled = settle_earlier_runs(ledger, "account", now, job_seconds=0, named_price=1)
    assert [(row.status, row.resolution, row.resolved_by) for row in settled] == [
        (Status.PLANNED, "not_billed", "credits")
    ] * 2
    assert balances.runs_with_unknown() == []


def test_a_row_that_is_being_submitted_anywhere_in_the_account_keeps_credits_from_settling(
    database: TestDatabase, balances: Balances
) -> None:
    balances.record(KEY, "plan", 100)
    submit(database, done=6, unknown=2)
    other = planned(20, run_id="other")
    ledger = Ledger(database)
    ledger.plan(RunKey("dag", "other"), [other], task_id="swap")
    now = balances.record(KEY, "report", 94)
    database.take(OWNER, [Claim.of(other)])

    comparison = compare_run(ledger, "account", KEY, now, job_seconds=0, named_price=1)
    assert comparison is not None
    with pytest.raises(ResolutionError, match="1 swap of the account has not ended"):
        settle_by_credits(ledger, "account", comparison)
