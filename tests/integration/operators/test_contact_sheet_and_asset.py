# SPDX-License-Identifier: Apache-2.0
"""What a report leaves behind: the contact sheet, and an asset event that other Dags are scheduled on."""

from __future__ import annotations

import contextlib
import io
import json
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from airflow.sdk import Asset

from airflow_provider_goenhance.exceptions import BatchFailedError
from airflow_provider_goenhance.execution import contact_sheet
from airflow_provider_goenhance.operators.report import GoEnhanceReportOperator
from tests.airflow_versions import DagBag

from .airflow_environment import AirflowEnvironment, DagRunResult
from .light_runner import LightTask, LightTaskInstance

DOCS = Path(__file__).resolve().parents[3] / "docs"


class Events(dict[Any, Any]):
    """The accessor of a task's asset events, as far as a task sees it."""

    def __missing__(self, asset: Any) -> Any:
        self[asset] = type("Event", (), {"extra": {}})()
        return self[asset]


def report(batch: LightTask, **arguments: Any) -> tuple[LightTaskInstance, Events, BaseException | None]:
    ti, events = LightTaskInstance("report"), Events()
    arguments = {"storage": str(batch.folder / "kept"), **arguments}
    operator = GoEnhanceReportOperator(task_id="report", **arguments)
    error = None
    try:
        operator.execute({"ti": ti, "outlet_events": events})  # type: ignore[typeddict-item]
    except BatchFailedError as failed:
        error = failed
    return ti, events, error


def path_of(uri: str) -> Path:
    return Path(unquote(urlsplit(uri).path))


# -- the sheet ---------------------------------------------------------------------------------------------------------


def test_the_sheet_of_a_failed_run_is_kept_beside_its_pictures_with_the_reasons_first(
    task: Callable[..., LightTask],
) -> None:
    batch = task(kind="batch")
    batch.sandbox.put_faults(job={"kind": "failed", "error": "no face in <source>", "count": 1})
    # These are fetched from the sandbox, which has them; the second pair's are gone by now.
    for number, name in ((0, "hopper.jpg"), (2, "collins.jpg")):
        batch.pairs[number] |= {
            "source_img": batch.sandbox.image(name),
            "reference_img": batch.sandbox.image("crew.jpg"),
        }
    batch.attempt()

    ti, events, error = report(batch)

    assert isinstance(error, BatchFailedError)
    assert events == {}
    path = path_of(ti.xcoms["contact_sheet"])
    assert path.parent == batch.folder / "kept" / "run-1"
    assert path.parent == path_of(batch.row(3)["result_uri"]).parent
    html = path.read_text()
    assert re.findall(r'(?:src|href)="(.{5})', html) == ["data:"] * (2 + 2 + 1 + 1)
    failed = next(row for row in batch.rows().values() if row["status"] == "failed")
    good = [row["pair_id"] for row in batch.rows().values() if row["status"] == "succeeded"]
    assert html.index(failed["pair_id"]) < min(html.index(pair_id) for pair_id in good)
    assert "no face in &lt;source&gt;" in html
    assert "succeeded 2 · failed 1 · suspicious 2 blank · median seconds per job 0 · slowest 0" in html
    assert "submits that may have been paid for 3" in html


def test_reports_of_two_dags_with_runs_of_one_name_keep_a_sheet_each(task: Callable[..., LightTask]) -> None:
    batch = task(kind="batch", pairs=1)
    batch.attempt()
    batch.ti.dag_id = "twin"
    batch.attempt()

    for dag_id in ("light", "twin"):
        ti = LightTaskInstance("report", dag_id=dag_id)
        GoEnhanceReportOperator(task_id="report", storage=str(batch.folder / "kept")).execute({"ti": ti})  # type: ignore[typeddict-item]

    sheets = sorted(path.name for path in (batch.folder / "kept" / "run-1").glob("*.html"))
    assert sheets == ["contact-sheet-light.report.html", "contact-sheet-twin.report.html"]


@pytest.mark.parametrize("error", [OSError("disk full"), MemoryError(), RuntimeError("surprise")])
def test_a_sheet_that_cannot_be_made_never_changes_the_verdict(
    task: Callable[..., LightTask],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    error: Exception,
) -> None:
    batch = task(kind="batch", pairs=1)
    batch.attempt()

    def broken(*_: Any, **__: Any) -> bytes:
        raise error

    monkeypatch.setattr(contact_sheet, "make_contact_sheet", broken)

    ti, _, failed = report(batch)

    assert failed is None
    assert "contact_sheet" not in ti.xcoms
    assert "The contact sheet could not be stored" in capfd.readouterr().out


def test_a_storage_that_cannot_be_written_never_changes_the_verdict(task: Callable[..., LightTask]) -> None:
    batch = task(kind="batch", pairs=1)
    batch.attempt()

    ti, _, failed = report(batch, storage="/proc/no-such-folder")

    assert failed is None
    assert ti.xcoms.keys() == {"report"}


def test_no_sheet_is_made_where_none_is_wanted(task: Callable[..., LightTask]) -> None:
    batch = task(kind="batch", pairs=1)
    batch.attempt()

    ti, _, _ = report(batch, contact_sheet="False")

    assert ti.xcoms.keys() == {"report"}
    assert list((batch.folder / "kept").rglob("*.html")) == []


# -- the asset ---------------------------------------------------------------------------------------------------------


def test_only_assets_among_the_outlets_are_told_the_counts(task: Callable[..., LightTask]) -> None:
    batch = task(kind="batch", pairs=2)
    batch.attempt()
    asset = Asset("portraits")

    _, events, _ = report(batch, outlets=[asset])

    assert list(events) == [asset]
    assert events[asset].extra == {
        "dag_id": "light",
        "run_id": "run-1",
        "pairs": 2,
        "succeeded": 2,
        **dict.fromkeys(
            ("planned", "submitting", "submitted", "failed", "unknown", "rejected", "reused", "held"), 0
        ),
    }


