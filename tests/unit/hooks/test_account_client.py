# SPDX-License-Identifier: Apache-2.0
"""What the tasks of this package load to use an account, and how often they read its connection."""

from __future__ import annotations

import subprocess
import sys
from typing import Any, ClassVar

import pytest

from airflow_provider_goenhance.hooks import account
from airflow_provider_goenhance.hooks.account import AccountClient

_LOAD = """
import sys
import airflow_provider_goenhance.hooks.account
import airflow_provider_goenhance.operators.face_swap_batch
import airflow_provider_goenhance.execution.attempt
print([name for name in ("requests", "airflow.providers.http.hooks.http", "pandas") if name in sys.modules])
"""


def test_a_swap_task_loads_neither_requests_nor_the_http_provider_nor_pandas() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", _LOAD],
        env={"PYTHONPATH": "plugins"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert loaded.stdout.splitlines()[-1] == "[]"


def test_a_task_reads_its_connection_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Connection:
        conn_id, host, password, login, schema, port = "mine", "https://api.example", "token", "", "", None
        conn_type = "goenhance"
        extra_dejson: ClassVar[dict[str, Any]] = {}

    def get_connection(conn_id: str) -> Any:
        asked.append(conn_id)
        return Connection()

    monkeypatch.setattr(account.BaseHook, "get_connection", get_connection)
    client = AccountClient("mine")

    assert client.account() is client.account()
    assert asked == ["mine"]
