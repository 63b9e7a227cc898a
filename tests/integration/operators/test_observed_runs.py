# SPDX-License-Identifier: Apache-2.0
"""The example Dags run in a real Airflow that collects metrics and lineage."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sqlite3
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import airflow_provider_goenhance
from airflow_provider_goenhance.notifications.deadline import log_unfinished_run
from include.sandbox.process import SandboxProcess
from tests.airflow_versions import DagBag

from .airflow_environment import AirflowEnvironment, DagRunResult
from .udp_statsd import UdpStatsd

pytest.importorskip("statsd", reason="the StatsD client is not installed")

pytestmark = pytest.mark.slow

EXAMPLES = Path(airflow_provider_goenhance.__file__).parent / "example_dags"
SIGNATURE = "X-Amz-Signature=0123456789abcdef"


@pytest.fixture(scope="module")
def statsd() -> Iterator[UdpStatsd]:
    with UdpStatsd() as server:
        yield server


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory, statsd: UdpStatsd) -> Iterator[AirflowEnvironment]:
    home = tmp_path_factory.mktemp("observed")
    transport = {"type": "file", "log_file_path": str(home / "lineage"), "append": True}
    with AirflowEnvironment(
        home,
        examples=True,
        AIRFLOW__METRICS__STATSD_ON="True",
        AIRFLOW__METRICS__STATSD_HOST="127.0.0.1",
        AIRFLOW__METRICS__STATSD_PORT=str(statsd.port),
        AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED="True",
        AIRFLOW__OPENLINEAGE__TRANSPORT=json.dumps(transport),
    ) as airflow:
        yield airflow


@pytest.fixture
def airflow(
    environment: AirflowEnvironment,
    statsd: UdpStatsd,
    goenhance_sandbox_shared: SandboxProcess,
    tmp_path: Path,
) -> AirflowEnvironment:
    """Return the Airflow with a results table and a manifest of two pairs; the second one's links are signed."""
    goenhance_sandbox_shared.put_faults(job_seconds=0.1)
    image = goenhance_sandbox_shared.image
    manifest = tmp_path / "pairs.csv"
    manifest.write_text(
        "pair_id,source_img,reference_img\n"
        f"anna,{image('hopper.jpg')},{image('crew.jpg')}\n"
        f"ben,{image('collins.jpg')}?{SIGNATURE},{image('crew.jpg')}?{SIGNATURE}\n"
    )
    environment.prepare(goenhance_sandbox_shared, tmp_path, manifest=str(manifest))
    statsd.clear()
    return environment


def statuses(airflow: AirflowEnvironment) -> list[str]:
    return [row["status"] for row in airflow.rows()]


# -- the examples ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dag_id", ["goenhance_done_by_six", "goenhance_notify"])
def test_a_nightly_example_swaps_the_manifest_of_the_variable(
    airflow: AirflowEnvironment, dag_id: str
) -> None:
    run = airflow.run(dag_id)

    assert run.state == "success", run.text
    assert statuses(airflow) == ["succeeded", "succeeded"]


def test_the_example_of_an_approval_runs_at_once_below_the_limit(airflow: AirflowEnvironment) -> None:
    airflow.connect(credits_per_swap=1)

    run = airflow.run("goenhance_approval", approve_above=2)

    assert run.state == "success", run.text
    assert statuses(airflow) == ["succeeded", "succeeded"]


def test_the_example_of_a_landing_manifest_reads_the_manifest_of_its_event(
    airflow: AirflowEnvironment, tmp_path: Path
) -> None:
    """Without an event there is no manifest, and the plan says so; tests/system watches a real folder."""
    run = airflow.run("goenhance_manifest_lands")

    assert run.states("plan") == ["failed"]
    assert "the run was not started by the arrival of a manifest" in run.text


def test_the_hourly_example_collects_what_another_run_has_only_submitted(airflow: AirflowEnvironment) -> None:
    first = airflow.run("goenhance_face_swap_batch", wait=False)
    assert first.state == "success", first.text
    assert statuses(airflow) == ["submitted", "submitted"]
    deadline = time.monotonic() + 60
    while "submitted" in statuses(airflow) and time.monotonic() < deadline:
        run = airflow.run("goenhance_collect_hourly")
        assert run.state == "success", run.text

    assert statuses(airflow) == ["succeeded", "succeeded"]


