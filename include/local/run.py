# SPDX-License-Identifier: Apache-2.0
"""`make run`: one real run of the nightly batch, watched from its start to its verdict."""

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
from include.local.environment import load_secrets
from include.local.errors import Interrupted, LocalStackError
from include.local.paths import Paths
from include.local.ports import Ports, chosen_ports
from include.local.progress import RunProgress, results_table
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

DAG_ID = "goenhance_face_swap_batch"
# Seconds in which neither the run nor any row moves before we give up.
STALL_TIMEOUT = 300.0
_POLL_S = 0.5
_SHOWN_ERRORS = 8


@dataclass(frozen=True)
class _Run:
    """One triggered run and what is needed to follow it."""

    run_id: str
    stack: Stack
    api: AirflowApi
    results: RunResults
    paths: Paths
    console: Console

    def say(self, text: str) -> None:
        """Print a line as it is: unwrapped, uncoloured, square brackets and all."""
        self.console.print(text, highlight=False, soft_wrap=True, markup=False)


def run(paths: Paths, manifest: str | None, console: Console) -> int:
    """
    Run the batch Dag on a manifest and show what becomes of it.

    :param manifest: path or URL; ``None``: the one that the variable names
    :returns: exit code: 0 only if the run succeeded
    :raises LocalStackError: it could not be started
    """
    settings = read_settings(paths.settings)
    require_manifest(paths, manifest)
    timeout = stall_timeout()
    with _stack(paths, console) as stack:
        api = AirflowApi(stack.ports.airflow_url, load_secrets(paths).password)
        with contextlib.closing(api):
            stacks.wait_for_dag(stack, api, DAG_ID)
            fitted = fit(settings, paths.root, stack.ports)
            run_id = f"run_{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%S%f}"
            results = RunResults(fitted.connection(RESULTS_CONNECTION), DAG_ID, run_id)
            with contextlib.closing(results):
                this = _Run(run_id, stack, api, results, paths, console)
                _trigger(this, fitted, manifest)
                return _follow(this, timeout)


def require_manifest(paths: Paths, manifest: str | None) -> None:
    """
    Refuse a manifest that is not there before anything is started for it.

    :raises LocalStackError: there is no such file
    """
    if manifest and "://" not in manifest and not (paths.root / manifest).is_file():
        raise LocalStackError(
            f"manifest {manifest}: there is no such file. Name one from here, e.g. "
            "MANIFEST=include/manifests/sample.csv, or give a URL such as s3://bucket/pairs.csv"
        )


def stall_timeout() -> float:
    """
    Read RUN_TIMEOUT, in seconds.

    :raises LocalStackError: it is no number of seconds
    """
    text = os.environ.get("RUN_TIMEOUT", "").strip()
    try:
        seconds = float(text) if text else STALL_TIMEOUT
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < float("inf"):
        raise LocalStackError(f"RUN_TIMEOUT={text!r}: give a number of seconds above 0")
    return seconds


@contextlib.contextmanager
def _stack(paths: Paths, console: Console) -> Iterator[Stack]:
    """Use the stack of `make up` if it is there; else start one and stop it afterwards."""
    existing = stacks.read_record(paths)
    if existing and existing.owner == "up":
        stacks.require_whole(existing)
        console.print(f"Using the stack of `make up` on {existing.ports.airflow_url}; it keeps running.")
        yield existing
        return
    with stacks.sole_starter(paths, "run"):
        if left_over := stacks.read_record(paths):
            console.print("Stopping what an interrupted run has left behind.")
            stacks.stop(paths, left_over)
        stack = stacks.start(paths, chosen_ports(), "run", lambda what: console.print(f"Starting {what}"))
        try:
            yield stack
        finally:
            stacks.stop(paths, stack)


