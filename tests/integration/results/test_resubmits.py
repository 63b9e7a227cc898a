# SPDX-License-Identifier: Apache-2.0
"""A row that is to be sent once more forgets nothing that was paid for, and pays only if nobody else has."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_provider_goenhance.exceptions import GoEnhanceError
from airflow_provider_goenhance.execution import one_in_flight
from airflow_provider_goenhance.execution.messages import paid_for
from airflow_provider_goenhance.results.ledger import Ledger, RunKey
from airflow_provider_goenhance.results.pair_transitions import step_to
from airflow_provider_goenhance.results.resend_transitions import NotSentAgain
from airflow_provider_goenhance.results.resolution import NotBilled
from airflow_provider_goenhance.results.reuse import Decision, NextStep, holding
from airflow_provider_goenhance.results.settlement import settle
from airflow_provider_goenhance.results.spending import Amount, Caps, Spending, run_scope
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.transition_memory import apply_to
from airflow_provider_goenhance.results.transition_sql import apply
from airflow_provider_goenhance.results.transitions import Claim, ClaimOwner, OutcomeUnknown
from include.sandbox.process import SandboxProcess
from tests.integration.results.databases import Fate, TestDatabase
from tests.integration.results.one_run import OneRun
from tests.swaps import planned

MakeRun = Callable[..., OneRun]
LOST_AFTER_ACCEPTING = {"kind": "disconnect", "when": "after", "count": 1}


@pytest.fixture
def sandbox(goenhance_sandbox_shared: SandboxProcess) -> SandboxProcess:
    return goenhance_sandbox_shared


@pytest.fixture
def make_run(url: sa.URL, sandbox: SandboxProcess, tmp_path: Path) -> Iterator[MakeRun]:
    made: list[OneRun] = []

    def make(run_id: str, *, pairs: Sequence[int] = (1,), **options: Any) -> OneRun:
        run = OneRun(url, sandbox.port, sandbox.token, run_id, tmp_path / "kept", pairs=pairs, **options)
        made.append(run)
        return run

    yield make
    for run in made:
        run.close()


def clear(run: OneRun) -> None:
    """Make the next attempt one after a clear: its ``max_tries`` is higher than that of the rows' claims."""
    run.ledger.database.run(
        lambda connection: connection.execute(sa.update(run.ledger.swaps).values(max_tries=0))
    )


def test_an_unknown_submit_whose_resubmit_is_refused_stays_unknown_and_holds_tomorrows_run(
    make_run: MakeRun, sandbox: SandboxProcess
) -> None:
    sandbox.put_faults(submit=LOST_AFTER_ACCEPTING)
    monday = make_run("monday", on_unknown_submit="resubmit")
    (lost,) = monday.run()
    sandbox.put_faults(submit={"kind": "no_credits", "count": 1})
    with pytest.raises(GoEnhanceError, match="out of credits"):
        monday.attempt()
    (row,) = monday.rows()
    assert (row.status, row.attempts, row.error_code) == (Status.UNKNOWN, 1, lost.error_code)
    assert (row.claimed_at, row.finished_at) == (lost.claimed_at, lost.finished_at)
    assert str(row.error_message).startswith(str(lost.error_message))
    assert "was to be sent again" in str(row.error_message)
    assert [swap.status for swap in make_run("tuesday").run()] == [Status.HELD]
    assert len(sandbox.submissions()) == 1

    (row,) = monday.attempt()
    assert (row.status, row.attempts) == (Status.SUCCEEDED, 2)


def test_an_unknown_submit_whose_resubmit_is_declined_stays_unknown(
    make_run: MakeRun, sandbox: SandboxProcess
) -> None:
    sandbox.put_faults(submit=LOST_AFTER_ACCEPTING)
    monday = make_run("monday", on_unknown_submit="resubmit")
    monday.run()
    sandbox.put_faults(submit={"kind": "http_error", "status": 400, "count": 1})
    (row,) = monday.attempt()
    assert (row.status, row.attempts) == (Status.UNKNOWN, 1)
    assert [swap.status for swap in make_run("tuesday").run()] == [Status.HELD]
    assert len(sandbox.submissions()) == 1


def test_a_refused_resubmit_after_a_clear_keeps_the_picture_that_was_paid_for(
    make_run: MakeRun, sandbox: SandboxProcess
) -> None:
    monday = make_run("monday", on_clear="resubmit")
    (paid,) = monday.run()
    clear(monday)
    sandbox.put_faults(submit={"kind": "no_credits", "count": 1})
    with pytest.raises(
        GoEnhanceError, match=r"a clear submits the pair and pays for it again|A retry submits"
    ):
        monday.attempt()
    (row,) = monday.rows()
    assert (row.status, row.img_uuid, row.result_uri) == (Status.SUCCEEDED, paid.img_uuid, paid.result_uri)
    assert (row.attempts, row.cost, row.max_tries) == (1, paid.cost, 0)
    assert [swap.status for swap in make_run("tuesday").run()] == [Status.REUSED]
    assert len(sandbox.submissions()) == 1

    # The user's word still counts for the task that was cleared.
    (row,) = monday.attempt()
    assert (row.status, row.attempts) == (Status.SUCCEEDED, 2)
    assert len(sandbox.submissions()) == 2


def test_a_429_during_a_resubmit_sends_the_row_again_in_the_same_round(
    make_run: MakeRun, sandbox: SandboxProcess
) -> None:
    sandbox.put_faults(submit=LOST_AFTER_ACCEPTING)
    monday = make_run("monday", on_unknown_submit="resubmit")
    monday.run()
    sandbox.put_faults(submit={"kind": "rate_limited", "retry_after": 0, "count": 1})
    (row,) = monday.attempt()
    assert (row.status, row.attempts) == (Status.SUCCEEDED, 2)
    assert len(sandbox.submissions()) == 2


