# SPDX-License-Identifier: Apache-2.0
"""From the wheel to a picture as a newcomer does it: `airflow standalone`, the connection, the Dag of the README."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from include.sandbox.process import SandboxProcess
from tests.system.packaging.conftest import ROOT
from tests.system.real_airflow import free_port, wait_until

README = ROOT / "README.md"


def dag_of_the_readme(sandbox: SandboxProcess) -> str:
    """Return the Dag of the README as it stands there, but for the addresses of the pictures."""
    [code] = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    for name, picture in (("face", "collins_closeup"), ("scene", "hopper")):
        address = f"https://example.com/{name}.jpg"
        assert address in code
        code = code.replace(address, sandbox.image(f"{picture}.jpg"))
    return str(code)


class Standalone:
    """`airflow standalone` in the clean environment, and its REST API."""

    def __init__(self, airflow: Path, home: Path) -> None:
        self.airflow, self.home, self.port = airflow, home, free_port()
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AIRFLOW_", "_AIRFLOW_", "PYTHON", "VIRTUAL_ENV"))
        }
        self.environment = clean | {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{self.port}/execution/",
            "AIRFLOW__CORE__HOSTNAME_CALLABLE": "socket.gethostname",
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{self.port}",
            # As in an activated environment: standalone looks for `airflow` on the path.
            "PATH": os.pathsep.join([str(airflow.parent), os.environ.get("PATH", os.defpath)]),
            "NO_PROXY": "127.0.0.1",
        }
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60, trust_env=False)

    def __enter__(self) -> Standalone:
        self.log = (self.home.parent / "standalone.log").open("w")
        self.process = subprocess.Popen(
            [str(self.airflow), "standalone"],
            cwd=self.home,
            env=self.environment,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        # The whole group: standalone leaves its children behind when it is ended alone.
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, number)
            except ProcessLookupError:
                break
            time.sleep(5)
        self.process.wait(30)
        self.http.close()
        self.log.close()

    def said(self) -> str:
        return (self.home.parent / "standalone.log").read_text(errors="replace")[-4000:]

    def healthy(self) -> bool:
        assert self.process.poll() is None, self.said()
        try:
            health = self.http.get("/api/v2/monitor/health").json()
        except (httpx.HTTPError, ValueError):
            return False
        return all(
            (health.get(name) or {}).get("status") == "healthy"
            for name in ("metadatabase", "scheduler", "triggerer", "dag_processor")
        )

    def log_in(self) -> None:
        """Log in with the password that standalone has generated."""
        [(user, password)] = json.loads(
            (self.home / "simple_auth_manager_passwords.json.generated").read_text()
        ).items()
        answer = self.http.post("/auth/token", json={"username": user, "password": password})
        assert answer.is_success, answer.text
        self.http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def call(self, method: str, path: str, **options: Any) -> Any:
        answer = self.http.request(method, f"/api/v2{path}", **options)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()


@pytest.fixture
def standalone(clean_python: Path, tmp_path: Path) -> Iterator[Standalone]:
    home = tmp_path / "airflow"
    (home / "dags").mkdir(parents=True)
    with Standalone(clean_python.with_name("airflow"), home) as running:
        yield running


def test_a_newcomer_gets_a_picture_from_the_wheel_and_the_dag_of_the_readme(
    standalone: Standalone, goenhance_sandbox_factory: Callable[..., SandboxProcess]
) -> None:
    sandbox = goenhance_sandbox_factory(engine="mesh")
    (standalone.home / "dags" / "my_face_swaps.py").write_text(dag_of_the_readme(sandbox))
    wait_until(standalone.healthy, seconds=240, what="a healthy Airflow")
    standalone.log_in()

    # What the form of the connection sends: the type, its fields, and Test before Save.
    connection = {
        "connection_id": "goenhance_default",
        "conn_type": "goenhance",
        "host": "http://127.0.0.1",
        "port": sandbox.port,
        "password": sandbox.token,
        "extra": json.dumps({"max_concurrency": 4, "account_name": "newcomer"}),
    }
    hooks = standalone.http.get("/ui/connections/hook_meta")
    form = next(hook for hook in hooks.json() if hook["connection_type"] == "goenhance")
    tested = standalone.call("POST", "/connections/test", json=connection)
    standalone.call("POST", "/connections", json=connection)

    def parsed() -> bool:
        return standalone.http.get("/api/v2/dags/my_face_swaps").is_success

    wait_until(parsed, seconds=120, what="the Dag of the README")
    body = {"dag_run_id": "first", "logical_date": None}
    standalone.call("POST", "/dags/my_face_swaps/dagRuns", json=body)

    def ended() -> bool:
        state = standalone.call("GET", "/dags/my_face_swaps/dagRuns/first")["state"]
        return state not in {"queued", "running"}

    wait_until(ended, seconds=240, what="the end of the run")

    run = standalone.call("GET", "/dags/my_face_swaps/dagRuns/first")
    pictures = list((standalone.home / "goenhance_swaps").rglob("*.jp*g"))
    assert form["hook_name"] == "GoEnhance"
    assert {"max_concurrency", "account_name"} <= set(form["extra_fields"])
    assert tested["status"] is True, tested
    assert run["state"] == "success", standalone.said()
    assert len(sandbox.submissions()) == 1
    assert pictures
    path = "/dags/my_face_swaps/dagRuns/first/taskInstances/swap/xcomEntries/return_value"
    returned = standalone.call("GET", path, params={"map_index": 0})
    assert sandbox.submissions()[0]["img_uuid"] in str(returned["value"])
