# SPDX-License-Identifier: Apache-2.0
"""One job of a large batch runs long: the pictures of the others are kept meanwhile, by a real triggerer and worker."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from include.sandbox.process import SandboxProcess
from tests.system.real_airflow import RealAirflow, wait_until

PAIRS = 1_500


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


def swap_state(airflow: RealAirflow) -> list[tuple[str, str | None]]:
    """Read the states of the swap tasks, and what they were resumed with."""
    return query(
        airflow.paths.metadata, "SELECT state, next_kwargs FROM task_instance WHERE task_id = 'swap'"
    )


def test_a_straggler_keeps_no_picture_of_its_batch_waiting(tmp_path: Path) -> None:
    manifest, results = tmp_path / "manifest.csv", tmp_path / "results.db"
    write_manifest(manifest)

    def statuses() -> Counter[str]:
        return Counter(status for (status,) in query(results, "SELECT status FROM goenhance_swaps"))

    with (
        SandboxProcess(engine="none", credits=10**6) as sandbox,
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
        sandbox.put_faults(job={"kind": "stuck", "count": 1})
        wait_until(lambda: airflow.api.dag("straggling_swaps") is not None, seconds=60, what="the Dag")
        airflow.api.trigger("straggling_swaps", "run", {})
        wait_until(lambda: len(waits(airflow)) == 1, seconds=180, what="a batch that waits")
        (first,) = waits(airflow)
        wait_until(
            lambda: statuses() == {"succeeded": PAIRS - 1, "submitted": 1},
            seconds=300,
            what="the pictures of all jobs but one",
        )
        wait_until(lambda: len(waits(airflow)) == 1, seconds=60, what="a batch that waits again")
        (second,) = waits(airflow)
        state_meanwhile = [state for state, _ in swap_state(airflow)]
        wait_until(
            lambda: airflow.api.run_state("straggling_swaps", "run") not in {"queued", "running"},
            seconds=400,
            what="the end of the run",
        )
        state = airflow.api.run_state("straggling_swaps", "run")
        submissions = sandbox.submissions()

    rows = query(results, "SELECT status, error_code, img_uuid, attempts FROM goenhance_swaps")
    assert state_meanwhile == ["deferred"]
    assert state == "success"
    assert Counter(status for status, *_ in rows) == {"succeeded": PAIRS - 1, "failed": 1}
    assert {code for _, code, *_ in rows if code} == {"job_timed_out"}
    assert {attempts for *_, attempts in rows} == {1}
    assert len(submissions) == PAIRS
    # The second wait has the deadline of the first, and neither lists a job.
    assert first["deadline"] == second["deadline"]
    assert not any(img_uuid in json.dumps([first, second]) for _, _, img_uuid, _ in rows)
    assert (
        len(list((tmp_path / "swaps").rglob("*.jpg")) + list((tmp_path / "swaps").rglob("*.png")))
        >= PAIRS - 1
    )
