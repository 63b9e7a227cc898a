# SPDX-License-Identifier: Apache-2.0
"""`make up`, `make down` and `make status`: the stack kept for the UI."""

from __future__ import annotations

import contextlib

from rich.console import Console
from rich.table import Table

from include.local import processes
from include.local import stack as stacks
from include.local.airflow_api import AirflowApi
from include.local.environment import USER, load_secrets
from include.local.paths import Paths
from include.local.ports import chosen_ports
from include.local.run import DAG_ID
from include.local.stack import Stack


def up(paths: Paths, console: Console) -> int:
    """
    Start the stack and return once it is healthy; harmless if it runs already.

    :raises LocalStackError: it cannot be started; nothing is left running then
    """
    with stacks.sole_starter(paths, "up"):
        stack = stacks.read_record(paths)
        if stack and (stack.owner == "run" or stack.dead()):
            console.print("Stopping what is left of an earlier stack.")
            stacks.stop(paths, stack)
            stack = None
        if stack:
            console.print("The stack runs already.")
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
    _tell(paths, started, console)
    return 0


def down(paths: Paths, console: Console) -> int:
    """
    Stop everything that runs.

    :raises LocalStackError: something does not stop
    """
    stack = stacks.read_record(paths)
    if stack is None:
        console.print("Nothing runs here.")
        return 0
    names = [component.name for component in stack.running()]
    killed = stacks.stop(paths, stack)
    console.print(
        f"Stopped: {', '.join(names)}." + (f" Had to be killed: {', '.join(killed)}." if killed else "")
    )
    return 0


def status(paths: Paths, console: Console) -> int:
    """Show what runs, where, and how it is; 1 if a part of the stack is down or unwell."""
    stack = stacks.read_record(paths)
    if stack is None:
        console.print("Nothing runs here. Start it with: make up")
        return 0
    with contextlib.closing(_api(paths, stack)) as api:
        health = api.health(since=stack.started_at)
    health["api-server"] = "healthy" if health["metadatabase"] != "no answer" else "no answer"
    health["sandbox"] = stacks.sandbox_health(stack.ports)
    table = Table(
        title=f"Started by make {stack.owner}, {stack.started_at:%Y-%m-%d %H:%M:%S} UTC", title_justify="left"
    )
    for heading in ("component", "process", "health", "log"):
        table.add_column(heading, overflow="fold")
    well = True
    for component in stack.components:
        alive = processes.is_running(component)
        state = (
            health.get(component.name.replace("-", "_"), health.get(component.name, "")) if alive else "ended"
        )
        well = well and state == "healthy"
        table.add_row(component.name, str(component.pid), state, paths.shown(component.log))
    console.print(table)
    _tell(paths, stack, console)
    return 0 if well else 1


def _api(paths: Paths, stack: Stack) -> AirflowApi:
    return AirflowApi(stack.ports.airflow_url, load_secrets(paths).password)


def _tell(paths: Paths, stack: Stack, console: Console) -> None:
    for line in (
        f"Airflow   {stack.ports.airflow_url}   user {USER}, password {load_secrets(paths).password}",
        f"Sandbox   {stack.ports.sandbox_url}",
        f"Logs      {paths.shown(paths.component_logs)}/ and, of tasks, {paths.shown(paths.task_logs)}/",
        "Stop with make down",
    ):
        console.print(line, markup=False, soft_wrap=True)
