# SPDX-License-Identifier: Apache-2.0
"""The commands as they are typed: messages, exit codes, signals. (A whole stack is a system test.)"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from include.local.paths import this_checkout

ROOT = this_checkout().root


@pytest.fixture
def local(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command in a checkout of its own, whatever runs in this one."""
    shutil.copytree(ROOT / "include" / "local", tmp_path / "include" / "local")
    (tmp_path / "include" / "__init__.py").touch()

    def run(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "include.local", command],
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    shutil.copy(ROOT / "airflow_settings.yaml", tmp_path)
    return run


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


Local = Callable[..., subprocess.CompletedProcess[str]]


def test_a_manifest_that_is_not_there_ends_the_command_with_a_message(local: Local) -> None:
    done = local("run", MANIFEST="none.csv")
    assert done.returncode == 1
    assert done.stderr.startswith("make run: manifest none.csv does not exist")
    assert "Traceback" not in done.stderr


def test_a_word_that_is_no_port_ends_the_command_with_a_message(local: Local) -> None:
    done = local("up", AIRFLOW_PORT="http")
    assert done.returncode == 1
    assert "AIRFLOW_PORT must be a port from 1 to 65535; got 'http'" in done.stderr


def test_a_taken_port_ends_the_command_with_a_message_and_nothing_is_started(
    local: Local, tmp_path: Path
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        done = local("up", SANDBOX_PORT=port, AIRFLOW_PORT=free_port())
    assert done.returncode == 1
    assert f"port {port} on 127.0.0.1 is taken" in done.stderr
    assert "SANDBOX_PORT=" in done.stderr
    assert not (tmp_path / ".local" / "stack.json").exists()


def test_without_a_stack_down_and_status_say_so_and_are_content(local: Local) -> None:
    for command in ("down", "status"):
        done = local(command)
        assert done.returncode == 0
        assert "Nothing is running." in done.stdout


def test_make_help_lists_every_command_of_the_documentation() -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = {line.split()[1] for line in done.stdout.splitlines()}
    assert {"run", "up", "down", "status", "test", "test-system", "sandbox", "bench", "clean"} <= listed


SHIELDED = """
import os, time
from include.local import signals
from include.local.errors import Interrupted
signals.install()
try:
    with signals.shielded():
        print("shielded", flush=True)
        while not signals.is_pending():
            time.sleep(0.01)
        print("finished its work", flush=True)
    print("never reached", flush=True)
except Interrupted as error:
    print("interrupted by", error.signal_number, flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_waits_until_a_started_process_is_noted_down(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SHIELDED], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout
        assert program.stdout.readline() == "shielded\n"
        program.send_signal(number)
        assert program.stdout.read().split("\n")[:2] == ["finished its work", f"interrupted by {int(number)}"]
