# SPDX-License-Identifier: Apache-2.0
"""Two Dags, two runs each, the same pairs at the same time: each pair is paid for once, and every run has them all."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from include.sandbox.process import SandboxProcess
from tests.system.postgres import connection_of, postgres_database
from tests.system.real_airflow import RealAirflow, wait_until

PAIRS = 500
RUNS = [
    ("first_at_once", "one"),
    ("first_at_once", "two"),
    ("second_at_once", "one"),
    ("second_at_once", "two"),
]
#: Long enough that the runs overlap.
JOB_SECONDS = 5.0
TASK_SLOTS = 4


@pytest.fixture
def postgres() -> Iterator[Callable[[], sa.Engine]]:
    """Start databases of this test's own."""
    with postgres_database() as start:
        yield start


def write_manifest(path: Path) -> None:
    lines = ["pair_id,source_img,reference_img"]
    lines += [
        f"p{n:05d},http://127.0.0.1:9/face{n}.jpg,http://127.0.0.1:9/scene{n}.jpg" for n in range(PAIRS)
    ]
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("database", ["postgres", "sqlite"])
def test_runs_at_once_pay_for_each_pair_once_and_all_end_with_its_picture(
    tmp_path: Path,
    database: str,
    postgres: Callable[[], sa.Engine],
    capsys: pytest.CaptureFixture[str],
) -> None:
    manifest = tmp_path / "manifest.csv"
    write_manifest(manifest)
    if database == "postgres":
        engine, metadata = postgres(), postgres()
        results = connection_of(engine.url)
        settings = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": metadata.url.render_as_string(hide_password=False)}
    else:
        engine = sa.create_engine(f"sqlite:///{tmp_path / 'results.db'}")
        results = json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "results.db")})
        settings = {}
    with (
        SandboxProcess(
            engine="none", job_seconds=JOB_SECONDS, state_dir=tmp_path / "sandbox", credits=10**6
        ) as sandbox,
        RealAirflow(
            tmp_path / "airflow",
            Path(__file__).parent / "dags",
            {
                **settings,
                "AIRFLOW__CORE__PARALLELISM": str(TASK_SLOTS),
                "AIRFLOW__GOENHANCE__STORAGE": str(tmp_path / "swaps"),
                "AIRFLOW_VAR_GOENHANCE_MANIFEST": str(manifest),
                "AIRFLOW_CONN_GOENHANCE_RESULTS": results,
                "AIRFLOW_CONN_GOENHANCE_DEFAULT": json.dumps(
                    {"conn_type": "goenhance", "host": sandbox.url, "password": sandbox.token}
                ),
            },
        ) as airflow,
    ):
        airflow.start("triggerer", another=True)
        for dag_id in {dag_id for dag_id, _ in RUNS}:
            wait_until(lambda: airflow.api.dag(dag_id) is not None, seconds=120, what="the Dag")  # noqa: B023
        for dag_id, run_id in RUNS:
            airflow.api.trigger(dag_id, run_id, {})
        wait_until(
            lambda: all(airflow.api.run_state(*run) not in {"queued", "running"} for run in RUNS),
            seconds=900,
            what="the end of all runs",
        )
        states = [airflow.api.run_state(*run) for run in RUNS]
        accepted = sandbox.submissions()

    with engine.connect() as connection:
        query = "SELECT dag_id, run_id, status, attempts FROM goenhance_swaps"
        rows = connection.execute(sa.text(query)).all()
    engine.dispose()
    by_run = {run: Counter(row.status for row in rows if (row.dag_id, row.run_id) == run) for run in RUNS}
    with capsys.disabled():
        print(f"\nat once, {database}: accepted={len(accepted)} rows={by_run}")
    assert len(accepted) == PAIRS
    assert len({(job["source_img"], job["reference_img"]) for job in accepted}) == PAIRS
    assert all(counts["succeeded"] + counts["reused"] == PAIRS for counts in by_run.values()), by_run
    assert sum(row.attempts for row in rows) == PAIRS
    assert states == ["success"] * len(RUNS)