def _trigger(this: _Run, settings: Settings, manifest: str | None) -> None:
    if not settings.connection(API_CONNECTION).is_at(this.stack.ports.sandbox_url):
        this.say(f"Connection {API_CONNECTION} does not point at the sandbox: these swaps may be paid ones.")
    this.api.unpause(DAG_ID)
    for open_run in this.api.open_runs(DAG_ID):
        this.say(f"Airflow first ends the run {open_run}, which had been interrupted; this one follows.")
    conf = _conf(settings, manifest, this.paths, this.stack.ports)
    this.api.trigger(DAG_ID, this.run_id, conf)
    this.say(f"Run {this.run_id} of {DAG_ID} on {this.paths.shown(conf['manifest'])}")


def _conf(settings: Settings, manifest: str | None, paths: Paths, ports: Ports) -> dict[str, str]:
    if manifest:
        return {"manifest": local_manifest(manifest, paths.root, ports)}
    default = settings.variables.get(MANIFEST_VARIABLE)
    if not default:
        raise LocalStackError(
            f"airflow_settings.yaml names no default manifest (variable {MANIFEST_VARIABLE}): "
            "add it, or say which one: make run MANIFEST=..."
        )
    return {"manifest": default}


def _follow(this: _Run, timeout: float) -> int:
    """Watch the run to its end, show what became of it, and return the exit code."""
    try:
        state, trouble = _watch(this, timeout), None
    except LocalStackError as error:
        state, trouble = "lost", str(error)
    except Interrupted:
        _give_up(this)
        raise
    if state in {"stuck", "lost"}:
        _give_up(this)
    counts = this.results.counts()
    if counts:
        this.console.print(results_table(this.results.rows(), this.paths))
    if state != "success":
        _explain(this, state, trouble, timeout)
    print(counts_line(this.run_id, counts), flush=True)
    return 0 if state == "success" else 1


def _watch(this: _Run, timeout: float) -> str:
    """Show the run's progress until it ends: ``success``, ``failed``, or ``stuck`` if nothing moves any more."""
    seen: Any = None
    moved = time.monotonic()
    with RunProgress(this.console) as progress:
        while True:
            this.stack.require_alive()
            state, counts = this.api.run_state(DAG_ID, this.run_id), this.results.counts()
            progress.show(state, counts)
            if state not in {"queued", "running"}:
                return state
            if (state, counts) != seen:
                seen, moved = (state, counts), time.monotonic()
            elif time.monotonic() - moved > timeout:
                return "stuck"
            time.sleep(_POLL_S)


def _give_up(this: _Run) -> None:
    """Mark the run failed; otherwise the next start of Airflow would go on with what a person has given up."""
    with contextlib.suppress(LocalStackError):
        this.api.fail_run(DAG_ID, this.run_id)


def _explain(this: _Run, state: str, trouble: str | None, timeout: float) -> None:
    if state == "stuck":
        this.say(f"Nothing has moved for {timeout:g} s, so this run was given up (RUN_TIMEOUT changes that).")
    elif trouble:
        this.say(f"This run cannot be followed to its end: {trouble}")
    else:
        this.say("The run failed.")
        for line in _task_errors(this)[:_SHOWN_ERRORS]:
            this.say(f"  {line}")
    logs = this.paths.task_logs / f"dag_id={DAG_ID}" / f"run_id={this.run_id}"
    this.say(
        f"Task logs: {this.paths.shown(logs)}/  Airflow's own: {this.paths.shown(this.paths.component_logs)}/"
    )


def _task_errors(this: _Run) -> list[str]:
    """Collect the failed tasks' messages, each once, however many mapped tasks it stopped."""
    tasks: dict[tuple[str, str], list[str]] = defaultdict(list)
    for task in this.api.failed_tasks(DAG_ID, this.run_id):
        message = this.api.task_error(DAG_ID, this.run_id, task) or "failed; its log says no more"
        label = task.get("rendered_map_index") or (str(task["map_index"]) if task["map_index"] >= 0 else "")
        tasks[str(task["task_id"]), message].append(label)
    lines = []
    for (task_id, message), labels in tasks.items():
        named = [label for label in labels if label][:3]
        more = f" and {len(labels) - len(named)} more" if named and len(labels) > len(named) else ""
        where = f"{task_id} [{', '.join(named)}{more}]" if named else task_id
        lines.append(f"{where}: {message}")
    return lines