def test_an_unknown_submit_is_not_sent_again_if_another_run_has_the_picture_by_then(
    make_run: MakeRun, sandbox: SandboxProcess
) -> None:
    sandbox.put_faults(submit=LOST_AFTER_ACCEPTING)
    monday = make_run("monday", on_unknown_submit="resubmit")
    monday.run()
    make_run("tuesday", on_unknown_submit="resubmit").run()
    (row,) = monday.attempt()
    assert (row.status, row.attempts) == (Status.REUSED, 1)
    assert (
        paid_for(row) == "The picture of another run is reused. 1 submit of its own may have been paid for."
    )
    assert len(sandbox.submissions()) == 2
    assert [swap.status for swap in make_run("wednesday").run()] == [Status.REUSED]


def test_a_failed_job_is_not_paid_for_again_if_another_run_has_paid_by_then(
    make_run: MakeRun, sandbox: SandboxProcess
) -> None:
    sandbox.put_faults(job={"kind": "failed", "count": 1})
    (failed,) = make_run("monday").run()
    (other,) = make_run("tuesday", wait=False).run()
    (row,) = make_run("monday", failed_job_resubmits=1).attempt()
    assert (row.status, row.attempts, row.img_uuid) == (Status.SUCCEEDED, 1, other.img_uuid)
    assert row.former_uuids == failed.img_uuid
    assert paid_for(row).startswith(f"Job {other.img_uuid} was paid for by another run.")
    assert len(sandbox.submissions()) == 2


@pytest.mark.parametrize("fate", ["ok", "cut_before", "cut_after"])
def test_what_an_unknown_submit_has_reserved_stays_reserved_while_its_resubmit_is_refused(
    database: TestDatabase, fate: Fate
) -> None:
    key = RunKey("dag", "run")
    spending = Spending("account", key, Caps(max_pairs=10), price=5)
    owner = ClaimOwner("swap[0] try 1 a", "account", 1, spending=spending)
    ledger = Ledger(database)
    ledger.plan(key, [planned(0)], task_id="swap")
    (row,) = ledger.of_run(key)
    database.take(owner, [Claim.of(row)])
    database.take(owner, [OutcomeUnknown(row.swap_id, "submit_outcome_unknown", "Lost.")])
    (unknown,) = ledger.of_run(key)
    database.take(owner, [Claim.of(unknown)])
    assert used(database, key) == Amount(2, 10)

    assert database.take(owner, [NotSentAgain.of(unknown, "No credits.")], fate) == [True]
    assert used(database, key) == Amount(1, 5)
    (row,) = ledger.of_run(key)
    assert (row.status, row.attempts, row.reserved_cost) == (Status.UNKNOWN, 1, 5)

    said = NotBilled(row.swap_id, 1, row.claimed_at, "ann", dt.datetime.now(dt.UTC), "Not billed.")
    database.run(lambda connection: settle(connection, database.swaps, [said]))
    assert used(database, key) == Amount(0, 0)


def used(database: TestDatabase, key: RunKey) -> Amount:
    table = database.shared.budgets
    query = sa.select(table.c.pairs, table.c.cost).where(
        table.c.budget_id == run_scope(key.dag_id, key.run_id).budget_id
    )
    return Amount(**database.read(query)[0])


def test_the_same_holds_in_memory_where_there_is_no_results_table() -> None:
    owner, now = ClaimOwner("swap[0] try 1 a", "account", 1), dt.datetime.now(dt.UTC)
    row = planned(0, status=Status.UNKNOWN, attempts=1, account="account", error_message="Lost.")
    claimed = apply_to(row, Claim.of(row), owner, now)
    assert claimed is not None
    back = apply_to(claimed, NotSentAgain.of(row, "No credits."), owner, now)
    assert back is not None
    assert (back.status, back.attempts) == (Status.UNKNOWN, 1)
    assert back.error_message == "Lost. It was to be sent again, and was not: No credits."
    assert apply_to(back, NotSentAgain.of(row, "No credits."), owner, now) is None


def test_a_declined_resubmit_is_not_repeated_while_another_pair_is_in_flight(
    make_run: MakeRun, sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_in_flight, "IN_FLIGHT_SECONDS", 0.5)
    monkeypatch.setattr(one_in_flight, "LOOK_EVERY", 0.05)
    sandbox.put_faults(submit=LOST_AFTER_ACCEPTING)
    monday = make_run("monday", pairs=[1, 2], on_unknown_submit="resubmit")
    monday.plan()
    (_, second) = monday.rows()
    monday.ledger.take([step_to(second, holding(second, Decision(NextStep.WAIT_FOR_SUBMIT)))])
    other = make_run("another", pairs=[2])
    other.plan()
    owner = ClaimOwner("another", other.account.fingerprint, 1)
    other.ledger.database.run(
        lambda connection: apply(connection, other.ledger.swaps, owner, [Claim.of(*other.rows())])
    )
    monday.attempt()
    assert [row.status for row in monday.rows()] == [Status.UNKNOWN, Status.HELD]

    sandbox.put_faults(submit={"kind": "http_error", "status": 400})
    monday.attempt()
    assert [row.status for row in monday.rows()] == [Status.UNKNOWN, Status.HELD]
    (fault,) = sandbox.faults()["submit"]
    assert fault["fired"] == 1
