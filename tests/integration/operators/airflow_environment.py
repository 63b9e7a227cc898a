# SPDX-License-Identifier: Apache-2.0
"""Run Dags in the process of :mod:`.airflow_process`, and read their results."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa

from include.sandbox.process import SandboxProcess

ROOT = Path(__file__).resolve().parents[3]
START_SECONDS = 180.0
RUN_SECONDS = 180.0


@dataclass
class DagRunResult:
    """A Dag run that has ended."""

    run_id: str
    state: str
    tasks: list[dict[str, Any]]
    xcoms: list[dict[str, Any]]
    errors: list[str]
    log: str

    def states(self, task_id: str) -> list[str]:
        """Return the states of a task's instances, by map index."""
        return [task["state"] for task in self._of(task_id)]

    def tries(self, task_id: str) -> list[int]:
        """Return how often each instance of a task was tried."""
        return [task["try_number"] for task in self._of(task_id)]

    def names(self, task_id: str) -> list[str | None]:
        """Return the names of a task's instances in the UI."""
        return [task["name"] for task in self._of(task_id)]

    def values(self, task_id: str, key: str = "return_value") -> list[Any]:
        """Return an XCom of a task's instances, by map index."""
        found = [x for x in self.xcoms if (x["task_id"], x["key"]) == (task_id, key)]
        return [x["value"] for x in sorted(found, key=lambda x: x["map_index"])]

    @property
    def text(self) -> str:
        """What the tasks raised, and all that was logged."""
        return "\n".join([*self.errors, self.log])

    def _of(self, task_id: str) -> list[dict[str, Any]]:
        return sorted((t for t in self.tasks if t["task_id"] == task_id), key=lambda t: t["map_index"])


class AirflowEnvironment:
    """
    One Airflow with its own metadata database, for all tests of a session.

    :param home: its AIRFLOW_HOME
    :param test_dags: whether it has the Dags of the tests beside the shipped ones
    :param examples: whether it has the Dags to copy from
    :param python: the interpreter of the environment that Airflow runs in
    :param path: further directories on its import path
    :param settings: further environment variables
    """

    def __init__(
        self,
        home: Path,
        *,
        test_dags: bool = False,
        examples: bool = False,
        python: str = sys.executable,
        path: str = os.pathsep.join([str(ROOT), str(ROOT / "plugins")]),
        **settings: str,
    ) -> None:
        self.home = home
        self.test_dags = test_dags
        self.examples = examples
        self.python = python
        self.path = path
        self.settings = settings
        self.sandbox: SandboxProcess
        self.folder: Path
        self._environment: dict[str, str] = {}
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AIRFLOW_", "_AIRFLOW_"))
        }
        dags = [ROOT / "dags", *([Path(__file__).parent / "test_dags"] if self.test_dags else [])]
        if self.examples:
            dags.append(ROOT / "plugins" / "airflow_provider_goenhance" / "example_dags")
        (self.home / "dags").mkdir()
        for folder in dags:
            for file in folder.glob("*.py"):
                (self.home / "dags" / file.name).symlink_to(file)
        environment = clean | {
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
            "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False",
            "AIRFLOW__GOENHANCE__STORAGE": str(self.home / "kept"),
            "TEST_AIRFLOW_PATH": self.path,
            **self.settings,
        }
        self._log = (self.home / "airflow.log").open("w")
        self._process = subprocess.Popen(
            [self.python, str(Path(__file__).with_name("airflow_process.py")), str(self.home / "dags")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=environment,
        )
        self.started = self._answer(START_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait(120)
        self._log.close()

    def prepare(self, sandbox: SandboxProcess, folder: Path, *, manifest: str = "") -> None:
        """Set the sandbox, the results table and the manifest of the next runs."""
        self.sandbox, self.folder = sandbox, folder
        self.connect()
        results = {"conn_type": "sqlite", "host": str(folder / "results.db")}
        self._environment["AIRFLOW_CONN_GOENHANCE_RESULTS"] = json.dumps(results)
        self._environment["AIRFLOW_VAR_GOENHANCE_MANIFEST"] = manifest

    def connect(self, *, token: str | None = None, port: int | None = None, **extra: Any) -> None:
        """Set the GoEnhance connection of the next runs."""
        conn = {
            "conn_type": "goenhance",
            "host": "http://127.0.0.1",
            "port": port or self.sandbox.port,
            "password": token or self.sandbox.token,
            "extra": extra,
        }
        self._environment["AIRFLOW_CONN_GOENHANCE_DEFAULT"] = json.dumps(conn)

    def run(self, dag_id: str, **conf: Any) -> DagRunResult:
        """Run a Dag until it has finished."""
        assert self._process is not None
        assert self._process.stdin is not None
        request = {"dag_id": dag_id, "conf": conf, "environment": self._environment}
        begin = os.fstat(self._log.fileno()).st_size
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._answer(RUN_SECONDS)
        with (self.home / "airflow.log").open() as log:
            log.seek(begin)
            return DagRunResult(**answer, log=log.read())

    def rows(self) -> list[dict[str, Any]]:
        """Read the results table."""
        engine = sa.create_engine(f"sqlite:///{self.folder / 'results.db'}")
        try:
            with engine.connect() as connection:
                query = sa.text("SELECT * FROM goenhance_swaps ORDER BY row_number, pair_id")
                return [dict(row) for row in connection.execute(query).mappings()]
        finally:
            engine.dispose()

    def _answer(self, seconds: float) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], seconds)
        line = self._process.stdout.readline() if ready else ""
        if not line:
            said = (self.home / "airflow.log").read_text()[-4000:]
            raise AssertionError(f"the Airflow of the tests did not respond within {seconds:.0f} s: {said}")
        answer: dict[str, Any] = json.loads(line)
        return answer
