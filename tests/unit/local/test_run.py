# SPDX-License-Identifier: Apache-2.0
"""What `make run` prints, and its exit code, for each way a run can end."""

from __future__ import annotations

import datetime as dt
import io
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from rich.console import Console

from airflow_provider_goenhance.results.schema import swaps_table
from include.local.airflow_api import AirflowApi
from include.local.errors import LocalStackError
from include.local.paths import Paths
from include.local.ports import Ports
from include.local.results import RunResults
from include.local.run import DAG_ID, FollowedRun, follow, read_stall_timeout, require_manifest, run_conf
from include.local.settings import ConnectionSetting, Settings
from include.local.stack import Stack

Follow = Callable[..., tuple[int, str]]


@pytest.fixture
def followed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Follow:
    """Follow a run whose Airflow reports the given states; return exit code and output."""

    def do(
        states: list[str],
        *,
        statuses: tuple[str, ...] = (),
        tasks: list[dict[str, Any]] | None = None,
        timeout: float = 60.0,
        requests: list[httpx.Request] | None = None,
    ) -> tuple[int, str]:
        seen = itertools.chain(states, itertools.repeat(states[-1]))

        def answer(request: httpx.Request) -> httpx.Response:
            if requests is not None:
                requests.append(request)
            path = request.url.path
            if path == "/auth/token":
                return httpx.Response(201, json={"access_token": "jwt"})
            if path.endswith("/taskInstances"):
                return httpx.Response(200, json={"task_instances": tasks or []})
            if "/logs/" in path:
                task_id = path.split("/")[-3]
                error = {"error_detail": [{"exc_type": "E", "exc_value": f"{task_id} went wrong"}]}
                return httpx.Response(200, json={"content": [error]})
            return httpx.Response(200, json={"state": next(seen)})

        results = RunResults(results_table(tmp_path, statuses), DAG_ID, "r1")
        this = FollowedRun(
            run_id="r1",
            stack=Stack("run", Ports(), dt.datetime.now(dt.UTC).isoformat()),
            api=AirflowApi("http://127.0.0.1:8080", "secret", transport=httpx.MockTransport(answer)),
            results=results,
            paths=Paths(tmp_path),
            console=Console(file=(output := io.StringIO()), width=200),
        )
        code = follow(this, stall_timeout=timeout, poll_interval=0.0)
        results.close()
        return code, output.getvalue() + capsys.readouterr().out

    return do


def results_table(folder: Path, statuses: tuple[str, ...]) -> ConnectionSetting:
    path = folder / "results.db"
    engine, table = sa.create_engine(f"sqlite:///{path}"), swaps_table()
    table.metadata.create_all(engine)
    common = {"dag_id": DAG_ID, "run_id": "r1", "source_img": "s", "reference_img": "r"}
    with engine.begin() as writing:
        for number, status in enumerate(statuses):
            own = {"swap_id": str(number), "pair_id": f"p{number}", "pair_fingerprint": "f", "status": status}
            writing.execute(table.insert(), {**common, **own, "attempts": 0, "row_number": number})
    engine.dispose()
    return ConnectionSetting("goenhance_results", "sqlite", str(path))


def test_a_run_that_succeeds_exits_with_zero_and_ends_with_its_counts(followed: Follow) -> None:
    code, output = followed(["queued", "running", "success"], statuses=("succeeded", "failed"))
    assert code == 0
    last = output.splitlines()[-1]
    assert last == "run r1: pairs=2 succeeded=1 reused=0 failed=1 rejected=0 held=0 unknown=0"


def test_a_run_that_fails_exits_with_one_says_why_and_still_ends_with_its_counts(followed: Follow) -> None:
    tasks = [{"task_id": "plan", "try_number": 1, "map_index": -1, "rendered_map_index": None}]
    code, output = followed(["running", "failed"], tasks=tasks)
    assert code == 1
    assert "  plan: plan went wrong" in output
    assert "Task logs: .local/airflow/logs/" in output
    assert output.splitlines()[-1].startswith("run r1: pairs=0 ")


def test_an_error_shared_by_many_mapped_tasks_is_printed_once(followed: Follow) -> None:
    tasks = [
        {"task_id": "swap", "try_number": 1, "map_index": n, "rendered_map_index": f"pair {n}"}
        for n in range(5)
    ]
    _, output = followed(["failed"], tasks=tasks)
    assert "  swap [pair 0, pair 1, pair 2 and 2 more]: swap went wrong" in output
    assert output.count("went wrong") == 1


def test_a_run_without_any_change_is_marked_failed(followed: Follow) -> None:
    requests: list[httpx.Request] = []
    code, output = followed(["running"], timeout=0.05, requests=requests)
    assert code == 1
    assert "Nothing has changed for 0.05 s" in output
    assert "RUN_TIMEOUT" in output
    assert ".local/logs/" in output
    assert [request.content for request in requests if request.method == "PATCH"] == [b'{"state":"failed"}']


def test_a_missing_manifest_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(LocalStackError, match=r"manifest none\.csv does not exist"):
        require_manifest(Paths(tmp_path), "none.csv")


@pytest.mark.parametrize("manifest", [None, "s3://bucket/pairs.csv"])
def test_a_manifest_that_is_not_a_local_path_is_left_to_airflow(tmp_path: Path, manifest: str | None) -> None:
    require_manifest(Paths(tmp_path), manifest)


@pytest.mark.parametrize("text", ["soon", "0", "-5", "inf", "nan"])
def test_a_timeout_that_is_no_number_of_seconds_is_refused(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUN_TIMEOUT", text)
    with pytest.raises(
        LocalStackError, match=f"RUN_TIMEOUT must be a positive number of seconds; got '{text}'"
    ):
        read_stall_timeout()


def test_the_timeout_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUN_TIMEOUT", "12.5")
    assert read_stall_timeout() == 12.5


def test_without_any_manifest_the_variable_to_add_is_named(tmp_path: Path) -> None:
    with pytest.raises(LocalStackError, match="variable goenhance_manifest"):
        run_conf(Settings(), None, Paths(tmp_path), Ports())
