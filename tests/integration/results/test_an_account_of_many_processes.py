# SPDX-License-Identifier: Apache-2.0
"""Many processes send through one account at once; the sandbox's own log says whether its limits held."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_provider_goenhance.execution.limits import slots_for
from airflow_provider_goenhance.results.leases import VALID_SECONDS
from airflow_provider_goenhance.results.ledger import Ledger, RunKey
from airflow_provider_goenhance.results.states import Status
from include.sandbox.process import SandboxProcess
from tests.integration.results.databases import TestDatabase

SCRIPT = Path(__file__).with_name("limited_submitter.py")
ROWS = 12


class Tasks:
    """Processes that submit rows of their own through one account."""

    def __init__(self, database: TestDatabase, sandbox: SandboxProcess, **limits: Any) -> None:
        self._fields = {
            "url": database.url.render_as_string(hide_password=False),
            "sandbox": sandbox.url,
            "token": sandbox.token,
            "rows": ROWS,
            **limits,
        }
        self.running: list[subprocess.Popen[str]] = []

    def prepare(self, number: int, *, run: str = "run") -> subprocess.Popen[str]:
        """Start a process that waits until it is told to begin."""
        fields = json.dumps({**self._fields, "task": number, "run": run})
        process = subprocess.Popen(
            [sys.executable, SCRIPT, fields], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    @staticmethod
    def begin(process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        print(file=process.stdin, flush=True)

    def end(self) -> None:
        for process in self.running:
            process.kill()
            process.communicate()


@pytest.fixture
def tasks(database: TestDatabase, goenhance_sandbox_shared: SandboxProcess) -> Iterator[Tasks]:
    started = Tasks(
        database, goenhance_sandbox_shared, max_concurrency=4, requests_per_second=0, request_timeout=5
    )
    yield started
    started.end()


def most_at_once(log: list[dict[str, Any]]) -> int:
    events = sorted([(row["received_at"], 1) for row in log] + [(row["answered_at"], -1) for row in log])
    sums = [sum(change for _, change in events[: place + 1]) for place in range(len(events))]
    return max(sums)


def wait_for(condition: Any, seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_the_tasks_of_two_runs_together_never_exceed_the_limit(
    database: TestDatabase, goenhance_sandbox_shared: SandboxProcess, tasks: Tasks
) -> None:
    _ = database.engine
    goenhance_sandbox_shared.put_faults(latency=0.03)
    processes = [tasks.prepare(number, run=f"run{number % 2}") for number in range(6)]
    for process in processes:
        tasks.begin(process)
    for process in processes:
        assert f"submitted {ROWS} stopped_by None" in process.communicate(timeout=120)[0]
    assert 1 <= most_at_once(goenhance_sandbox_shared.traffic()) <= 4
    assert len(goenhance_sandbox_shared.submissions()) == 6 * ROWS
    assert database.read(sa.select(database.shared.leases)) == []


def test_a_killed_task_blocks_its_share_only_until_its_lease_expires(
    database: TestDatabase, goenhance_sandbox_shared: SandboxProcess, tasks: Tasks
) -> None:
    ledger = Ledger(database)
    _ = database.engine
    goenhance_sandbox_shared.put_faults(latency=1.0)
    killed = tasks.prepare(0)
    tasks.begin(killed)
    wait_for(lambda: len(goenhance_sandbox_shared.traffic()) >= 4)
    killed.kill()
    killed.communicate()
    goenhance_sandbox_shared.put_faults(latency=0.0)
    (lease,) = database.read(sa.select(database.shared.leases))
    assert lease["slots"] == 4
    # Seconds of the longest POST, and of the longest time between two renewals.
    assert (lease["expires_at"] - ledger.now()).total_seconds() <= 5 + VALID_SECONDS

    next_one = tasks.prepare(1)
    tasks.begin(next_one)
    wait_for(lambda: len(database.read(sa.select(database.shared.leases))) == 2)
    assert ledger.counts(RunKey("dag", "run"), task_id="swap1")[Status.PLANNED] == ROWS
    table = database.shared.leases
    expired = sa.update(table).where(table.c.owner == lease["owner"]).values(expires_at=ledger.now())
    database.run(lambda connection: connection.execute(expired))
    assert f"submitted {ROWS} stopped_by None" in next_one.communicate(timeout=120)[0]
    assert database.read(sa.select(database.shared.leases)) == []
    left = Counter(swap.status for swap in ledger.of_run(RunKey("dag", "run"), task_id="swap0"))
    assert left[Status.SUBMITTING] <= slots_for(4)
