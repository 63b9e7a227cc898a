# SPDX-License-Identifier: Apache-2.0
"""The example Dag on a real Airflow: a manifest that lands is swapped, once, also across a restart of the triggerer."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import airflow_provider_goenhance
from include.sandbox.process import SandboxProcess
from tests.system.real_airflow import RealAirflow, wait_until

DAG_ID = "goenhance_manifest_lands"


def land(folder: Path, name: str, *ids: str) -> None:
    lines = ["pair_id,source_img,reference_img,shoot"]
    lines += [f"{id_},http://127.0.0.1:9/{id_}.jpg,http://127.0.0.1:9/scene.jpg,{name}" for id_ in ids]
    part = folder / f"{name}.part"
    part.write_text("\n".join(lines) + "\n")
    part.rename(folder / name)


def query(database: Path, text: str) -> list[tuple[Any, ...]]:
    if not database.exists():
        return []
    with closing(sqlite3.connect(database)) as connection:
        try:
            return connection.execute(text).fetchall()
        except sqlite3.OperationalError:
            return []  # no table yet


def test_a_manifest_that_lands_is_swapped_once(tmp_path: Path) -> None:
    folder, dags, results = tmp_path / "manifests", tmp_path / "dags", tmp_path / "results.db"
    folder.mkdir()
    dags.mkdir()
    land(folder, "old.csv", "there-before")
    example = (
        Path(airflow_provider_goenhance.__file__).parent / "example_dags" / "manifest_lands.py"
    ).read_text()
    quick = example.replace(
        "GoEnhanceManifestTrigger(FOLDER)", "GoEnhanceManifestTrigger(FOLDER, poke_interval=1.0)"
    )
    assert quick != example
    (dags / "manifest_lands.py").write_text(quick)

    def swapped() -> dict[str, str]:
        return dict(query(results, "SELECT pair_id, status FROM goenhance_swaps ORDER BY pair_id"))

    def runs() -> list[tuple[Any, ...]]:
        return query(airflow.paths.metadata, f"SELECT run_id, state FROM dag_run WHERE dag_id = '{DAG_ID}'")

    def remembered() -> int:
        found = query(airflow.paths.metadata, "SELECT value FROM asset_state_store")
        return sum(len(json.loads(value).split()) for (value,) in found)

    with (
        SandboxProcess(engine="none", job_seconds=0.2, state_dir=tmp_path / "sandbox") as sandbox,
        RealAirflow(
            tmp_path / "airflow",
            dags,
            {
                "GOENHANCE_MANIFEST_FOLDER": str(folder),
                "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "True",  # the local stack runs nothing by itself
                "AIRFLOW__GOENHANCE__STORAGE": str(tmp_path / "swaps"),
                "AIRFLOW_CONN_GOENHANCE_RESULTS": json.dumps({"conn_type": "sqlite", "host": str(results)}),
                "AIRFLOW_CONN_GOENHANCE_DEFAULT": json.dumps(
                    {"conn_type": "goenhance", "host": sandbox.url, "password": sandbox.token}
                ),
            },
        ) as airflow,
    ):
        wait_until(lambda: airflow.api.dag(DAG_ID) is not None, seconds=120, what="the Dag")
        airflow.api.unpause(DAG_ID)
        wait_until(lambda: remembered() == 1, seconds=120, what="the first listing")
        land(folder, "first.csv", "anna", "bo")
        wait_until(
            lambda: swapped() == {"anna": "succeeded", "bo": "succeeded"}, seconds=180, what="the first swaps"
        )
        wait_until(lambda: remembered() == 2, seconds=60, what="the memory of the first manifest")

        airflow.restart("triggerer")
        land(folder, "second.csv", "cy")
        wait_until(lambda: swapped().get("cy") == "succeeded", seconds=240, what="the swap after the restart")
        wait_until(lambda: remembered() == 3, seconds=60, what="the memory of the second manifest")
        wait_until(
            lambda: all(state == "success" for _, state in runs()), seconds=120, what="the end of the runs"
        )
        found, submitted = runs(), sandbox.submissions()

    assert len(found) == 2
    assert len(submitted) == 3
    rows = query(results, "SELECT pair_id, manifest, labels FROM goenhance_swaps ORDER BY pair_id")
    assert [
        (pair_id, Path(manifest).name, json.loads(labels)["shoot"]) for pair_id, manifest, labels in rows
    ] == [
        ("anna", "first.csv", "first.csv"),
        ("bo", "first.csv", "first.csv"),
        ("cy", "second.csv", "second.csv"),
    ]
