# SPDX-License-Identifier: Apache-2.0
"""The manifests of a plan task: any format, by SQL, as a matrix, strict, and those whose arrival started the run."""

from __future__ import annotations

import csv
import hashlib
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest

from airflow_provider_goenhance.exceptions import ManifestError
from airflow_provider_goenhance.hooks.results import open_results
from airflow_provider_goenhance.operators.plan import GoEnhancePlanOperator
from airflow_provider_goenhance.results.ledger import Ledger, RunKey
from airflow_provider_goenhance.results.swap import Swap
from airflow_provider_goenhance.retry_policy import is_final
from include.sandbox.process import SandboxProcess

from .light_runner import LightTaskInstance

pytestmark = pytest.mark.usefixtures("sandbox")


@pytest.fixture
def sandbox(goenhance_sandbox_shared: SandboxProcess, connect: Callable[..., None]) -> SandboxProcess:
    connect(goenhance_sandbox_shared)
    return goenhance_sandbox_shared


def plan(folder: Path, events: Any = None, **arguments: Any) -> LightTaskInstance:
    ti = LightTaskInstance("plan", run_id="run-1")
    operator = GoEnhancePlanOperator(task_id="plan", storage=str(folder / "kept"), **arguments)
    operator.execute({"ti": ti, "triggering_asset_events": events or {}})
    return ti


def rows() -> list[Swap]:
    return sorted(
        Ledger(open_results()).of_run(RunKey("light", "run-1")),
        key=lambda row: (row.manifest or "", row.row_number or 0),
    )


def landed(*payloads: dict[str, Any]) -> dict[str, list[Any]]:
    """The asset events of a run, as a watcher's trigger sends them."""
    return {
        "manifests": [
            SimpleNamespace(extra={"from_trigger": True, "payload": payload}) for payload in payloads
        ]
    }


def pairs(*names: str) -> list[dict[str, str]]:
    return [
        {"id": name, "face": f"http://h/{name}.jpg", "target": "http://h/scene.jpg", "shoot": f"of {name}"}
        for name in names
    ]


def as_json(folder: Path, name: str, *ids: str) -> Path:
    path = folder / name
    path.write_text(json.dumps(pairs(*ids)))
    return path


