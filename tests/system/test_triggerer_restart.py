# SPDX-License-Identifier: Apache-2.0
"""The triggerer is killed while a batch waits: another one waits on, for the same jobs and to the same deadline."""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from include.sandbox.process import SandboxProcess
from tests.system.real_airflow import RealAirflow, wait_until

PAIRS = 50
PER_TASK = 25  # as the Dag has it
#: Long enough for the triggerer to be killed meanwhile, also on a slow machine.
JOB_SECONDS = 90.0


def write_manifest(path: Path) -> None:
    lines = ["pair_id,source_img,reference_img"]
    lines += [
        f"p{n},https://example.com/face.jpg?{n},https://example.com/scene.jpg?{n}" for n in range(PAIRS)
    ]
    path.write_text("\n".join(lines) + "\n")


def query(database: Path, text: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(text).fetchall()


def waits(airflow: RealAirflow) -> list[dict[str, Any]]:
    """Read what the metadata database holds of the triggers."""
    found = query(airflow.paths.metadata, "SELECT kwargs FROM trigger ORDER BY id")
    return [json.loads(kwargs) for (kwargs,) in found]


def test_a_killed_triggerer_moves_no_deadline_submits_nothing_and_loses_no_picture(tmp_path: Path) -> None:
    manifest, results = tmp_path / "manifest.csv", tmp_path / "results.db"
    write_manifest(manifest)
    with (
        SandboxProcess(engine="none", job_seconds=JOB_SECONDS) as sandbox,
        RealAirflow(
            tmp_path / "airflow",
            Path(__file__).parent / "dags",
            {
                "AIRFLOW__GOENHANCE__STORAGE": str(tmp_path / "swaps"),
                "AIRFLOW_VAR_GOENHANCE_MANIFEST": str(manifest),
                "AIRFLOW_CONN_GOENHANCE_RESULTS": json.dumps({"conn_type": "sqlite", "host": str(results)}),
                "AIRFLOW_CONN_GOENHANCE_DEFAULT": json.dumps(
                    {"conn_type": "goenhance", "host": sandbox.url, "password": sandbox.token}
                ),
            },
        ) as airflow,
    ):
        wait_until(lambda: airflow.api.dag("chaos_swaps") is not None, seconds=60, what="the Dag")
        airflow.api.trigger("chaos_swaps", "wait", {})
        wait_until(lambda: len(waits(airflow)) == PAIRS // PER_TASK, seconds=180, what="a run that waits")
        before, submitted = waits(airflow), sandbox.submissions()

        airflow.restart("triggerer")
        restarted = dt.datetime.now(dt.UTC)
        after = waits(airflow)
        wait_until(
            lambda: airflow.api.run_state("chaos_swaps", "wait") not in {"queued", "running"},
            seconds=400,
            what="the end of the run",
        )
        state = airflow.api.run_state("chaos_swaps", "wait")
        submitted_in_the_end = sandbox.submissions()

    rows = query(results, "SELECT status, attempts, finished_at, img_uuid, result_uri FROM goenhance_swaps")
    assert after == before
    assert all(wait["deadline"] > restarted.timestamp() for wait in before)
    assert state == "success"
    assert Counter(status for status, *_ in rows) == {"succeeded": PAIRS}
    assert {attempts for _, attempts, *_ in rows} == {1}
    assert all(dt.datetime.fromisoformat(f"{row[2]}+00:00") > restarted for row in rows)
    assert {row[3] for row in rows} == {job["img_uuid"] for job in submitted_in_the_end}
    assert len(submitted) == len(submitted_in_the_end) == PAIRS
    assert all(Path(row[4].removeprefix("file://")).is_file() for row in rows)
