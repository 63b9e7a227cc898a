# SPDX-License-Identifier: Apache-2.0
"""The plan checks the pictures before anything is paid, and its rows say what is wrong."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_goenhance.exceptions import ErrorCode
from airflow_provider_goenhance.hooks.results import open_results
from airflow_provider_goenhance.inputs import face_check
from airflow_provider_goenhance.operators.plan import GoEnhancePlanOperator
from airflow_provider_goenhance.operators.report import GoEnhanceReportOperator
from airflow_provider_goenhance.results.ledger import Ledger, RunKey
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.swap import Swap
from include.sandbox.process import SandboxProcess
from tests.unit.inputs.file_server import FileServer
from tests.unit.inputs.photos import sample

from .light_runner import LightTaskInstance

RUN = RunKey("light", "run-1")


@pytest.fixture
def files() -> Iterator[FileServer]:
    with FileServer() as server:
        server.add("/face.jpg", sample("collins.jpg"))
        server.add("/scene.jpg", sample("hopper.jpg"))
        server.add("/coffee.jpg", sample("coffee.jpg"))
        server.add("/large.jpg", sample("hopper_closeup.jpg") + bytes(5_000_000))
        yield server


@pytest.fixture
def plan(
    goenhance_sandbox_shared: SandboxProcess, connect: Callable[..., None], files: FileServer, tmp_path: Path
) -> Callable[..., list[dict[str, Any]]]:
    """Plan pairs of files, given as ``source reference``."""
    connect(goenhance_sandbox_shared)

    def run(*pairs: str, **arguments: Any) -> list[dict[str, Any]]:
        lines = ["pair_id,source_img,reference_img"]
        for number, pair in enumerate(pairs, 1):
            source, reference = (files.link(f"/{name}") for name in pair.split())
            lines.append(f"p{number},{source},{reference}")
        manifest = tmp_path / "pairs.csv"
        manifest.write_text("\n".join(lines) + "\n")
        operator = GoEnhancePlanOperator(task_id="plan", manifest=str(manifest), **arguments)
        return operator.execute({"ti": LightTaskInstance("plan")})  # type: ignore[arg-type]

    return run


def rows() -> dict[str, Swap]:
    return {row.pair_id: row for row in Ledger(open_results()).of_run(RUN)}


def warnings(row: Swap) -> list[tuple[str, str]]:
    return [(one["picture"], one["code"]) for one in json.loads(row.input_warnings or "[]")]


def test_by_default_what_is_wrong_is_noted_and_every_pair_is_planned(
    plan: Callable[..., list[dict[str, Any]]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    plan("face.jpg scene.jpg", "gone.jpg scene.jpg", "face.jpg large.jpg", "coffee.jpg scene.jpg")

    found = rows()
    assert {row.status for row in found.values()} == {Status.PLANNED}
    assert warnings(found["p1"]) == warnings(found["p4"]) == []
    assert warnings(found["p2"]) == [("source", "input_unreachable")]
    assert warnings(found["p3"]) == [("reference", "input_too_large")]
    assert "Checked 5 distinct pictures" in caplog.text
    assert "warns about 2 pairs and rejected 0 pairs" in caplog.text


def test_rejecting_names_the_picture_and_what_to_do_and_pays_nothing(
    plan: Callable[..., list[dict[str, Any]]],
) -> None:
    plan("face.jpg scene.jpg", "gone.jpg scene.jpg", preflight="reject")

    found = rows()
    assert found["p1"].status is Status.PLANNED
    assert (found["p2"].status, found["p2"].error_code) == (Status.REJECTED, ErrorCode.INPUT_UNREACHABLE)
    assert found["p2"].error_message == (
        "source_img 127.0.0.1/…/gone.jpg: its server answers HTTP 404. Correct its address, or make it "
        "readable. Never sent."
    )
    assert warnings(found["p2"]) == [("source", "input_unreachable")]


def test_a_picture_without_a_face_is_found_by_the_face_check_alone(
    plan: Callable[..., list[dict[str, Any]]], files: FileServer
) -> None:
    plan("face.jpg scene.jpg", "coffee.jpg scene.jpg", preflight="reject", face_check="True")

    found = rows()
    assert found["p1"].status is Status.PLANNED
    assert (found["p2"].status, found["p2"].error_code) == (Status.REJECTED, ErrorCode.NO_FACE)
    assert [path for path, _ in files.asked].count("/scene.jpg") == 2, "a look and a download, for two pairs"


def test_off_looks_at_nothing(plan: Callable[..., list[dict[str, Any]]], files: FileServer) -> None:
    plan("gone.jpg scene.jpg", preflight="off")

    assert files.asked == []
    assert rows()["p1"].input_warnings is None


def test_above_a_number_of_pictures_none_is_checked_and_the_log_says_so(
    plan: Callable[..., list[dict[str, Any]]],
    files: FileServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("airflow_provider_goenhance.execution.run_plan.MOST_PICTURES", 2)
    plan("face.jpg scene.jpg", "gone.jpg scene.jpg")

    assert files.asked == []
    assert "not checked before they are sent" in caplog.text


def test_a_dry_run_says_what_is_wrong_and_writes_no_row(
    plan: Callable[..., list[dict[str, Any]]], caplog: pytest.LogCaptureFixture
) -> None:
    plan("face.jpg scene.jpg", "gone.jpg scene.jpg", check_only=True)

    assert "gone.jpg: its server answers HTTP 404" in caplog.text
    assert rows() == {}


def test_a_plan_that_is_repeated_takes_back_what_is_no_longer_wrong(
    plan: Callable[..., list[dict[str, Any]]], files: FileServer
) -> None:
    plan("gone.jpg scene.jpg")
    assert warnings(rows()["p1"])
    files.add("/gone.jpg", sample("collins_warm.jpg"))

    plan("gone.jpg scene.jpg")

    assert warnings(rows()["p1"]) == []


def test_a_rejected_row_is_planned_by_the_next_plan_of_its_run_once_its_picture_is_there(
    plan: Callable[..., list[dict[str, Any]]], files: FileServer
) -> None:
    pairs = ("gone.jpg scene.jpg", "coffee.jpg scene.jpg", "face.jpg nowhere/")
    plan(*pairs, preflight="reject", face_check="True")
    plan(*pairs, preflight="reject", face_check="True")
    assert [rows()[name].status for name in ("p1", "p2", "p3")] == [Status.REJECTED] * 3
    files.add("/gone.jpg", sample("collins_warm.jpg"))

    plan(*pairs, preflight="reject", face_check="True")

    found = rows()
    assert (found["p1"].status, found["p1"].error_code, found["p1"].finished_at) == (
        Status.PLANNED,
        None,
        None,
    )
    assert (found["p2"].status, found["p2"].error_code) == (Status.REJECTED, ErrorCode.NO_FACE)
    assert found["p3"].status is Status.REJECTED
    assert {row.attempts for row in found.values()} == {0}


def test_a_row_that_may_have_been_paid_for_is_never_rejected(
    plan: Callable[..., list[dict[str, Any]]], files: FileServer
) -> None:
    plan("face.jpg scene.jpg", preflight="off")
    database = open_results()
    database.run(
        lambda connection: connection.execute(database.swaps.update().values(attempts=1, status="planned"))
    )
    files.add("/face.jpg", b"", 404)

    plan("face.jpg scene.jpg", preflight="reject")

    assert rows()["p1"].status is Status.PLANNED
    assert warnings(rows()["p1"]) == [("source", "input_unreachable")]


def test_the_face_check_says_what_is_missing(
    plan: Callable[..., list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(face_check, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"airflow-provider-goenhance\[faces\]"):
        plan("face.jpg scene.jpg", face_check=True)
    assert rows() == {}


def test_the_report_says_how_many_of_the_warnings_came_true(
    plan: Callable[..., list[dict[str, Any]]], capfd: pytest.CaptureFixture[str]
) -> None:
    plan("gone.jpg scene.jpg", "face.jpg large.jpg", "face.jpg scene.jpg")
    database = open_results()

    def end(pair_id: str, status: str, code: str | None) -> None:
        c = database.swaps.c
        update = database.swaps.update().where(c.pair_id == pair_id)
        values = {"status": status, "error_code": code, "img_uuid": f"job-{pair_id}", "attempts": 1}
        database.run(lambda connection: connection.execute(update.values(**values)))

    end("p1", "failed", "job_failed")
    end("p2", "succeeded", None)
    end("p3", "failed", "job_failed")
    report = GoEnhanceReportOperator(
        task_id="report", contact_sheet=False, check_account=False, allowed_failure_share=1.0
    )
    report.execute({"ti": LightTaskInstance("report"), "outlet_events": {}})  # type: ignore[arg-type]

    assert "The check before paying warned about 2 pairs, of which 1 failed." in "".join(capfd.readouterr())
