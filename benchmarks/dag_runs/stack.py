# SPDX-License-Identifier: Apache-2.0
"""One Airflow and one sandbox for all sides of the comparison."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from benchmarks.dag_runs.meter import Meter
from include.sandbox.process import SandboxProcess
from tests.system.postgres import connection_of, postgres_database
from tests.system.real_airflow import ROOT, RealAirflow, wait_until

OURS = "goenhance_face_swap_batch"
DAGS = (OURS, "http_expand", "async_task")
OPEN = ("queued", "running")
PICTURES = ("collins.jpg", "crew.jpg")


@dataclass(frozen=True)
class Run:
    """The figures of one Dag run."""

    seconds: float
    cpu: dict[str, float]
    peak_mib: dict[str, float]
    #: Task id -> seconds from the start of the run to its first start and to its last end.
    stages: dict[str, tuple[float, float]]


class Stack:
    """
    What the runs of all sides share.

    :param airflow: a started Airflow
    :param sandbox: a started sandbox in load mode
    :param folder: where manifests and pictures go
    """

    def __init__(self, airflow: RealAirflow, sandbox: SandboxProcess, folder: Path) -> None:
        self.airflow = airflow
        self.sandbox = sandbox
        self.folder = folder
        self.pictures = folder / "swaps"
        self._metadata = sa.create_engine(airflow.environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"])
        self._runs = 0

    def close(self) -> None:
        """Close the connection to the metadata database."""
        self._metadata.dispose()

    def meter(self) -> Meter:
        """Return a meter for all processes of the stack."""
        components = {name: part.pid for name, part in self.airflow.components.items()}
        return Meter({**components, "sandbox": self.sandbox.pid})

    def new_manifest(self, pairs: int) -> Path:
        """Write pairs that no run has had before. Only our report fetches the pictures, for its contact sheet."""
        self._runs += 1
        path = self.folder / f"manifest-{self._runs}.csv"
        lines = ["pair_id,source_img,reference_img"]
        face, scene = (self.sandbox.image(name) for name in PICTURES)
        lines += [f"p{n},{face}?n={self._runs}-{n},{scene}?n={self._runs}-{n}" for n in range(pairs)]
        path.write_text("\n".join(lines) + "\n")
        return path

    def run(self, dag_id: str, pairs: int, conf: dict[str, Any], *, deadline: float) -> Run:
        """
        Run a Dag over new pairs, and return its figures.

        :raises SystemExit: when the run failed, or did not submit each pair once
        """
        self.sandbox.reset()
        manifest = self.new_manifest(pairs)
        run_id = f"run-{self._runs}"
        meter = self.meter()
        meter.start()
        self.airflow.api.trigger(dag_id, run_id, {"manifest": str(manifest), **conf})
        end = time.monotonic() + deadline
        while (state := self._state(dag_id, run_id)) in OPEN:
            if time.monotonic() > end:
                raise SystemExit(f"{dag_id} with {pairs} pairs did not end within {deadline:.0f} s.")
            time.sleep(0.1)
        cpu, peaks = meter.stop()
        accepted = len(self.sandbox.submissions())
        manifest.unlink()
        if state != "success" or accepted != pairs:
            raise SystemExit(f"{dag_id} with {pairs} pairs: state {state}, {accepted} submits accepted.")
        seconds, stages = self._times(dag_id, run_id)
        return Run(seconds, cpu, peaks, stages)

    def _state(self, dag_id: str, run_id: str) -> str:
        query = sa.text("SELECT state FROM dag_run WHERE dag_id = :dag_id AND run_id = :run_id")
        with self._metadata.connect() as connection:
            return str(connection.execute(query, {"dag_id": dag_id, "run_id": run_id}).scalar_one())

    def _times(self, dag_id: str, run_id: str) -> tuple[float, dict[str, tuple[float, float]]]:
        table = sa.Table("dag_run", sa.MetaData(), autoload_with=self._metadata)
        tasks = sa.Table("task_instance", sa.MetaData(), autoload_with=self._metadata)
        with self._metadata.connect() as connection:
            query = sa.select(table.c.queued_at, table.c.end_date).where(
                table.c.dag_id == dag_id, table.c.run_id == run_id
            )
            queued, ended = connection.execute(query).one()
            query = (
                sa.select(tasks.c.task_id, sa.func.min(tasks.c.start_date), sa.func.max(tasks.c.end_date))
                .where(tasks.c.dag_id == dag_id, tasks.c.run_id == run_id, tasks.c.end_date.is_not(None))
                .group_by(tasks.c.task_id)
            )
            stages = {
                task: ((first - queued).total_seconds(), (last - queued).total_seconds())
                for task, first, last in connection.execute(query)
            }
        return (ended - queued).total_seconds(), stages


def _settings(folder: Path, sandbox: SandboxProcess, at_once: int, slots: int) -> dict[str, str]:
    token = {"Authorization": f"Bearer {sandbox.token}"}
    return {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        "AIRFLOW__CORE__PARALLELISM": str(slots),
        # Parsing the Dags again and again would disturb the measurement.
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "3600",
        "AIRFLOW__GOENHANCE__STORAGE": str(folder / "swaps"),
        "AIRFLOW_CONN_GOENHANCE_HTTP": json.dumps({"conn_type": "http", "host": sandbox.url, "extra": token}),
        "AIRFLOW_CONN_GOENHANCE_DEFAULT": json.dumps(
            {
                "conn_type": "goenhance",
                "host": sandbox.url,
                "password": sandbox.token,
                "extra": {"max_concurrency": at_once, "max_downloads": at_once},
            }
        ),
    }


@contextmanager
def started_stack(
    folder: Path, *, at_once: int, database: str, slots: int, **switches: Any
) -> Iterator[Stack]:
    """
    Start everything, and stop it afterwards.

    :param at_once: requests at once that the account may make
    :param database: ``sqlite`` or ``postgres``, for metadata and results
    :param slots: tasks that run at the same time
    :param switches: switches of the sandbox
    """
    dags = folder / "dags"
    dags.mkdir()
    shutil.copy(ROOT / "dags/face_swap_batch.py", dags)
    shutil.copy(ROOT / "benchmarks/dag_runs/dags/peers.py", dags)
    with ExitStack() as stack:
        sandbox = stack.enter_context(SandboxProcess(credits=10**9, **switches))
        settings = _settings(folder, sandbox, at_once, slots)
        if database == "postgres":
            start = stack.enter_context(postgres_database())
            results, metadata = start().url, start().url
            settings["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = metadata.render_as_string(hide_password=False)
            settings["AIRFLOW_CONN_GOENHANCE_RESULTS"] = connection_of(results)
        else:
            settings["AIRFLOW_CONN_GOENHANCE_RESULTS"] = f"sqlite:///{folder / 'results.db'}"
        airflow = stack.enter_context(RealAirflow(folder / "airflow", dags, settings))
        for dag_id in DAGS:
            wait_until(
                lambda name=dag_id: airflow.api.dag(name) is not None, seconds=120, what=f"Dag {dag_id}"
            )  # type: ignore[misc]
        ready = Stack(airflow, sandbox, folder)
        stack.callback(ready.close)
        yield ready