def test_labels_and_the_digest_of_the_manifest_are_on_the_row(tmp_path: Path) -> None:
    path = as_json(tmp_path, "pairs.json", "anna")
    plan(tmp_path, manifest=str(path))
    [row] = rows()
    assert json.loads(row.labels or "") == {"shoot": "of anna"}
    assert row.manifest_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_query_is_planned_as_a_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with sqlite3.connect(tmp_path / "shoots.db") as database:
        database.execute("CREATE TABLE shoots (face TEXT, target TEXT)")
        database.execute("INSERT INTO shoots VALUES ('http://h/a.jpg', 'http://h/b.jpg')")
    conn = {"conn_type": "sqlite", "host": str(tmp_path / "shoots.db")}
    monkeypatch.setenv("AIRFLOW_CONN_SHOOTS", json.dumps(conn))
    plan(tmp_path, manifest_sql="SELECT * FROM shoots", manifest_conn_id="shoots")
    [row] = rows()
    assert (row.source_img, row.manifest) == ("http://h/a.jpg", "query of connection shoots")
    assert row.manifest_sha256


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"manifest_sql": "SELECT 1"}, "manifest_sql needs manifest_conn_id"),
        ({"manifest_sql": "SELECT 1", "manifest_conn_id": "x", "manifest": "a.csv"}, "neither manifest nor"),
        ({"manifest": "a.csv", "reference_manifest": "b.csv"}, "reference_manifest is for mode='matrix'"),
        ({"manifest": "a.csv", "mode": "martix"}, "mode must be 'pairs' or 'matrix'; got 'martix'"),
        ({"manifest": "a.csv", "columns": "[1]"}, "columns must be a mapping, or the JSON text of one"),
        ({"manifest": "a.csv", "columns": {"face": "x"}}, "columns must map source_img"),
    ],
)
def test_arguments_that_cannot_be_meant_are_refused(
    tmp_path: Path, arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        plan(tmp_path, **arguments)
    assert is_final(caught.value)


def test_a_matrix_and_a_mapping_may_come_as_text(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("a,target\nhttp://h/1.jpg,http://h/3.jpg\nhttp://h/2.jpg,http://h/4.jpg\n")
    plan(tmp_path, manifest=str(path), mode="matrix", columns='{"source_img": "a"}', limit="3")
    assert [(row.source_img[-5:], row.reference_img[-5:]) for row in rows()] == [
        ("1.jpg", "3.jpg"),
        ("1.jpg", "4.jpg"),
        ("2.jpg", "3.jpg"),
    ]


def test_strict_stops_before_anything_is_planned(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("face,target\nhttp://h/1.jpg,http://h/2.jpg\nx,y\n")
    with pytest.raises(
        ManifestError, match=r"strict=True: row 3: source_img is not .*Nothing was sent or paid"
    ) as caught:
        plan(tmp_path, manifest=str(path), strict="true")
    assert is_final(caught.value)
    assert rows() == []
    [kept] = (tmp_path / "kept").rglob("rejected.csv")
    assert [row["row_number"] for row in csv.DictReader(kept.open())] == ["3"]


def test_rejected_rows_are_kept_beside_the_pictures(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("face,target,shoot\nhttp://h/1.jpg,http://h/2.jpg,a\nx,http://h/2.jpg,b\n")
    ti = plan(tmp_path, manifest=str(path))
    kept = Path(urlsplit(ti.xcoms["rejected_csv"]).path)
    assert kept.is_relative_to(tmp_path / "kept" / "run-1")
    assert kept.name == "rejected.csv"
    [row] = csv.DictReader(kept.open())
    assert (row["row_number"], row["error_code"], row["source_img"], row["shoot"]) == (
        "3",
        "not_http_url",
        "x",
        "b",
    )


def test_a_storage_that_cannot_be_used_does_not_stop_the_plan(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "kept").write_text("a file where the folder belongs")
    path = tmp_path / "pairs.csv"
    path.write_text("face,target\nhttp://h/1.jpg,http://h/2.jpg\nx,y\n")
    plan(tmp_path, manifest=str(path))
    assert len(rows()) == 2


def test_a_dry_run_keeps_nothing(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("face,target\nhttp://h/1.jpg,http://h/2.jpg\nx,y\n")
    plan(tmp_path, manifest=str(path), check_only=True)
    assert not (tmp_path / "kept").exists()


def test_the_manifest_that_landed_is_planned_where_none_was_given(tmp_path: Path) -> None:
    path = as_json(tmp_path, "tonight.json", "anna")
    plan(tmp_path, landed({"manifest": str(path)}))
    assert [(row.manifest, row.pair_id) for row in rows()] == [(str(path), "anna")]


def test_all_manifests_that_landed_before_the_run_started_are_planned(tmp_path: Path) -> None:
    first, second = as_json(tmp_path, "1.json", "anna", "bo"), as_json(tmp_path, "2.json", "bo", "cy")
    event = {"manifest": str(first)}
    plan(tmp_path, landed(event, {"manifest": str(second)}, event))
    assert [(Path(row.manifest or "").name, row.pair_id, str(row.status)) for row in rows()] == [
        ("1.json", "anna", "planned"),
        ("1.json", "bo", "planned"),
        ("2.json", "bo", "rejected"),
        ("2.json", "cy", "planned"),
    ]


def test_the_limit_counts_over_all_manifests(tmp_path: Path) -> None:
    locations = [str(as_json(tmp_path, f"{n}.json", f"a{n}", f"b{n}")) for n in range(3)]
    plan(tmp_path, manifest=locations, limit=3)
    assert [row.pair_id for row in rows()] == ["a0", "b0", "a1"]


def test_a_manifest_that_was_given_comes_before_the_one_that_landed(tmp_path: Path) -> None:
    given, other = as_json(tmp_path, "given.json", "anna"), as_json(tmp_path, "other.json", "bo")
    plan(tmp_path, landed({"manifest": str(other)}), manifest=str(given))
    assert [row.pair_id for row in rows()] == ["anna"]


def test_another_tasks_asset_event_may_name_the_manifest(tmp_path: Path) -> None:
    path = as_json(tmp_path, "tonight.json", "anna")
    plan(tmp_path, {"exports": [SimpleNamespace(extra={"manifest": str(path)})]})
    assert [row.pair_id for row in rows()] == ["anna"]


def test_no_manifest_at_all_says_so(tmp_path: Path) -> None:
    with pytest.raises(
        ManifestError, match="it is empty, and the run was not started by the arrival of a manifest"
    ):
        plan(tmp_path)
