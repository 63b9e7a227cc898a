# SPDX-License-Identifier: Apache-2.0
"""A task on a sandbox, and a real Airflow to run Dags in."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from include.sandbox.process import SandboxProcess

from .airflow_environment import AirflowEnvironment
from .light_runner import LightTask


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Set the two connections, as environment variables do."""

    def set_(
        sandbox: SandboxProcess, *, token: str | None = None, port: int | None = None, **extra: Any
    ) -> None:
        conn = {
            "conn_type": "goenhance",
            "host": "http://127.0.0.1",
            "port": port or sandbox.port,
            "password": sandbox.token if token is None else token,
            "extra": {
                "request_timeout": 60,
                "max_concurrency": 1,
                "submit_attempts": 2,
                "get_attempts": 2,
                **extra,
            },
        }
        results = {"conn_type": "sqlite", "host": str(tmp_path / "results.db")}
        monkeypatch.setenv("AIRFLOW_CONN_GOENHANCE_DEFAULT", json.dumps(conn))
        monkeypatch.setenv("AIRFLOW_CONN_GOENHANCE_RESULTS", json.dumps(results))

    return set_


@pytest.fixture
def task(
    goenhance_sandbox_shared: SandboxProcess,
    connect: Callable[..., None],
    tmp_path: Path,
) -> Callable[..., LightTask]:
    """Make a task; the client gives up after two attempts."""
    connect(goenhance_sandbox_shared)

    def make(**options: Any) -> LightTask:
        return LightTask(goenhance_sandbox_shared, tmp_path, **options)

    return make


@pytest.fixture(scope="session")
def _airflow_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowEnvironment]:
    with AirflowEnvironment(tmp_path_factory.mktemp("airflow"), test_dags=True) as airflow:
        yield airflow


@pytest.fixture
def airflow(
    _airflow_environment: AirflowEnvironment, goenhance_sandbox_shared: SandboxProcess, tmp_path: Path
) -> AirflowEnvironment:
    """Return a real Airflow with a results table of this test's own, connected to the session's sandbox."""
    _airflow_environment.prepare(goenhance_sandbox_shared, tmp_path)
    return _airflow_environment
