# SPDX-License-Identifier: Apache-2.0
"""The stack as a whole, in a copy of this checkout on ports of its own: up, run, interrupted run, down."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from include.local.paths import this_checkout

ROOT = this_checkout().root
CLOSING = re.compile(
    r"run (\S+): pairs=(\d+) succeeded=(\d+) reused=(\d+) failed=(\d+) rejected=(\d+) held=(\d+) unknown=(\d+)"
)

Local = Callable[..., subprocess.Popen[str]]


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout without any state."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in ("dags", "plugins", "include"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "airflow_settings.yaml", copy)
    return copy


@pytest.fixture(scope="module")
def local(checkout: Path) -> Iterator[Local]:
    """Start a command in the copy; the stack is stopped with the last test."""
    environment = {**os.environ, "AIRFLOW_PORT": free_port(), "SANDBOX_PORT": free_port()}

    def start(command: str, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "include.local", command],
            cwd=checkout,
            env={**environment, **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    yield start
    start("down").communicate(timeout=120)


def finish(program: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = program.communicate(timeout=400)
    return program.returncode, output


def processes_of(checkout: Path) -> list[str]:
    """List what still runs in a folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.cwd() == str(checkout):
                found.append(f"{process.pid} {' '.join(process.cmdline())}")
        except psutil.Error:
            continue
    return found


def submitted_jobs(sandbox: str) -> set[str]:
    """Ask the sandbox's own ledger for all jobs it ever accepted."""
    ledger = httpx.get(f"{sandbox}/sandbox/submissions", trust_env=False).json()
    return {submission["img_uuid"] for submission in ledger}


def recorded_jobs(checkout: Path) -> set[str]:
    """List all jobs in the results table."""
    query = "SELECT DISTINCT img_uuid FROM goenhance_swaps WHERE img_uuid IS NOT NULL"
    with contextlib.closing(sqlite3.connect(checkout / ".local" / "results.db")) as results:
        return {uuid for (uuid,) in results.execute(query)}


def test_one_run_swaps_every_pair_of_the_sample_and_leaves_nothing_running(
    local: Local, checkout: Path
) -> None:
    code, output = finish(local("run"))
    assert code == 0, output
    closing = CLOSING.fullmatch(output.splitlines()[-1])
    assert closing, output
    run_id, pairs, succeeded = closing[1], int(closing[2]), int(closing[3])
    # One pair of the sample has no face in it.
    assert (pairs - succeeded, int(closing[5])) == (1, 1)
    assert len(list((checkout / ".local" / "swaps" / run_id).glob("*.[jp][pn]g"))) == succeeded
    assert processes_of(checkout) == []


def test_a_stack_that_is_up_serves_runs_and_stays_until_it_is_stopped(local: Local, checkout: Path) -> None:
    code, output = finish(local("up"))
    assert code == 0, output
    assert "password" in output
    code, output = finish(local("up"))
    assert (code, output.splitlines()[0]) == (0, "The stack is already running.")
    code, status = finish(local("status"))
    assert code == 0, status
    assert status.count(" healthy ") == 5
    code, output = finish(local("run"))
    assert code == 0, output
    assert output.startswith("Using the stack of `make up`")
    assert CLOSING.fullmatch(output.splitlines()[-1])[4] != "0"
    sandbox = re.search(r"Sandbox +(\S+)", status)
    assert sandbox
    assert submitted_jobs(sandbox[1]) == recorded_jobs(checkout)
    code, output = finish(local("down"))
    assert code == 0, output
    assert processes_of(checkout) == []


def test_an_interrupted_run_stops_everything(local: Local, checkout: Path) -> None:
    program = local("run")
    assert program.stdout
    for line in program.stdout:
        if line.startswith("run running"):
            break
    program.send_signal(signal.SIGINT)
    code, output = finish(program)
    assert code == 128 + signal.SIGINT, output
    assert "Traceback" not in output
    assert processes_of(checkout) == []


def test_a_killed_runs_left_overs_are_stopped_by_the_next_command(local: Local, checkout: Path) -> None:
    program = local("run")
    assert program.stdout
    for line in program.stdout:
        if line.startswith("run running"):
            break
    program.kill()
    program.wait()
    assert processes_of(checkout) != []
    code, output = finish(local("down"))
    assert code == 0, output
    deadline = time.monotonic() + 5
    while processes_of(checkout) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes_of(checkout) == []


def test_a_refused_token_fails_the_run_with_the_connections_name(local: Local, checkout: Path) -> None:
    settings = checkout / "airflow_settings.yaml"
    text = settings.read_text()
    settings.write_text(text.replace("conn_password: ", "conn_password: wrong-"))
    code, output = finish(local("run"))
    settings.write_text(text)
    assert code == 1, output
    assert "connection 'goenhance_default'" in output
    assert "Traceback" not in output
    assert CLOSING.fullmatch(output.splitlines()[-1])
