# SPDX-License-Identifier: Apache-2.0
"""A real Airflow with CeleryExecutor: PostgreSQL for metadata and results, Valkey, two workers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from collections.abc import Mapping
from pathlib import Path

import psutil
import sqlalchemy as sa

from include.local import distributed, processes
from include.local.environment import Secrets, load_secrets
from include.local.paths import Paths
from include.local.settings import RESULTS_CONNECTION, Settings
from tests.system.real_airflow import RealAirflow, wait_until


class CeleryAirflow(RealAirflow):
    """
    The components of `make up EXECUTOR=celery`, with free ports and a home of their own.

    :param home: an empty folder
    :param dags: the folder with Dags
    :param settings: further environment: connections, variables, options
    :param workers: names of the workers that are started
    """

    def __init__(
        self,
        home: Path,
        dags: Path,
        settings: Mapping[str, str],
        *,
        workers: tuple[str, ...] = distributed.WORKERS,
    ) -> None:
        self.workers = workers
        self.services = distributed.choose_services()
        self.keys: Secrets = load_secrets(Paths(home))
        # PostgreSQL does not run as root; its user may not enter the folders of pytest.
        self._data = Path(tempfile.mkdtemp(prefix="goenhance-celery-"))
        self._data.chmod(0o711)
        executor = {
            f"AIRFLOW__{section}__{option}".upper(): value
            for (section, option), value in distributed.configuration(self.keys, self.services).items()
        }
        results = {f"AIRFLOW_CONN_{RESULTS_CONNECTION}".upper(): self._results_connection()}
        super().__init__(home, dags, {**executor, **results, **settings})
        self._commands = distributed.service_commands(self.paths, self.keys, self.services)
        command, environment = self._commands[distributed.POSTGRES]
        command[-2] = str(self._data / "postgres")
        self._commands[distributed.POSTGRES] = (command, environment)

    def _results_connection(self) -> str:
        settings = distributed.with_results_in_postgres(Settings(), self.keys, self.services)
        found = settings.connection(RESULTS_CONNECTION)
        return json.dumps({name: value for name, value in vars(found).items() if name != "conn_id"})

    def database(self, name: str) -> sa.Engine:
        """Return an engine for one of the two databases, `airflow` or `goenhance`."""
        url = distributed.database_url(self.keys, self.services, name)
        return sa.create_engine(url, isolation_level="AUTOCOMMIT", pool_pre_ping=True)

    def __enter__(self) -> CeleryAirflow:
        try:
            self.start_services()
            super().__enter__()
            for name in self.workers:
                self.start(name)
            self.wait_for_workers()
        except BaseException:
            self.close()
            raise
        return self

    def start_services(self) -> None:
        """Start PostgreSQL and Valkey where they do not run, and wait until they answer."""
        for name, (command, more) in self._commands.items():
            if name not in self.components or not processes.is_running(self.components[name]):
                self.components[name] = self.launch(name, command, **more)
        services = [self.components[name] for name in self._commands]
        distributed.wait_for_services(services, self.keys, self.services)

    def command(self, name: str) -> list[str]:
        """Return what starts a component."""
        return distributed.worker_command(self.paths, name) if name in self.workers else super().command(name)

    def wait_for_workers(self) -> None:
        """Wait until all workers take tasks."""

        def ready() -> bool:
            states = distributed.worker_health(list(self.components.values()))
            return all(states.get(name) == "healthy" for name in self.workers)

        wait_until(ready, seconds=120, what="workers that take tasks")

    def running_tasks(self, worker: str) -> int:
        """Return how many tasks a worker runs at the moment: each is a process below one of the worker's pool."""
        try:
            pool = psutil.Process(self.components[worker].pid).children()
            return sum(bool(process.children()) for process in pool)
        except psutil.NoSuchProcess:
            return 0

    def restart_ended(self) -> list[str]:
        """Start the components again that have ended, as the supervisor of a deployment does; return their names."""
        ended = [name for name, part in self.components.items() if not processes.is_running(part)]
        for name in ended:
            self.restart(name)
        return ended

    def stop_postgres(self) -> None:
        """End PostgreSQL at once: all connections break, and new ones are refused."""
        postgres = self.components[distributed.POSTGRES]
        os.kill(postgres.pid, signal.SIGQUIT)
        wait_until(lambda: not processes.is_running(postgres), seconds=30, what="the end of PostgreSQL")

    def close(self) -> None:
        """End everything that was started here: the services last."""
        parts = self.components
        first = [part for name, part in parts.items() if name not in self._commands]
        processes.stop(first, grace=6.0)
        processes.stop([part for part in parts.values() if part not in first], grace=6.0)
        self.api.close()
        shutil.rmtree(self._data, ignore_errors=True)
