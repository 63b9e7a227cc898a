# SPDX-License-Identifier: Apache-2.0
"""The trigger as Airflow stores, restores and runs it."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

import pytest
from airflow.models.trigger import Trigger
from airflow.triggers.base import BaseTrigger, TriggerEvent
from cryptography.fernet import Fernet

from airflow_provider_goenhance.api.wait_outcome import WaitOutcome
from airflow_provider_goenhance.execution.events import resumed_by
from airflow_provider_goenhance.execution.found_rows import FoundRows
from airflow_provider_goenhance.execution.wait_plan import WaitPlan
from airflow_provider_goenhance.results.waiting_jobs import RowsOf
from airflow_provider_goenhance.triggers.deferral import wait_in_triggerer
from airflow_provider_goenhance.triggers.face_swap import GoEnhanceJobsTrigger
from tests.airflow_versions import decode_trigger_kwargs, forget_fernet

DEADLINE = 1_795_000_000.25


def trigger(**changes: Any) -> GoEnhanceJobsTrigger:
    fields = {
        "goenhance_conn_id": "goenhance_test",
        "img_uuids": ["job-1", "job-2"],
        "deadline": DEADLINE,
        "poll_interval": 0.05,
    }
    return GoEnhanceJobsTrigger(**{**fields, **changes})


def stored_and_restored(before: BaseTrigger) -> GoEnhanceJobsTrigger:
    """Take a trigger the way through the metadata database, as the triggerer does."""
    path, kwargs = before.serialize()
    row = Trigger(path, kwargs)
    decrypted = Trigger._decrypt_kwargs(row.encrypted_kwargs)
    assert path == f"{type(before).__module__}.{type(before).__qualname__}"
    return GoEnhanceJobsTrigger(**{name: decode_trigger_kwargs(value) for name, value in decrypted.items()})


async def events_of(running: BaseTrigger) -> list[TriggerEvent]:
    return [event async for event in running.run()]


def test_a_trigger_comes_back_from_the_database_as_it_was() -> None:
    assert stored_and_restored(trigger()).serialize() == trigger().serialize()


def test_what_is_stored_of_a_trigger_is_ids_and_numbers_only() -> None:
    _, kwargs = trigger().serialize()
    assert json.loads(json.dumps(kwargs)) == {
        "goenhance_conn_id": "goenhance_test",
        "img_uuids": ["job-1", "job-2"],
        "deadline": DEADLINE,
        "poll_interval": 0.05,
    }


def jobs(count: int) -> list[str]:
    return [f"0190c2d4-7a51-7b3e-9d2f-{number:012d}" for number in range(count)]


def test_however_many_jobs_there_are_a_trigger_fits_into_64_kib(monkeypatch: pytest.MonkeyPatch) -> None:
    """MySQL's TEXT holds no more, and the deferral would fail after the swaps were paid for."""
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", Fernet.generate_key().decode())
    forget_fernet()
    try:
        plan = WaitPlan()
        for _ in range(100):
            plan.begin_round(3600.0)
        plan.doubts = dict.fromkeys(jobs(10000), (4, 1795000000.123456))
        rows = RowsOf(dag_id="d" * 250, run_id="r" * 250, task_id="t" * 250, batch=999)
        deferral = wait_in_triggerer(
            "c" * 200,
            jobs(10_000),
            deadline=DEADLINE,
            poll_interval=5.0,
            results_conn_id="r" * 200,
            rows=rows,
            plan=plan,
            carried=FoundRows(
                (DEADLINE, DEADLINE), {"succeeded": 10_000}, 9, "x" * 10_000, "link_expired"
            ).to_carry(),
        )
        row = Trigger(*deferral["trigger"].serialize())
    finally:
        forget_fernet()
    assert row.encrypted_kwargs.startswith("gAAAA")
    assert len(row.encrypted_kwargs) < 64 * 1024