def manifest(airflow: AirflowEnvironment) -> str:
    """Write a manifest of one pair: the shipped Dag asks about a job every 5 s, as the vendor advises."""
    path = airflow.folder / "pairs.csv"
    urls = [airflow.sandbox.image(name) for name in ("hopper.jpg", "crew.jpg")]
    path.write_text(f"source_img,reference_img\n{','.join(urls)}\n")
    return str(path)


def extras(airflow: AirflowEnvironment, run: DagRunResult) -> list[dict[str, Any]]:
    """Read the asset events of a run from Airflow's metadata database."""
    with contextlib.closing(sqlite3.connect(airflow.home / "airflow.db")) as database:
        found = database.execute(
            "SELECT asset_event.extra FROM asset_event JOIN asset ON asset.id = asset_event.asset_id"
            " WHERE asset.name = 'goenhance_face_swaps' AND source_run_id = ?",
            [run.run_id],
        )
        return [json.loads(extra) for (extra,) in found]


@pytest.mark.slow
def test_another_dag_of_a_real_airflow_collects_what_a_run_only_submitted_and_each_run_emits_its_counts(
    airflow: AirflowEnvironment, tmp_path: Path
) -> None:
    airflow.sandbox.put_faults(job_seconds=0.5)
    first = airflow.run("goenhance_face_swap_batch", manifest=manifest(airflow), wait=False)
    assert first.state == "success"
    [row] = airflow.rows()
    assert row["status"] == "submitted"

    later = airflow.run("collect_later", run=first.run_id, img_uuids=[row["img_uuid"]])

    assert later.state == "success", later.text
    assert later.values("wait") == [{row["img_uuid"]: "succeeded"}]
    assert later.values("collect") == [{"succeeded": 1}]
    assert [row["status"] for row in airflow.rows()] == ["succeeded"]

    second = airflow.run("goenhance_face_swap_batch", manifest=manifest(airflow))

    assert len(airflow.sandbox.submissions()) == 1
    [one], [two] = extras(airflow, first), extras(airflow, second)
    assert {
        "dag_id": "goenhance_face_swap_batch",
        "run_id": first.run_id,
        "submitted": 1,
    }.items() <= one.items()
    assert {"run_id": second.run_id, "pairs": 1, "reused": 1, "succeeded": 0}.items() <= two.items()
    assert understood_by_the_documented_dag([one, two], tmp_path) == ([second.run_id], [0, 1])


def understood_by_the_documented_dag(
    extras: list[dict[str, Any]], folder: Path
) -> tuple[list[str], list[int]]:
    """Return the runs that it picks, and the numbers of pictures that it prints."""
    events = [type("Event", (), {"extra": extra})() for extra in extras]
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        runs = documented_dag(folder).get_task("finished_runs").python_callable({"the asset": events})
    return runs, [int(number) for number in re.findall(r"(\d+) pictures", said.getvalue())]


@pytest.mark.slow
def test_the_sheet_of_a_real_run_is_linked_from_its_report(airflow: AirflowEnvironment) -> None:
    run = airflow.run("goenhance_face_swap_batch", manifest=manifest(airflow), wait=False)

    [sheet] = run.values("report", "contact_sheet")
    assert path_of(sheet).is_file()
    [link] = run.values("report", "_link_ContactSheetLink")
    asked = {name: value[0] for name, value in parse_qs(urlsplit(link).query).items()}
    assert asked == {"dag_id": "goenhance_face_swap_batch", "run_id": run.run_id, "task_id": "report"}


def test_a_failed_run_emits_no_event(airflow: AirflowEnvironment) -> None:
    airflow.sandbox.put_faults(submit={"kind": "business_error"})

    run = airflow.run("goenhance_face_swap_batch", manifest=manifest(airflow))

    assert run.state == "failed"
    assert extras(airflow, run) == []
    assert len(run.values("report", "contact_sheet")) == 1


def test_a_dry_run_updates_no_asset(airflow: AirflowEnvironment) -> None:
    run = airflow.run("goenhance_face_swap_batch", manifest=manifest(airflow), dry_run=True)

    assert run.state == "success"
    assert run.states("report") == ["success"]
    assert extras(airflow, run) == []


# -- the documented examples -------------------------------------------------------------------------------------------


def documented_dag(folder: Path) -> Any:
    examples = re.findall(r"```python\n(.*?)```", (DOCS / "downstream.md").read_text(), re.DOTALL)
    [code] = [example for example in examples if "publish_face_swaps" in example]
    return parsed(code, folder).dags["publish_face_swaps"]


def parsed(code: str, folder: Path) -> DagBag:
    (folder / "example.py").write_text(code)
    bag = DagBag(folder)
    assert bag.import_errors == {}
    return bag


def test_the_documented_dag_parses_and_is_scheduled_on_the_asset_of_the_shipped_dag(tmp_path: Path) -> None:
    shipped = DagBag(DOCS.parent / "dags" / "face_swap_batch.py").dags["goenhance_face_swap_batch"]
    [outlet] = shipped.get_task("report").outlets

    assert list(documented_dag(tmp_path).timetable.asset_condition.objects) == [outlet]


def test_the_documented_collecting_dag_parses(tmp_path: Path) -> None:
    code = re.findall(r"```python\n(.*?)```", (DOCS / "collecting.md").read_text(), re.DOTALL)[0]

    bag = parsed(code, tmp_path)

    assert bag.dags["collect_swaps"].task_ids == ["collect"]
