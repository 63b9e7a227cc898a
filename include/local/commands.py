# SPDX-License-Identifier: Apache-2.0
"""`make up`, `make down` and `make status`: a stack that keeps running for the UI."""

from __future__ import annotations

import contextlib

from rich.console import Console
from rich.table import Table

from include.local import distributed, processes
from include.local import stack as stacks
from include.local.airflow_api import AirflowApi
from include.local.environment import load_secrets, passwords
from include.local.errors import LocalStackError
from include.local.paths import Paths
from include.local.ports import chosen_ports
from include.local.run import DAG_ID
from include.local.stack import Stack
from include.local.written_settings import kept_lines


def up(paths: Paths, console: Console) -> int:
    """
    Start the stack and return once it is healthy. A running stack is kept.

    :raises LocalStackError: the stack cannot be started; nothing is left running
    """
    paths = paths.with_executor(distributed.chosen_executor())
    with stacks.sole_starter(paths, "up"):
        stack = stacks.read_record(paths)
        if stack and (stack.owner == "run" or stack.dead()):
            console.print("Stopping the remains of an earlier stack.")
            stacks.stop(paths, stack)
            stack = None
        if stack:
            _require_same_executor(paths, stack)
            console.print("The stack is already running.")
        started = stack or stacks.start(
            paths, chosen_ports(), "up", lambda what: console.print(f"Starting {what}")
        )
        try:
            with contextlib.closing(_api(paths, started)) as api:
                stacks.wait_until_healthy(started, api)
                stacks.wait_for_dag(started, api, DAG_ID)
        except BaseException:
            if not stack:
                stacks.stop(paths, started)
            raise
    _print_addresses(paths, started, console)
    return 0


def _require_same_executor(paths: Paths, stack: Stack) -> None:
    if stack.executor != paths.executor:
        raise LocalStackError(
            f"the stack that is running has EXECUTOR={stack.executor}, not {paths.executor}: stop it first, with "
            "make down"
        )


def down(paths: Paths, console: Console) -> int:
    """
    Stop the stack.

    :raises LocalStackError: a process does not stop
    """
    stack = stacks.read_record(paths)
    if stack is None:
        console.print("Nothing is running.")
        return 0
    names = [component.name for component in stack.running()]
    killed = stacks.stop(paths, stack)
    console.print(
        f"Stopped: {', '.join(names)}." + (f" Killed after a timeout: {', '.join(killed)}." if killed else "")
    )
    return 0


def status(paths: Paths, console: Console) -> int:
    """Show the components, their ports and their health; return 1 if a component is stopped or unhealthy."""
    stack = stacks.read_record(paths)
    if stack is None:
        console.print("Nothing is running. Start the stack with: make up")
        return 0
    with contextlib.closing(_api(paths, stack)) as api:
        health = api.health(since=stack.started_at)
    health["api-server"] = "healthy" if health["metadatabase"] != "no answer" else "no answer"
    health["sandbox"] = stacks.sandbox_health(stack.ports)
    health |= distributed.worker_health(stack.components)
    if stack.services:
        health |= distributed.service_health(load_secrets(paths), stack.services)
    table = Table(
        title=f"Started by make {stack.owner}, {stack.started_at:%Y-%m-%d %H:%M:%S} UTC", title_justify="left"
    )
    for heading in ("component", "process", "health", "log"):
        table.add_column(heading, overflow="fold")
    healthy = True
    for component in stack.components:
        alive = processes.is_running(component)
        state = (
            health.get(component.name.replace("-", "_"), health.get(component.name, "")) if alive else "ended"
        )
        healthy = healthy and state == "healthy"
        table.add_row(component.name, str(component.pid), state, paths.shown(component.log))
    console.print(table)
    _print_addresses(paths, stack, console)
    return 0 if healthy else 1


def _api(paths: Paths, stack: Stack) -> AirflowApi:
    return AirflowApi(stack.ports.airflow_url, load_secrets(paths).password, check=stack.require_alive)


def _print_addresses(paths: Paths, stack: Stack, console: Console) -> None:
    load_secrets(paths)
    for line in (
        f"Airflow   {stack.ports.airflow_url}",
        *(f"          user {name}, password {password}" for name, password in passwords(paths).items()),
        *kept_lines(paths.with_executor(stack.executor)),
        f"Sandbox   {stack.ports.sandbox_url}",
        *(distributed.address_lines(stack.services) if stack.services else ()),
        f"Logs      {paths.shown(paths.component_logs)}/ and, for tasks, {paths.shown(paths.task_logs)}/",
        "Stop with make down",
    ):
        console.print(line, markup=False, soft_wrap=True)
