# SPDX-License-Identifier: Apache-2.0
"""The trigger against a vendor in another process."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from airflow.triggers.base import TriggerEvent

from airflow_provider_goenhance.api import polling
from airflow_provider_goenhance.triggers.face_swap import GoEnhanceJobsTrigger
from tests.integration.operators.udp_statsd import UdpStatsd
from tests.unit.clock import until

if TYPE_CHECKING:
    from include.sandbox.process import SandboxProcess

PAIR = ("https://example.com/face.jpg", "https://example.com/scene.jpg")


@pytest.fixture
def sandbox(goenhance_sandbox_shared: SandboxProcess, monkeypatch: pytest.MonkeyPatch) -> SandboxProcess:
    """Return the session's sandbox, which the connection ``goenhance_test`` leads to."""
    connect(monkeypatch, goenhance_sandbox_shared, goenhance_sandbox_shared.token)
    return goenhance_sandbox_shared


def connect(monkeypatch: pytest.MonkeyPatch, sandbox: SandboxProcess, token: str) -> None:
    fields = {"conn_type": "goenhance", "password": token, "host": sandbox.url}
    monkeypatch.setenv("AIRFLOW_CONN_GOENHANCE_TEST", json.dumps(fields))


def trigger(
    img_uuids: list[str], *, seconds: float = 120.0, poll_interval: float = 0.1
) -> GoEnhanceJobsTrigger:
    return GoEnhanceJobsTrigger("goenhance_test", img_uuids, time.time() + seconds, poll_interval)


async def events_of(running: GoEnhanceJobsTrigger) -> list[TriggerEvent]:
    return [event async for event in running.run()]


def submit(sandbox: SandboxProcess, count: int) -> list[str]:
    return [sandbox.submit(*PAIR) for _ in range(count)]


async def test_jobs_that_succeed_and_jobs_that_fail_are_reported_in_one_event(
    sandbox: SandboxProcess,
) -> None:
    good = submit(sandbox, 5)
    sandbox.put_faults(job={"kind": "failed", "error": "no face", "count": 1})
    bad = submit(sandbox, 1)
    events = await events_of(trigger(good + bad))
    assert [event.payload for event in events] == [
        {
            "status": "finished",
            "jobs": 6,
            "listed": "running",
            "failed": {bad[0]: "no face"},
            "declined": {},
            "running": [],
            "ended": [],
            "doubted": {},
            "doubted_since": {},
            "last_error": None,
            "carried": None,
        }
    ]


@pytest.mark.parametrize("body", ["error", "msg", "code", "bare"])
async def test_a_failed_job_is_seen_whatever_form_the_vendor_gives_it(
    sandbox: SandboxProcess, body: str
) -> None:
    sandbox.put_faults(failed_body=body, job={"kind": "failed", "error": "no face", "count": 1})
    bad = submit(sandbox, 1)
    events = await events_of(trigger(bad))
    assert events[0].payload["failed"] == {bad[0]: "" if body == "bare" else "no face"}


@pytest.mark.parametrize(
    "switches",
    [
        {"success_word": "completed", "status_case": "upper"},
        {"unknown_status": "reviewing"},
        {"queue_limit": 1, "waiting_word": "WAITING"},
    ],
)
async def test_the_vendors_words_are_understood(sandbox: SandboxProcess, switches: dict[str, Any]) -> None:
    sandbox.put_faults(**switches)
    events = await events_of(trigger(submit(sandbox, 4)))
    payload = events[0].payload
    assert (payload["failed"], payload["declined"], payload["running"]) == ({}, {}, [])


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "http_error", "count": 3},
        {"kind": "html", "status": 502, "count": 3},
        {"kind": "bad_json", "count": 3},
        {"kind": "disconnect", "when": "after", "reset": True, "count": 3},
        {"kind": "rate_limited", "retry_after": 1, "count": 1},
    ],
)
async def test_a_run_of_faults_is_waited_out(sandbox: SandboxProcess, fault: dict[str, Any]) -> None:
    img_uuids = submit(sandbox, 3)
    sandbox.put_faults(detail=fault)
    events = await events_of(trigger(img_uuids))
    payload = events[0].payload
    assert (payload["status"], payload["failed"], payload["declined"], payload["running"]) == (
        "finished",
        {},
        {},
        [],
    )