def test_the_downstream_example_lists_the_pictures_of_the_reported_run(
    airflow: AirflowEnvironment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nightly = airflow.run("goenhance_face_swap_batch")
    assert nightly.state == "success", nightly.text
    with contextlib.closing(sqlite3.connect(airflow.home / "airflow.db")) as database:
        [(extra,)] = database.execute(
            "SELECT extra FROM asset_event WHERE source_run_id = ?", [nightly.run_id]
        ).fetchall()
    connection = {"conn_type": "sqlite", "host": str(airflow.folder / "results.db")}
    monkeypatch.setenv("AIRFLOW_CONN_GOENHANCE_RESULTS", json.dumps(connection))
    dag = DagBag(EXAMPLES / "downstream.py").dags["goenhance_downstream"]
    event = type("Event", (), {"extra": json.loads(extra)})()

    # Airflow passes events only to runs that it has scheduled on them.
    [run] = dag.get_task("reported_runs").python_callable({"the asset": [event]})
    found = dag.get_task("pictures_of").python_callable(run)

    assert run == {"dag_id": "goenhance_face_swap_batch", "run_id": nightly.run_id}
    assert found == 2
    assert "anna: file://" in capsys.readouterr().out


def test_the_downstream_example_has_nothing_to_do_without_an_event(airflow: AirflowEnvironment) -> None:
    run = airflow.run("goenhance_downstream")

    assert run.values("reported_runs") == [[]]
    assert run.state == "success", run.text


def test_the_taskflow_example_swaps_the_pairs_that_its_function_returns(airflow: AirflowEnvironment) -> None:
    image = airflow.sandbox.image
    scenes = [image("crew.jpg"), f"{image('hopper.jpg')}?{SIGNATURE}"]

    run = airflow.run("goenhance_taskflow", face=image("collins.jpg"), scenes=scenes)

    assert run.state == "success", run.text
    assert [(pair["pair_id"], pair["status"]) for pair in run.values("swap")[0]] == [
        ("scene-1", "succeeded"),
        ("scene-2", "succeeded"),
    ]
    assert run.values("count") == [2]
    assert len(airflow.sandbox.submissions()) == 2
    assert SIGNATURE not in json.dumps(run.xcoms)


# -- the report --------------------------------------------------------------------------------------------------------


def test_the_report_of_a_run_reaches_the_function_of_the_example(airflow: AirflowEnvironment) -> None:
    airflow.sandbox.put_faults(job_seconds=0.1, show_cost=True, cost=3)

    run = airflow.run("goenhance_notify")

    [report] = run.values("report", "report")
    assert report["state"] == "succeeded"
    assert (report["pairs"], report["pictures"], report["credits"], report["submits"]) == (2, 2, 6, 2)
    assert report["text"] == f"goenhance_notify {run.run_id} finished: 2 of 2 pictures; 6 credits spent."
    assert "/goenhance/swaps?dag_id=goenhance_notify&" in report["page"]
    assert report["contact_sheet"]
    assert report["failures_csv"] is None
    assert report["text"] in run.log


def test_the_report_of_a_failed_run_says_why_and_where_the_failures_are(airflow: AirflowEnvironment) -> None:
    airflow.sandbox.put_faults(job={"kind": "failed", "error": "no face", "count": 1}, job_seconds=0.1)

    run = airflow.run("goenhance_notify")

    assert run.state == "failed"
    [report] = run.values("report", "report")
    assert report["state"] == "failed"
    assert report["counts"]["failed"] == 1
    assert report["failures_csv"].endswith("failures.csv")
    assert "1 of 2 pairs did not succeed" in report["error"]
    assert f"{run.run_id} failed: 1 of 2 pictures, 1 failed;" in report["text"]
    assert report["text"] in run.log
    assert SIGNATURE not in json.dumps(run.xcoms)


async def test_a_missed_deadline_says_how_far_the_run_is(
    airflow: AirflowEnvironment, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = await asyncio.to_thread(airflow.run, "goenhance_face_swap_batch", wait=False)
    connection = {"conn_type": "sqlite", "host": str(airflow.folder / "results.db")}
    monkeypatch.setenv("AIRFLOW_CONN_GOENHANCE_RESULTS", json.dumps(connection))

    context = {"dag_run": {"dag_id": "goenhance_face_swap_batch", "dag_run_id": run.run_id}}
    with caplog.at_level("ERROR"):
        # Airflow makes what it returns a tag of a metric.
        assert await log_unfinished_run(context=context) is None  # type: ignore[func-returns-value]

    assert caplog.messages[-1] == (
        f"Run {run.run_id} of Dag goenhance_face_swap_batch has missed its deadline: 2 pairs are not done. "
        f"run {run.run_id}: pairs=2 succeeded=0 reused=0 failed=0 rejected=0 held=0 unknown=0 "
        "submitted=2"
    )


# -- metrics -----------------------------------------------------------------------------------------------------------


def test_a_run_sends_what_it_submitted_paid_and_collected(
    airflow: AirflowEnvironment, statsd: UdpStatsd
) -> None:
    airflow.sandbox.put_faults(
        job={"kind": "failed", "error": "no face", "count": 1}, job_seconds=0.1, show_cost=True, cost=3
    )

    run = airflow.run("goenhance_notify")

    dag = ",dag_id=goenhance_notify"
    assert statsd.sums("goenhance.submits", until=2) == {f"{dag},outcome=accepted": 2.0}
    assert statsd.sums("goenhance.credits", until=2) == {dag: 6.0}
    assert statsd.sums("goenhance.rows", until=2) == {
        f"{dag},status=succeeded": 1.0,
        f"{dag},status=failed": 1.0,
    }
    [seconds] = statsd.of("goenhance.job.seconds", kind="ms")[dag]
    assert seconds >= 0
    assert len(statsd.of("goenhance.collect.seconds", kind="ms")[dag]) >= 1
    [stored] = statsd.of("goenhance.collect.bytes", kind="c")[dag]
    [kept] = [row for row in airflow.rows() if row["result_uri"]]
    assert stored == Path(kept["result_uri"].removeprefix("file://")).stat().st_size
    assert statsd.of("goenhance.leases", kind="c")[f"{dag},outcome=granted"]
    assert set(statsd.of("goenhance.account.pace", kind="g")[dag]) == {1.0}
    assert statsd.of("goenhance.run.rows", kind="g")[f"{dag},status=failed"] == [1.0]
    assert statsd.of("goenhance.run.credits", kind="g") == {dag: [6.0]}
    assert run.state == "failed"


def test_an_answer_429_is_counted_as_a_pause(airflow: AirflowEnvironment, statsd: UdpStatsd) -> None:
    airflow.sandbox.put_faults(submit={"kind": "rate_limited", "count": 1, "retry_after": 1}, job_seconds=0.1)

    airflow.run("goenhance_notify")

    dag = ",dag_id=goenhance_notify"
    assert statsd.of("goenhance.pauses", kind="c") == {dag: [1.0]}
    [milliseconds] = statsd.of("goenhance.pause.seconds", kind="ms")[dag]
    assert milliseconds >= 1000


def test_no_metric_names_a_pair_a_job_or_a_link(airflow: AirflowEnvironment, statsd: UdpStatsd) -> None:
    airflow.run("goenhance_notify")
    statsd.of("goenhance.run.rows", kind="g")
    ours = "\n".join(line for line in statsd.lines if ".goenhance." in line)

    [*uuids] = [row["img_uuid"] for row in airflow.rows()]
    for secret in ("anna", "ben", "pairs.csv", "http", airflow.sandbox.token, *uuids):
        assert secret not in ours
    tags = set(re.findall(r",(\w+)=", ours))
    assert tags <= {"dag_id", "outcome", "status", "hostname"}


# -- lineage -----------------------------------------------------------------------------------------------------------


def events(airflow: AirflowEnvironment, run: DagRunResult, kind: str) -> dict[str, list[dict[str, Any]]]:
    """Return the events of a run's tasks, by the task."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for file in airflow.home.glob("lineage*"):
        for line in file.read_text().splitlines():
            event = json.loads(line)
            task = event["run"]["facets"].get("airflow", {}).get("task", {}).get("task_id")
            run_id = event["run"]["facets"].get("airflow", {}).get("dagRun", {}).get("run_id")
            if event["eventType"] == kind and run_id == run.run_id and task:
                found[task].append(event)
    return found


def names(datasets: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(dataset["namespace"], dataset["name"]) for dataset in datasets]


def test_openlineage_receives_what_each_task_of_a_run_read_and_wrote(airflow: AirflowEnvironment) -> None:
    pytest.importorskip("airflow.providers.openlineage", reason="OpenLineage is not installed")
    run = airflow.run("goenhance_notify")
    assert run.state == "success", run.text

    complete = events(airflow, run, "COMPLETE")

    manifest = ("file", str(airflow.folder / "pairs.csv"))
    table = ("file", f"{airflow.folder / 'results.db'}:goenhance_swaps")
    [plan], swaps, [report] = complete["plan"], complete["swap"], complete["report"]
    assert names(plan["inputs"]) == [manifest]
    assert names(plan["outputs"]) == [table]
    for swap in swaps:
        assert names(swap["inputs"]) == [manifest]
        folder, written = names(swap["outputs"])
        assert folder[0] == "file"
        assert folder[1].startswith(str(airflow.home / "kept"))
        assert written == table
    assert names(report["inputs"]) == [table]
    statistics = [swap["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] for swap in swaps]
    facets = [swap["run"]["facets"]["goenhance_run"] for swap in swaps]
    assert sum(statistics) == sum(facet["pairs"] for facet in facets) == 2
    assert sum(facet["counts"]["succeeded"] for facet in facets) == 2
    of_run = report["run"]["facets"]["goenhance_run"]
    assert (of_run["pairs"], of_run["attempts"]) == (2, 2)
    assert SIGNATURE not in json.dumps(complete)
    assert airflow.sandbox.token not in json.dumps(complete)


def test_openlineage_receives_the_figures_of_a_task_that_fails(airflow: AirflowEnvironment) -> None:
    pytest.importorskip("airflow.providers.openlineage", reason="OpenLineage is not installed")
    airflow.sandbox.put_faults(job={"kind": "failed", "error": "no face", "count": 1}, job_seconds=0.1)

    run = airflow.run("goenhance_notify")

    [report] = events(airflow, run, "FAIL")["report"]
    facet = report["run"]["facets"]["goenhance_run"]
    assert (facet["pairs"], facet["counts"]["failed"], facet["counts"]["succeeded"]) == (2, 1, 1)
    assert names(report["inputs"]) == [("file", f"{airflow.folder / 'results.db'}:goenhance_swaps")]
