# SPDX-License-Identifier: Apache-2.0
"""`make up EXECUTOR=celery` in a copy of this checkout: up, run, logs in the UI, down."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from include.local import processes
from include.local.airflow_api import AirflowApi
from include.local.environment import load_secrets
from include.local.paths import Paths, this_checkout
from include.local.stack import read_record
from tests.system.real_airflow import free_port

pytest.importorskip("airflow.providers.celery", reason="requirements-celery.txt is not installed")

ROOT = this_checkout().root
DAG_ID = "goenhance_face_swap_batch"

Local = Callable[[str], tuple[int, str]]


@pytest.fixture
def checkout() -> Iterator[Path]:
    """A copy of the checkout without any state, which PostgreSQL's user may enter."""
    with tempfile.TemporaryDirectory(prefix="goenhance-checkout-") as folder:
        copy = Path(folder)
        copy.chmod(0o711)
        for name in ("dags", "plugins", "include"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "airflow_settings.yaml", copy)
        yield copy


@pytest.fixture
def local(checkout: Path) -> Iterator[Local]:
    """Run a command in the copy; the stack is stopped in the end."""
    ports = {"AIRFLOW_PORT": str(free_port()), "SANDBOX_PORT": str(free_port())}
    environment = {**os.environ, **ports, "EXECUTOR": "celery"}

    def run(command: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "include.local", command],
            cwd=checkout,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        return done.returncode, done.stdout + done.stderr

    yield run
    run("down")


def listening(checkout: Path) -> set[str]:
    """Return the addresses on which processes of the stack listen."""
    stack = read_record(Paths(checkout))
    assert stack is not None
    pids = {pid for component in stack.components for pid in processes.members(component)}
    return {
        connection.laddr.ip
        for connection in psutil.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN and connection.pid in pids
    }


def test_a_stack_with_celery_serves_runs_and_ends_whole(local: Local, checkout: Path) -> None:
    code, output = local("up")
    assert code == 0, output
    code, status = local("status")
    assert code == 0, status
    assert status.count(" healthy ") == 9
    assert listening(checkout) == {"127.0.0.1"}
    code, output = local("run")
    assert code == 0, output
    assert output.splitlines()[-1].endswith("failed=1 rejected=0 held=0 unknown=0"), output
    stack = read_record(Paths(checkout))
    assert stack is not None
    api = AirflowApi(stack.ports.airflow_url, load_secrets(Paths(checkout)).password)
    run_id = output.splitlines()[-1].split()[1].rstrip(":")
    log = api._request("GET", f"/api/v2/dags/{DAG_ID}/dagRuns/{run_id}/taskInstances/plan/logs/1")
    api.close()
    assert "planned 16" in log.text.lower() or "16 pairs" in log.text.lower(), log.text
    code, output = local("down")
    assert code == 0, output
    assert "Killed" not in output
    assert [component.name for component in stack.components if processes.members(component)] == []