async def test_a_refused_token_ends_the_wait_at_once(
    sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    img_uuids = submit(sandbox, 3)
    connect(monkeypatch, sandbox, "sk-another-token")
    began = time.monotonic()
    events = await events_of(trigger(img_uuids))
    assert time.monotonic() - began < 60.0
    assert [event.payload["status"] for event in events] == ["token_refused"]
    assert "goenhance_test" in events[0].payload["message"]
    assert "sk-another-token" not in f"{events} {caplog.text}"


async def test_a_job_that_the_vendor_does_not_know_is_given_up_without_touching_the_others(
    sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Five answers that say "job not found" are enough here: the five minutes are in the unit tests of the wait.
    monkeypatch.setattr(polling, "NOT_FOUND_SECONDS", 0.0)
    good = submit(sandbox, 1)
    lost = "00000000-0000-4000-8000-000000000000"
    events = await events_of(trigger([lost, *good], poll_interval=0.05))
    assert list(events[0].payload["declined"]) == [lost]
    assert events[0].payload["running"] == []


async def test_a_restarted_triggerer_goes_on_waiting_submits_nothing_and_keeps_the_deadline(
    sandbox: SandboxProcess,
) -> None:
    # A stranger's job holds the only place, so none of ours ends before the restart, however long that takes.
    sandbox.put_faults(
        job={"kind": "stuck", "count": 1}, queue_limit=1, detail={"kind": "slow", "seconds": 0}
    )
    stranger, *img_uuids = submit(sandbox, 5)
    first = trigger(img_uuids)
    running = asyncio.create_task(events_of(first))
    await until(lambda: sandbox.faults()["detail"][0]["fired"] > len(img_uuids) or running.done())
    assert not running.done()
    running.cancel()  # as a triggerer does with its triggers when it shuts down
    with pytest.raises(asyncio.CancelledError):
        await running
    _, kwargs = first.serialize()
    second = GoEnhanceJobsTrigger(**json.loads(json.dumps(kwargs)))
    assert second.deadline == first.deadline
    sandbox.put_faults(queue_limit=None)
    events = await events_of(second)
    assert (len(events), events[0].payload["running"]) == (1, [])
    assert [accepted["img_uuid"] for accepted in sandbox.submissions()] == [stranger, *img_uuids]


async def test_a_trigger_restarted_after_its_deadline_still_sees_what_finished_meanwhile(
    sandbox: SandboxProcess,
) -> None:
    sandbox.put_faults(job_seconds=0.0)
    done = submit(sandbox, 3)
    for img_uuid in done:
        sandbox.wait_for(img_uuid)
    sandbox.put_faults(job={"kind": "stuck"})
    stuck = submit(sandbox, 1)
    events = await events_of(trigger(done + stuck, seconds=-3600.0))
    assert events[0].payload["running"] == stuck
    assert events[0].payload["failed"] == {}


async def test_an_event_of_finished_jobs_carries_no_link(
    sandbox: SandboxProcess, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    events = await events_of(trigger(submit(sandbox, 2)))
    assert "q-sign" not in f"{events} {caplog.text}"
    assert "/results/" not in f"{events} {caplog.text}"


async def test_other_triggers_go_on_while_an_answer_is_waited_for(sandbox: SandboxProcess) -> None:
    img_uuids = submit(sandbox, 1)
    await events_of(trigger(img_uuids, seconds=-1))  # what is imported once, is imported now
    process, another_went_on = psutil.Process(sandbox.pid), threading.Event()

    def answer_then() -> None:
        another_went_on.wait(30)
        process.resume()

    # In a thread, for a call that blocks the event loop would keep everything in it from ending the stillness.
    answering = threading.Thread(target=answer_then)
    process.suspend()
    answering.start()
    try:
        running = asyncio.create_task(events_of(trigger(img_uuids)))
        await until(lambda: is_connected(sandbox.port))
        for _ in range(5):
            await asyncio.sleep(0.05)
        went_on_meanwhile = process.status() == psutil.STATUS_STOPPED
    finally:
        another_went_on.set()
        answering.join()
    assert went_on_meanwhile
    assert (await running)[0].payload["running"] == []


def is_connected(port: int) -> bool:
    connections = psutil.Process().net_connections("tcp")
    return any(
        one.status == psutil.CONN_ESTABLISHED and one.raddr and one.raddr.port == port for one in connections
    )


async def test_a_triggerer_that_collects_metrics_shows_how_many_jobs_wait(
    sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("statsd", reason="the StatsD client is not installed")
    stats = pytest.importorskip("airflow.observability.stats", reason="before Airflow 3.2 it sets up itself")
    from airflow.observability.metrics.stats_utils import get_stats_factory

    with UdpStatsd() as statsd:
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "True")
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_HOST", "127.0.0.1")
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_PORT", str(statsd.port))
        # As a triggerer does when it starts.
        stats.initialize(factory=get_stats_factory(), export_legacy_names=False)
        try:
            await events_of(trigger(submit(sandbox, 3)))
            shown = statsd.of("goenhance.jobs.waiting", kind="g", until=2)
        finally:
            monkeypatch.undo()
            stats.initialize(factory=get_stats_factory(), export_legacy_names=False)

    # Plain StatsD: the name of the machine follows the metric's.
    [values] = shown.values()
    assert (values[0], values[-1]) == (3.0, 0.0)
