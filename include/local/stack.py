# SPDX-License-Identifier: Apache-2.0
"""The stack: a sandbox and the four components of Airflow, started and stopped together."""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

import httpx

from include.local import distributed, processes
from include.local.airflow_api import AirflowApi
from include.local.distributed import Services
from include.local.environment import Secrets, load_secrets, stack_environment
from include.local.errors import LocalStackError
from include.local.paths import Executor, Paths
from include.local.ports import Ports, require_free
from include.local.processes import Component
from include.local.signals import shielded

Owner = Literal["up", "run"]
Report = Callable[[str], None]

START_TIMEOUT = 180.0
_SANDBOX = "sandbox"
_AIRFLOW = [sys.executable, "-m", "airflow"]
# Components that start tasks stop first, then those that run them; those that running tasks report to stop last.
_STOP_ORDER = (
    ("scheduler", "triggerer", "dag-processor"),
    distributed.WORKERS,
    ("api-server", _SANDBOX),
    (distributed.VALKEY, distributed.POSTGRES),
)
_GRACE_S = 8.0


@dataclass
class Stack:
    """
    A started stack, as recorded in `.local/stack.json`.

    :param owner: ``up``: runs until `make down`; ``run``: belongs to one `make run` and ends with it
    :param ports: the ports it listens on
    :param since: start time (UTC, ISO 8601)
    :param components: the started programs
    :param services: what `make up EXECUTOR=celery` runs beside Airflow; ``None`` with LocalExecutor
    """

    owner: Owner
    ports: Ports
    since: str
    components: list[Component] = field(default_factory=list)
    services: Services | None = None

    @property
    def executor(self) -> Executor:
        """The executor."""
        return "celery" if self.services else "local"

    @property
    def started_at(self) -> dt.datetime:
        """Start time."""
        return dt.datetime.fromisoformat(self.since)

    def running(self) -> list[Component]:
        """Return the components with at least one living process."""
        return [component for component in self.components if processes.members(component)]

    def dead(self) -> list[Component]:
        """Return the components whose first process has ended."""
        return [component for component in self.components if not processes.is_running(component)]

    def require_alive(self) -> None:
        """
        Raise if a component has ended.

        :raises LocalStackError: a component has ended; the message quotes the end of its log
        """
        for component in self.dead():
            tail = processes.log_tail(component)
            raise LocalStackError(
                f"{component.name} has stopped unexpectedly. The end of {component.log}:\n{tail}"
            )


def require_whole(stack: Stack) -> None:
    """
    Raise if the stack of `make up` has lost a component.

    :raises LocalStackError: a component has ended
    """
    if dead := stack.dead():
        names = ", ".join(component.name for component in dead)
        raise LocalStackError(
            f"the stack of `make up` is incomplete ({names} stopped): restart it with `make up`"
        )


def read_record(paths: Paths) -> Stack | None:
    """Return the recorded stack, or ``None`` if none of its processes is alive."""
    try:
        record = json.loads(paths.record.read_text())
        stack = Stack(
            record["owner"],
            Ports(**record["ports"]),
            record["since"],
            [Component(**component) for component in record["components"]],
            Services(**record["services"]) if record.get("services") else None,
        )
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise LocalStackError(
            f"{paths.shown(paths.record)} is damaged ({error!r}): find the processes of this checkout "
            "with `ps`, stop them, and delete the file"
        ) from error
    return stack if stack.running() else None


def write_record(paths: Paths, stack: Stack) -> None:
    """Record a stack, so that any later command finds its processes."""
    partial = paths.record.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(stack), indent=2) + "\n")
    partial.rename(paths.record)


@contextlib.contextmanager
def sole_starter(paths: Paths, command: str) -> Iterator[None]:
    """
    Hold the lock that allows one command at a time to start a stack in this checkout.

    :param command: name of the command, shown to others that need the lock
    :raises LocalStackError: another command holds the lock
    """
    paths.local.mkdir(exist_ok=True)
    with paths.lock.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise LocalStackError(
                f"{lock.read() or 'another make'} is running in this checkout: wait for it to end"
            ) from None
        lock.truncate(0)
        lock.write(f"make {command} (process {os.getpid()})")
        lock.flush()
        yield