def test_a_trigger_of_a_batch_does_not_grow_with_it() -> None:
    deferral = wait_in_triggerer(
        "goenhance_test",
        [],
        deadline=DEADLINE,
        poll_interval=5.0,
        results_conn_id="goenhance_results",
        rows=RowsOf(dag_id="dag", run_id="run", task_id="swap", batch=3),
        plan=WaitPlan(),
    )
    _, kwargs = deferral["trigger"].serialize()
    assert kwargs["rows"] == {"dag_id": "dag", "run_id": "run", "task_id": "swap", "batch": 3}
    assert stored_and_restored(deferral["trigger"]).serialize() == deferral["trigger"].serialize()
    assert len(json.dumps(kwargs)) < 600


def test_a_trigger_that_release_0_1_0_stored_still_runs() -> None:
    stored = {"goenhance_conn_id": "c", "img_uuids": ["job-1"], "deadline": DEADLINE, "poll_interval": 5.0}
    restored = GoEnhanceJobsTrigger(**stored)
    assert restored.serialize()[1] == stored
    assert (restored.rows, restored.hand_over_after) == (None, None)


@pytest.mark.parametrize("host", ["/no/such/folder/results.db", "{tmp}/results.db"])
async def test_a_results_table_that_is_not_there_is_an_event_of_its_own_and_no_file_is_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, host: str
) -> None:
    path = host.format(tmp=tmp_path)
    conn = {"conn_type": "sqlite", "host": path}
    monkeypatch.setenv("AIRFLOW_CONN_GOENHANCE_RESULTS", json.dumps(conn))
    rows = {"dag_id": "dag", "run_id": "run", "task_id": "swap", "batch": 0}
    waiting = trigger(
        img_uuids=[], results_conn_id="goenhance_results", rows=rows, carried={"until": DEADLINE}
    )
    (event,) = await events_of(waiting)
    assert event.payload["status"] == "results_unreadable"
    assert "connection 'goenhance_results'" in event.payload["message"]
    assert event.payload["carried"] == {"until": DEADLINE}
    assert not Path(path).exists()  # noqa: ASYNC240  a look at a local file


async def test_a_trigger_without_jobs_waits_until_its_deadline_and_asks_nobody() -> None:
    deadline = time.time() + 0.2
    (event,) = await events_of(trigger(img_uuids=[], deadline=deadline))
    assert time.time() >= deadline
    assert (event.payload["status"], event.payload["running"]) == ("finished", [])


@pytest.mark.parametrize(
    ("definition", "status", "said"),
    [
        (None, "error", "goenhance_test"),
        ({"conn_type": "goenhance"}, "token_refused", "has no API token"),
        (
            {"conn_type": "goenhance", "password": "sk-unit-test", "host": "ftp://x"},
            "error",
            "the host must be",
        ),
    ],
)
async def test_a_connection_that_cannot_be_used_is_one_event_and_never_an_exception(
    monkeypatch: pytest.MonkeyPatch, definition: dict[str, str] | None, status: str, said: str
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_GOENHANCE_TEST", raising=False)
    if definition is not None:
        monkeypatch.setenv("AIRFLOW_CONN_GOENHANCE_TEST", json.dumps(definition))
    events = await events_of(trigger())
    assert [event.payload["status"] for event in events] == [status]
    assert said in events[0].payload["message"]


async def test_a_vendor_that_cannot_be_reached_leaves_every_job_running_at_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_GOENHANCE_TEST",
        json.dumps(
            {
                "conn_type": "goenhance",
                "password": "sk-unit-test",
                "host": "http://127.0.0.1:9",
                "extra": {"get_attempts": 1},
            }
        ),
    )
    events = await events_of(trigger(deadline=time.time() + 0.2))
    outcome = resumed_by(events[0].payload).complete(["job-1", "job-2"], lambda uuids: WaitOutcome())
    assert (len(events), outcome.running, outcome.handed_over) == (1, ["job-1", "job-2"], False)
    assert "Could not reach GoEnhance" in str(outcome.last_error)


async def test_a_trigger_ended_by_a_person_says_that_the_jobs_go_on_and_bill(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    await trigger(img_uuids=[f"job-{n}" for n in range(30)]).on_kill()
    assert "30 jobs were running. They keep running, and billing, at GoEnhance: job-0, job-1" in caplog.text
    assert "job-19, ..." in caplog.text
    assert "job-20" not in caplog.text
