# SPDX-License-Identifier: Apache-2.0
"""Starting and stopping real processes: ours are all stopped, others are never touched."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from include.local import processes
from include.local.errors import LocalStackError
from include.local.processes import Component

STUBBORN_CHILD = """
import os, signal, subprocess, sys, time
child = subprocess.Popen(
    [sys.executable, "-c",
     "import os, signal, time; os.setpgid(0, 0); signal.signal(signal.SIGTERM, signal.SIG_IGN);"
     "print('child', os.getpid(), flush=True); time.sleep(600)"]
)
time.sleep(600)
"""

# Ends a second after the first SIGTERM, and at once after a second one.
SLOW = """
import signal, sys, time
asked = []

def stop(*_):
    print("asked", flush=True)
    if asked:
        sys.exit(1)
    asked.append(True)
    time.sleep(1)
    sys.exit(0)

signal.signal(signal.SIGTERM, stop)
print("up", flush=True)
time.sleep(600)
"""

Launch = Callable[..., Component]


def wait_for(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """Start a Python program as a component; whatever of it is left is stopped with the test."""
    started: list[Component] = []

    def start(program: str, name: str = "program") -> Component:
        component = processes.start(
            name,
            [sys.executable, "-c", program],
            environment=os.environ,
            cwd=tmp_path,
            log=tmp_path / "logs" / f"{len(started)}.log",
        )
        started.append(component)
        return component

    yield start
    processes.stop(started, grace=0.1)


def child_pid(component: Component) -> int:
    log = Path(component.log)
    wait_for(lambda: "child" in log.read_text())
    return int(log.read_text().split("child ")[1].split()[0])


def test_output_goes_to_the_log_and_its_end_can_be_shown(launch: Launch) -> None:
    component = launch("import sys; print('one'); print('two', file=sys.stderr)")
    wait_for(lambda: not processes.is_running(component))
    assert set(processes.log_tail(component).splitlines()) == {"one", "two"}


def test_a_program_that_ends_on_request_is_not_killed(launch: Launch) -> None:
    component = launch("import time; print('up', flush=True); time.sleep(600)")
    wait_for(lambda: "up" in processes.log_tail(component))
    assert processes.stop([component], grace=60.0) == []
    assert not processes.members(component)


def test_a_triggerer_has_the_time_that_airflow_takes_to_end_it_and_others_have_not(launch: Launch) -> None:
    programs = [launch(SLOW, name=name) for name in ("triggerer", "program")]
    wait_for(lambda: all("up" in processes.log_tail(program) for program in programs))

    assert processes.stop(programs, grace=0.2) == []

    assert [processes.log_tail(program).count("asked") for program in programs] == [1, 2]


def test_a_grandchild_in_a_group_of_its_own_that_ignores_sigterm_is_killed(launch: Launch) -> None:
    component = launch(STUBBORN_CHILD)
    grandchild = child_pid(component)
    assert os.getpgid(grandchild) != os.getpgid(component.pid)
    assert processes.stop([component], grace=0.3) == ["program"]
    wait_for(lambda: processes.birth_mark(grandchild) is None)


def test_children_of_a_program_that_died_are_still_found_and_stopped(launch: Launch) -> None:
    component = launch(STUBBORN_CHILD)
    grandchild = child_pid(component)
    psutil.Process(component.pid).kill()
    wait_for(lambda: not processes.is_running(component))
    assert processes.members(component) == [grandchild]
    processes.stop([component], grace=0.1)
    assert processes.birth_mark(grandchild) is None


def test_a_process_that_merely_got_the_same_number_is_left_alone() -> None:
    stranger = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True
    )
    try:
        mark = processes.birth_mark(stranger.pid)
        assert mark is not None
        ours = Component("scheduler", stranger.pid, mark + "0", "")
        assert not processes.is_running(ours)
        assert processes.stop([ours], grace=0.1) == []
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_record_from_before_a_reboot_claims_no_process(launch: Launch) -> None:
    component = launch("import time; time.sleep(600)")
    before = replace(component, birth="earlier-boot:" + component.birth.rpartition(":")[2])
    assert processes.members(before) == []


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LocalStackError, match="scheduler could not be started"):
        processes.start(
            "scheduler", [str(tmp_path / "x")], environment={}, cwd=tmp_path, log=tmp_path / "log"
        )
