# SPDX-License-Identifier: Apache-2.0
"""The results table and Airflow's task state store behave the same: each test runs on both."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from airflow_provider_goenhance.results.database import ResultsDatabase
from airflow_provider_goenhance.results.ledger import Ledger, Outcome, RunKey
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.stores import SwapStore, TableStore
from airflow_provider_goenhance.results.swap import Swap
from airflow_provider_goenhance.results.task_state import MemoryStateStore, TaskStateStore
from airflow_provider_goenhance.results.transitions import (
    Accepted,
    Claim,
    ClaimOwner,
    Declined,
    NotSent,
    OutcomeUnknown,
    Transition,
)
from tests.swaps import planned

KEY = RunKey("dag", "run")
TASK_KEY = "swap[None] "
OWNERS = [ClaimOwner(f"{TASK_KEY}try {number}", "account", number) for number in range(3)]
ROW = planned(0)


def table_in(folder: Path) -> TableStore:
    ledger = Ledger(ResultsDatabase(f"sqlite:///{folder / 'results.db'}", name="the test's database"))
    ledger.plan(KEY, [ROW])
    return TableStore(ledger, lambda: ledger.of_run(KEY))


@pytest.fixture(params=["results table", "task state"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SwapStore]:
    if request.param == "task state":
        yield TaskStateStore(MemoryStateStore(), ROW)
        return
    table = table_in(tmp_path)
    yield table
    table.ledger.database.close()


def take(store: SwapStore, owner: ClaimOwner, *steps: Transition) -> list[bool]:
    with store.writer(owner) as writer:
        (taken,) = writer.write_all([steps]).result()
    assert isinstance(taken, list)
    return taken


def row(store: SwapStore) -> Swap:
    (only,) = store.load()
    return only


def test_a_claim_is_granted_to_one_owner(store: SwapStore) -> None:
    assert take(store, OWNERS[0], Claim.of(ROW)) == [True]
    assert take(store, OWNERS[1], Claim.of(ROW)) == [False]
    assert row(store).claimed_by == OWNERS[0].name


def test_a_submit_that_an_ended_attempt_left_becomes_unknown(store: SwapStore) -> None:
    take(store, OWNERS[0], Claim.of(ROW))
    assert store.mark_abandoned(OWNERS[1], TASK_KEY) == 1
    assert (row(store).status, row(store).error_code) == (Status.UNKNOWN, "submit_outcome_unknown")


def test_an_execution_does_not_abandon_its_own_submit_unless_it_is_killed(store: SwapStore) -> None:
    take(store, OWNERS[0], Claim.of(ROW))
    assert store.mark_abandoned(OWNERS[0], TASK_KEY) == 0
    assert store.mark_killed(OWNERS[1]) == 0
    assert store.mark_killed(OWNERS[0]) == 1
    assert row(store).status is Status.UNKNOWN


def test_a_late_answer_reaches_an_abandoned_row(store: SwapStore) -> None:
    take(store, OWNERS[0], Claim.of(ROW))
    store.mark_abandoned(OWNERS[1], TASK_KEY)
    assert take(store, OWNERS[0], Accepted(ROW.swap_id, "job")) == [True]
    assert (row(store).status, row(store).img_uuid) == (Status.SUBMITTED, "job")


def test_a_late_answer_on_a_row_that_was_sent_again_is_a_former_job(store: SwapStore) -> None:
    take(store, OWNERS[0], Claim.of(ROW))
    store.mark_abandoned(OWNERS[1], TASK_KEY)
    take(store, OWNERS[1], Claim.of(row(store)))
    assert take(store, OWNERS[0], Accepted(ROW.swap_id, "job-0")) == [False]
    assert take(store, OWNERS[1], Accepted(ROW.swap_id, "job-1")) == [True]
    assert (row(store).img_uuid, row(store).former_uuids, row(store).attempts) == ("job-1", "job-0", 2)


def test_a_message_is_cut_to_what_is_stored(store: SwapStore) -> None:
    take(store, OWNERS[0], Claim.of(ROW))
    take(store, OWNERS[0], Declined(ROW.swap_id, "bad_request", "x" * 5000 + "\x00"))
    assert row(store).error_message == "x" * 2000


def test_other_pictures_begin_a_new_row_that_still_knows_the_old_job() -> None:
    memory = MemoryStateStore()
    first = TaskStateStore(memory, ROW)
    take(first, OWNERS[0], Claim.of(ROW))
    take(first, OWNERS[0], Accepted(ROW.swap_id, "job"))
    second = TaskStateStore(memory, planned(1))
    assert (row(second).status, row(second).img_uuid, row(second).former_uuids) == (
        Status.PLANNED,
        None,
        "job",
    )


def _comparable(swap: Swap) -> dict[str, Any]:
    values = dataclasses.asdict(swap)
    for name in ("planned_at", "claimed_at", "claim_expires_at", "submitted_at", "finished_at"):
        values[name] = values[name] is not None and name != "planned_at"
    return values


_KINDS = st.sampled_from(
    ("claim", "accepted", "not_sent", "declined", "unknown", "abandoned", "killed", "kept", "failed", "late")
)
_MOVES = st.lists(st.tuples(st.integers(0, 2), _KINDS, st.integers(0, 2)), max_size=12)


def _do(store: SwapStore, number: int, kind: str, job: int) -> Any:
    owner, swap_id, seen = OWNERS[number], ROW.swap_id, row(store)
    steps: dict[str, Transition] = {
        "claim": Claim.of(seen),
        "accepted": Accepted(swap_id, f"job-{job}", job),
        "not_sent": NotSent(swap_id, "unreachable", "Refused."),
        "declined": Declined(swap_id, "bad_request", "Too large."),
        "unknown": OutcomeUnknown(swap_id, "submit_outcome_unknown", "Lost."),
    }
    if kind in steps:
        return take(store, owner, steps[kind])
    if kind == "abandoned":
        return store.mark_abandoned(owner, TASK_KEY)
    if kind == "killed":
        return store.mark_killed(owner)
    outcomes = {
        "kept": Outcome(
            swap_id,
            f"job-{job}",
            Status.SUCCEEDED,
            result_uri="file:///kept",
            additional_result_uris=("file:///second", "file:///third")[:job],
        ),
        "failed": Outcome(
            swap_id, f"job-{job}", Status.FAILED, error_code="job_failed", error_message="No face."
        ),
        "late": Outcome(
            swap_id, f"job-{job}", Status.FAILED, error_code="job_timed_out", error_message="Late."
        ),
    }
    return store.record_outcomes([outcomes[kind]])


def test_the_same_moves_in_any_order_leave_the_same_row_in_both() -> None:
    with tempfile.TemporaryDirectory() as folder:
        table = table_in(Path(folder))

        @settings(
            max_examples=60,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        )
        @given(moves=_MOVES)
        def same(moves: list[tuple[int, str, int]]) -> None:
            ledger = table.ledger
            ledger.database.run(lambda connection: connection.execute(ledger.swaps.delete()))
            ledger.plan(KEY, [ROW])
            state = TaskStateStore(MemoryStateStore(), ROW)
            for move in moves:
                assert _do(state, *move) == _do(table, *move), move
                assert _comparable(row(state)) == _comparable(row(table)), move

        same()
        table.ledger.database.close()
