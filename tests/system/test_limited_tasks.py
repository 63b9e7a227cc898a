# SPDX-License-Identifier: Apache-2.0
"""Sixteen mapped tasks of a real Airflow send at once; the sandbox's own log says whether the account's limits held."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from include.sandbox.process import SandboxProcess
from tests.system.postgres import connection_of, postgres_database
from tests.system.real_airflow import RealAirflow, wait_until

TASKS = 16
PAIRS = TASKS * 60
AT_ONCE = 10
PER_SECOND = 20
#: Long enough that the limits on the rate and on concurrent requests are about equally tight.
LATENCY = 0.4


@pytest.fixture
def databases() -> Iterator[tuple[sa.Engine, sa.Engine]]:
    """Start a database for the results, and one for Airflow."""
    with postgres_database() as start:
        yield start(), start()


def most_at_once(log: list[dict[str, Any]]) -> int:
    """Return the most requests that the sandbox worked on at the same time."""
    events = sorted([(row["received_at"], 1) for row in log] + [(row["answered_at"], -1) for row in log])
    most = now = 0
    for _, change in events:
        now += change
        most = max(most, now)
    return most


def most_within(log: list[dict[str, Any]], seconds: float) -> int:
    """Return the most requests that the sandbox received in any interval of this length."""
    times = sorted(row["received_at"] for row in log)
    return max(bisect_left(times, time + seconds) - place for place, time in enumerate(times))


def test_sixteen_mapped_tasks_keep_to_the_limits_of_their_account(
    tmp_path: Path, databases: tuple[sa.Engine, sa.Engine], capsys: pytest.CaptureFixture[str]
) -> None:
    results, metadata = databases
    manifest = tmp_path / "manifest.csv"
    lines = ["pair_id,source_img,reference_img"]
    lines += [f"p{n},http://127.0.0.1:9/face{n}.jpg,http://127.0.0.1:9/scene{n}.jpg" for n in range(PAIRS)]
    manifest.write_text("\n".join(lines) + "\n")
    with (
        SandboxProcess(
            engine="none", job_seconds=1.0, state_dir=tmp_path / "sandbox", credits=10**6
        ) as sandbox,
        RealAirflow(
            tmp_path / "airflow",
            Path(__file__).parent / "dags",
            {
                "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": metadata.url.render_as_string(hide_password=False),
                "AIRFLOW__CORE__PARALLELISM": str(TASKS),
                # Sixteen tasks that start at once on two cores are slow, and not dead.
                "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "300",
                "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "300",
                "AIRFLOW__GOENHANCE__STORAGE": str(tmp_path / "swaps"),
                "AIRFLOW_VAR_GOENHANCE_MANIFEST": str(manifest),
                "AIRFLOW_CONN_GOENHANCE_RESULTS": connection_of(results.url),
                "AIRFLOW_CONN_GOENHANCE_DEFAULT": json.dumps(
                    {
                        "conn_type": "goenhance",
                        "host": sandbox.url,
                        "password": sandbox.token,
                        "extra": {"max_concurrency": AT_ONCE, "requests_per_second": PER_SECOND},
                    }
                ),
            },
        ) as airflow,
    ):
        sandbox.put_faults(latency=LATENCY)
        wait_until(lambda: airflow.api.dag("limited_swaps") is not None, seconds=120, what="the Dag")
        airflow.api.trigger("limited_swaps", "limited", {})
        wait_until(
            lambda: airflow.api.run_state("limited_swaps", "limited") not in {"queued", "running"},
            seconds=900,
            what="the end of the run",
        )
        state = airflow.api.run_state("limited_swaps", "limited")
        log = sandbox.traffic()
        accepted = len(sandbox.submissions())

    times = sorted(float(row["received_at"] or 0) for row in log)
    with capsys.disabled():
        print(
            f"\nlimits {AT_ONCE} at once and {PER_SECOND} per second: tasks={TASKS} requests={len(log)} "
            f"accepted={accepted} at once={most_at_once(log)} in 10 s={most_within(log, 10)} "
            f"in 1 s={most_within(log, 1)} per second={len(log) / (times[-1] - times[0]):.1f}"
        )
    assert state == "success"
    assert accepted == PAIRS
    assert most_at_once(log) <= AT_ONCE
    assert most_within(log, 10) <= PER_SECOND * 10
    assert most_within(log, 1) <= PER_SECOND * 1.1 + 1