def start(paths: Paths, ports: Ports, owner: Owner, report: Report) -> Stack:
    """
    Start the sandbox and Airflow and return without waiting for them to be ready.

    Each program is recorded before the next one starts, so that `make down` always finds it.

    :raises LocalStackError: a port is taken, the settings are wrong, or a program cannot be started
    """
    require_free(ports)
    keys = load_secrets(paths)
    services = distributed.choose_services() if paths.executor == "celery" else None
    environment = _environment(paths, ports, keys, services)
    stack = Stack(owner, ports, dt.datetime.now(dt.UTC).isoformat(), services=services)

    def launch(name: str, command: list[str], more: Mapping[str, str] | None = None) -> None:
        log = paths.component_logs / f"{name}.log"
        with shielded():
            component = processes.start(
                name, command, environment={**environment, **(more or {})}, cwd=paths.root, log=log
            )
            stack.components.append(component)
            write_record(paths, stack)

    try:
        report(f"sandbox on {ports.sandbox_url}")
        state, public = str(paths.sandbox_state), str(paths.staging)
        sandbox = [sys.executable, "-m", "include.sandbox", "--port", str(ports.sandbox)]
        launch(_SANDBOX, [*sandbox, "--state-dir", state, "--public", public])
        if services:
            report("PostgreSQL and Valkey")
            for name, (command, more) in distributed.service_commands(paths, keys, services).items():
                launch(name, command, more)
            distributed.wait_for_services(stack.components, keys, services)
        else:
            _allow_concurrent_readers(paths)
        report(f"Airflow on {ports.airflow_url}")
        # The api-server takes longest to start, and needs no database for that.
        launch("api-server", [*_AIRFLOW, "api-server"])
        _prepare(paths, environment)
        # Their log servers would listen on every interface, and all logs are on this disk anyway.
        launch("scheduler", [*_AIRFLOW, "scheduler", "--skip-serve-logs"])
        launch("triggerer", [*_AIRFLOW, "triggerer", "--skip-serve-logs"])
        launch("dag-processor", [*_AIRFLOW, "dag-processor"])
        for name in distributed.WORKERS if services else ():
            launch(name, distributed.worker_command(paths, name))
    except BaseException:
        stop(paths, stack)
        raise
    return stack


def _environment(paths: Paths, ports: Ports, keys: Secrets, services: Services | None) -> dict[str, str]:
    more = distributed.configuration(keys, services) if services else None
    environment = stack_environment(paths, ports, keys, more=more)
    environment |= {"AIRFLOW_PORT": str(ports.airflow), "SANDBOX_PORT": str(ports.sandbox)}
    return environment | (distributed.service_environment(services) if services else {})


def _allow_concurrent_readers(paths: Paths) -> None:
    """Switch the metadata database to a write-ahead log; without it readers and the writer block each other."""
    with contextlib.closing(sqlite3.connect(paths.metadata)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")


def _prepare(paths: Paths, environment: dict[str, str]) -> None:
    log = paths.component_logs / "prepare.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as output:
        command = [sys.executable, "-m", "include.local.prepare"]
        done = subprocess.run(  # noqa: S603
            command, cwd=paths.root, env=environment, stdout=output, stderr=subprocess.STDOUT, check=False
        )
    if done.returncode:
        last = (log.read_text(errors="replace").strip().splitlines() or ["no message"])[-1]
        database = paths.metadata if paths.executor == "local" else paths.local / distributed.POSTGRES
        raise LocalStackError(
            f"Airflow's metadata database could not be prepared: {last} (log: {paths.shown(log)}; if an "
            f"interrupted start damaged it, delete {paths.shown(database)})"
        )


def wait_until_healthy(stack: Stack, api: AirflowApi, *, timeout: float = START_TIMEOUT) -> None:
    """
    Wait until all components report healthy and the sandbox answers.

    :param timeout: seconds
    :raises LocalStackError: a component ended, or not all are healthy in time
    """
    deadline = time.monotonic() + timeout
    while True:
        stack.require_alive()
        health = {**api.health(since=stack.started_at), _SANDBOX: sandbox_health(stack.ports)}
        health |= distributed.worker_health(stack.components)
        waiting = {name: state for name, state in health.items() if state != "healthy"}
        if not waiting:
            return
        if time.monotonic() > deadline:
            states = ", ".join(f"{name}: {state}" for name, state in waiting.items())
            raise LocalStackError(f"not healthy after {timeout:.0f} s: {states}")
        time.sleep(0.3)


def wait_for_dag(stack: Stack, api: AirflowApi, dag_id: str, *, timeout: float = START_TIMEOUT) -> None:
    """
    Wait until the dag-processor of this stack has read a Dag.

    :param timeout: seconds
    :raises LocalStackError: its file cannot be imported, a component ended, or it takes too long
    """
    deadline = time.monotonic() + timeout
    while True:
        stack.require_alive()
        if api.health()["metadatabase"] == "healthy":
            dag = api.dag(dag_id)
            if dag and dt.datetime.fromisoformat(dag["last_parsed_time"]) > stack.started_at:
                return
            broken = api.import_errors(since=stack.started_at)
            if broken:
                raise LocalStackError("Airflow cannot import these files:\n  " + "\n  ".join(broken))
        if time.monotonic() > deadline:
            raise LocalStackError(
                f"Airflow has not found the Dag {dag_id} within {timeout:.0f} s: check that its file is in dags/"
            )
        time.sleep(0.3)


def sandbox_health(ports: Ports) -> str:
    """Return the health of the sandbox: ``healthy``, ``unhealthy`` or ``no answer``."""
    try:
        answer = httpx.get(f"{ports.sandbox_url}/health", timeout=5.0, trust_env=False)
    except httpx.HTTPError:
        return "no answer"
    return "healthy" if answer.status_code == httpx.codes.OK else "unhealthy"


def stop(paths: Paths, stack: Stack) -> list[str]:
    """
    Stop all processes of a stack and delete its record.

    :returns: names of the components that had to be killed
    :raises LocalStackError: a process survives
    """
    killed: list[str] = []
    with shielded():
        for names in _STOP_ORDER:
            group = [component for component in stack.components if component.name in names]
            killed += processes.stop(group, grace=_GRACE_S)
        paths.record.unlink(missing_ok=True)
    return killed
