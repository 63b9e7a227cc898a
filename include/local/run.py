# SPDX-License-Identifier: Apache-2.0
"""`make run`: trigger one run of the nightly batch Dag, follow it to its end, and report the result."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from airflow_provider_goenhance.execution.messages import counts_line
from include.local import stack as stacks
from include.local.airflow_api import AirflowApi
from include.local.distributed import with_results_in_postgres
from include.local.environment import load_secrets
from include.local.errors import Interrupted, LocalStackError
from include.local.paths import Paths
from include.local.ports import Ports, chosen_ports
from include.local.progress import SHOWN_ROWS, RunProgress, results_table
from include.local.results import RunResults
from include.local.settings import (
    API_CONNECTION,
    MANIFEST_VARIABLE,
    RESULTS_CONNECTION,
    Settings,
    fit,
    local_manifest,
    read_settings,
)
from include.local.stack import Stack
from include.local.written_settings import kept_lines, with_stored_connections

DAG_ID = "goenhance_face_swap_batch"
# A run is given up after this many seconds without a change of its state or of any row.
STALL_TIMEOUT = 300.0
POLL_INTERVAL = 0.5
_SHOWN_ERRORS = 8


@dataclass(frozen=True)
class FollowedRun:
    """A triggered run and what is needed to follow it."""

    run_id: str
    stack: Stack
    api: AirflowApi
    results: RunResults
    paths: Paths
    console: Console

    def print_line(self, text: str) -> None:
        """Print a line verbatim: without wrapping, colours or markup."""
        self.console.print(text, highlight=False, soft_wrap=True, markup=False)


def run(paths: Paths, manifest: str | None, console: Console) -> int:
    """
    Run the batch Dag on a manifest and show its progress and results.

    :param manifest: path or URL; ``None``: the default that the variable names
    :returns: exit code: 0 only if the run succeeded
    :raises LocalStackError: it could not be started
    """
    settings = read_settings(paths.settings)
    require_manifest(paths, manifest)
    timeout = read_stall_timeout()
    with _stack(paths, console) as stack:
        api = AirflowApi(stack.ports.airflow_url, load_secrets(paths).password, check=stack.require_alive)
        with contextlib.closing(api):
            stacks.wait_for_dag(stack, api, DAG_ID)
            fitted = fit(settings, paths.root, stack.ports)
            keys = load_secrets(paths)
            if stack.services:
                fitted = with_results_in_postgres(fitted, keys, stack.services)
            else:
                fitted = with_stored_connections(fitted, paths, keys.fernet_key)
            run_id = f"run_{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%S%f}"
            results = RunResults(fitted.connection(RESULTS_CONNECTION), DAG_ID, run_id)
            with contextlib.closing(results):
                this = FollowedRun(run_id, stack, api, results, paths, console)
                _trigger(this, fitted, manifest)
                return follow(this, stall_timeout=timeout)


def require_manifest(paths: Paths, manifest: str | None) -> None:
    """
    Raise if a local manifest is missing, before anything is started.

    :raises LocalStackError: the file does not exist
    """
    if manifest and "://" not in manifest and not (paths.root / manifest).is_file():
        raise LocalStackError(
            f"manifest {manifest} does not exist. Pass a path relative to the project, e.g. "
            "MANIFEST=include/manifests/sample.csv, or a URL such as s3://bucket/pairs.csv"
        )


def read_stall_timeout() -> float:
    """
    Read RUN_TIMEOUT, in seconds.

    :raises LocalStackError: it is not a positive number
    """
    text = os.environ.get("RUN_TIMEOUT", "").strip()
    try:
        seconds = float(text) if text else STALL_TIMEOUT
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < float("inf"):
        raise LocalStackError(f"RUN_TIMEOUT must be a positive number of seconds; got {text!r}")
    return seconds


@contextlib.contextmanager
def _stack(paths: Paths, console: Console) -> Iterator[Stack]:
    """Use the stack of `make up` if it is running; otherwise start one and stop it afterwards."""
    existing = stacks.read_record(paths)
    if existing and existing.owner == "up":
        stacks.require_whole(existing)
        console.print(f"Using the stack of `make up` on {existing.ports.airflow_url}; it keeps running.")
        yield existing
        return
    with stacks.sole_starter(paths, "run"):
        if left_over := stacks.read_record(paths):
            console.print("Stopping the remains of an interrupted run.")
            stacks.stop(paths, left_over)
        stack = stacks.start(paths, chosen_ports(), "run", lambda what: console.print(f"Starting {what}"))
        try:
            yield stack
        finally:
            stacks.stop(paths, stack)


def _trigger(this: FollowedRun, settings: Settings, manifest: str | None) -> None:
    for line in kept_lines(this.paths):
        this.print_line(line)
    if not settings.connection(API_CONNECTION).is_at(this.stack.ports.sandbox_url):
        this.print_line(
            f"Connection {API_CONNECTION} does not point to the sandbox: these swaps may cost credits."
        )
    this.api.unpause(DAG_ID)
    for open_run in this.api.open_runs(DAG_ID):
        this.print_line(f"Airflow first finishes the interrupted run {open_run}; this run starts after it.")
    conf = run_conf(settings, manifest, this.paths, this.stack.ports)
    this.api.trigger(DAG_ID, this.run_id, conf)
    this.print_line(f"Run {this.run_id} of {DAG_ID} on {this.paths.shown(conf['manifest'])}")


def run_conf(settings: Settings, manifest: str | None, paths: Paths, ports: Ports) -> dict[str, str]:
    """
    Build the run's `conf`: the manifest that was asked for, or the default that the settings name.

    :raises LocalStackError: there is neither
    """
    if manifest:
        return {"manifest": local_manifest(manifest, paths.root, ports)}
    default = settings.variables.get(MANIFEST_VARIABLE)
    if not default:
        raise LocalStackError(
            f"airflow_settings.yaml has no default manifest (variable {MANIFEST_VARIABLE}): "
            "add it, or pass one: make run MANIFEST=..."
        )
    return {"manifest": default}


def follow(
    this: FollowedRun, *, stall_timeout: float = STALL_TIMEOUT, poll_interval: float = POLL_INTERVAL
) -> int:
    """
    Follow the run to its end, print its results, and return the exit code.

    :param stall_timeout: seconds without any change after which the run is given up
    :param poll_interval: seconds between two looks at the run
    """
    try:
        state, problem = _watch(this, stall_timeout, poll_interval), None
    except LocalStackError as error:
        state, problem = "lost", str(error)
    except Interrupted:
        _give_up(this)
        raise
    if state in {"stuck", "lost"}:
        _give_up(this)
    counts = this.results.counts()
    if counts:
        rows = this.results.rows(SHOWN_ROWS)
        this.console.print(results_table(rows, sum(counts.values()), this.paths))
    if state != "success":
        _explain(this, state, problem, stall_timeout)
    print(counts_line(this.run_id, counts), flush=True)
    return 0 if state == "success" else 1


def _watch(this: FollowedRun, stall_timeout: float, poll_interval: float) -> str:
    """Show progress until the run ends; return ``success``, ``failed``, or ``stuck`` if nothing changes any more."""
    last: Any = None
    changed_at = time.monotonic()
    with RunProgress(this.console) as progress:
        while True:
            this.stack.require_alive()
            state, counts = this.api.run_state(DAG_ID, this.run_id), this.results.counts()
            progress.show(state, counts)
            if state not in {"queued", "running"}:
                return state
            if (state, counts) != last:
                last, changed_at = (state, counts), time.monotonic()
            elif time.monotonic() - changed_at > stall_timeout:
                return "stuck"
            time.sleep(poll_interval)


def _give_up(this: FollowedRun) -> None:
    """Mark the run failed; otherwise Airflow would resume it at its next start."""
    with contextlib.suppress(LocalStackError):
        this.api.fail_run(DAG_ID, this.run_id)


def _explain(this: FollowedRun, state: str, problem: str | None, stall_timeout: float) -> None:
    if state == "stuck":
        this.print_line(
            f"Nothing has changed for {stall_timeout:g} s, so this run was marked failed (RUN_TIMEOUT sets the limit)."
        )
    elif problem:
        this.print_line(f"This run cannot be followed to its end: {problem}")
    else:
        this.print_line("The run failed.")
        for line in _task_errors(this)[:_SHOWN_ERRORS]:
            this.print_line(f"  {line}")
    logs = this.paths.task_logs / f"dag_id={DAG_ID}" / f"run_id={this.run_id}"
    this.print_line(
        f"Task logs: {this.paths.shown(logs)}/  Airflow's own: {this.paths.shown(this.paths.component_logs)}/"
    )


def _task_errors(this: FollowedRun) -> list[str]:
    """Return the failed tasks' messages; mapped tasks that share a message share a line."""
    tasks: dict[tuple[str, str], list[str]] = defaultdict(list)
    for task in this.api.failed_tasks(DAG_ID, this.run_id):
        message = this.api.task_error(DAG_ID, this.run_id, task) or "failed; its log contains no error"
        label = task.get("rendered_map_index") or (str(task["map_index"]) if task["map_index"] >= 0 else "")
        tasks[str(task["task_id"]), message].append(label)
    lines = []
    for (task_id, message), labels in tasks.items():
        named = [label for label in labels if label][:3]
        more = f" and {len(labels) - len(named)} more" if named and len(labels) > len(named) else ""
        where = f"{task_id} [{', '.join(named)}{more}]" if named else task_id
        lines.append(f"{where}: {message}")
    return lines
