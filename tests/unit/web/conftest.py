# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
from fastapi import FastAPI
from fastapi.testclient import TestClient

from airflow_provider_goenhance.plugin import GoEnhancePlugin
from airflow_provider_goenhance.results.plan import RunKey
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.web import figures, rows, runs
from tests.airflow_versions import no_teams, revoke_nothing, use_auth_manager
from tests.unit.web.serving import PNG, row, write


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch) -> dict[RunKey, str]:
    """The states of runs in Airflow's database, which these tests do not have."""
    known: dict[RunKey, str] = {}
    for module in (runs, rows):
        monkeypatch.setattr(module, "states_of", lambda keys: known)
        monkeypatch.setattr(module, "caps_of_runs", lambda tasks: {})
    return known


@pytest.fixture
def server(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, states: dict[RunKey, str]
) -> Iterator[TestClient]:
    """The plugin mounted as the API server mounts it, on an empty results table."""
    monkeypatch.setenv(
        "AIRFLOW__API_AUTH__JWT_SECRET", "a secret of this test, of sufficient length: " + "x" * 32
    )
    use_auth_manager(monkeypatch, SimpleAuthManager())
    # The two things that the check reads from the metadata database: teams and revoked sessions. There are none.
    no_teams(monkeypatch)
    revoke_nothing(monkeypatch)
    # A test writes rows, looks, and writes again: nothing is remembered between.
    monkeypatch.setattr(figures, "RUNS_SECONDS", 0.0)
    monkeypatch.setattr(figures, "INDEX_SECONDS", 0.0)
    monkeypatch.setenv(
        "AIRFLOW_CONN_GOENHANCE_RESULTS",
        json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "results.db")}),
    )
    app = FastAPI()
    (mounted,) = GoEnhancePlugin.fastapi_apps
    app.mount(mounted["url_prefix"], mounted["app"])
    with TestClient(app, follow_redirects=False) as client:
        yield client


@pytest.fixture
def client(server: TestClient, tmp_path: Path) -> TestClient:
    """The same on a results table of two Dags with a picture each."""
    for dag_id in ("mine", "other"):
        kept = tmp_path / f"{dag_id}.png"
        kept.write_bytes(PNG)
        write(
            row(
                swap_id=f"id-{dag_id}",
                dag_id=dag_id,
                batch=3,
                pair_id=f"pair of {dag_id}",
                pair_fingerprint=dag_id,
                status=Status.SUCCEEDED,
                result_uri=kept.as_uri(),
            )
        )
    return server
