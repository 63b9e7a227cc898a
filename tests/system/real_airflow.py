# SPDX-License-Identifier: Apache-2.0
"""A real Airflow of a test's own: four processes, a temporary home, free ports."""

from __future__ import annotations

import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

import psutil

from include.local import processes
from include.local.airflow_api import AirflowApi
from include.local.environment import load_secrets, stack_environment
from include.local.paths import Paths
from include.local.ports import Ports
from include.local.processes import Component

ROOT = Path(__file__).resolve().parents[2]
AIRFLOW = [sys.executable, "-m", "airflow"]


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_until(condition: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Wait for a condition, with a deadline that names it."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come about within {seconds:.0f} s")
        time.sleep(0.2)


class RealAirflow:
    """
    Scheduler, triggerer, Dag processor and API server, each in a session of its own.

    :param home: an empty folder
    :param dags: the folder with Dags
    :param settings: further environment: connections, variables, options
    """

    def __init__(self, home: Path, dags: Path, settings: Mapping[str, str]) -> None:
        self.paths = Paths(home)
        self.ports = Ports(airflow=free_port(), sandbox=free_port())
        keys = load_secrets(self.paths)
        self.environment = {
            **stack_environment(self.paths, self.ports, keys),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
            "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
            # A worker killed between taking a task and starting it leaves the task queued for that long.
            "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "30",
            "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "5",
            "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
            "AIRFLOW__SCHEDULER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "8",
            **settings,
        }
        self.api = AirflowApi(self.ports.airflow_url, keys.password)
        self.components: dict[str, Component] = {}

    def __enter__(self) -> RealAirflow:
        migrate = subprocess.run(
            [*AIRFLOW, "db", "migrate"], env=self.environment, capture_output=True, text=True, check=False
        )
        assert migrate.returncode == 0, migrate.stderr[-2000:]
        try:
            for name in ("api-server", "scheduler", "triggerer", "dag-processor"):
                self.start(name)
            wait_until(
                lambda: all(state == "healthy" for state in self.api.health().values()),
                seconds=120,
                what="a healthy Airflow",
            )
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self, name: str, *, another: bool = False) -> None:
        """
        Start a component, or start it again.

        :param another: beside the one that runs already
        """
        key = f"{name} {len(self.components)}" if another else name
        self.components[key] = self.launch(name, self.command(name))

    def command(self, name: str) -> list[str]:
        """Return what starts a component."""
        options = ["--skip-serve-logs"] if name in {"scheduler", "triggerer"} else []
        return [*AIRFLOW, name, *options]

    def launch(self, name: str, command: list[str], **settings: str) -> Component:
        """
        Start a program in a session of its own, with a log of its own.

        :param settings: environment beside that of all components
        """
        log = self.paths.component_logs / f"{name}-{time.monotonic_ns()}.log"
        environment = {**self.environment, **settings}
        return processes.start(name, command, environment=environment, cwd=ROOT, log=log)

    def restart(self, name: str) -> None:
        """Kill a component with SIGKILL and start it again."""
        for pid in processes.members(self.components[name]):
            try:
                psutil.Process(pid).kill()
            except psutil.NoSuchProcess:
                continue
        self.start(name)

    def kill_a_worker(self, chance: random.Random) -> str | None:
        """
        Kill a running task with SIGKILL: its own process, or with it the executor's worker that watches over it.

        A worker without a task is spared: it holds the lock of the queue that all workers read from.

        :return: which was killed, ``None`` if no task was running
        """
        scheduler = psutil.Process(self.components["scheduler"].pid)
        busy: list[tuple[psutil.Process, psutil.Process]] = []
        for worker in scheduler.children():
            try:
                busy += [(worker, task) for task in worker.children()]
            except psutil.NoSuchProcess:
                continue
        if not busy:
            return None
        worker, task = chance.choice(busy)
        whole = chance.random() < 0.3
        try:
            if whole:
                worker.kill()
            else:
                task.kill()
        except psutil.NoSuchProcess:
            return None
        return "worker" if whole else "task"

    def terminate_a_task(self, chance: random.Random) -> bool:
        """
        End a running task with SIGTERM, as an eviction or a person does: its process may end in order.

        :return: whether a task was running
        """
        scheduler = psutil.Process(self.components["scheduler"].pid)
        tasks: list[psutil.Process] = []
        for worker in scheduler.children():
            try:
                tasks += worker.children()
            except psutil.NoSuchProcess:
                continue
        if not tasks:
            return False
        try:
            chance.choice(tasks).terminate()
        except psutil.NoSuchProcess:
            return False
        return True

    def close(self) -> None:
        """End everything that was started here."""
        processes.stop(self.components.values(), grace=6.0)
        self.api.close()
