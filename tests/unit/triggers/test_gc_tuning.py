# SPDX-License-Identifier: Apache-2.0
"""What a triggerer's garbage collector no longer has to scan, and what it still frees."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

# Importing Airflow takes seconds, so all cases run in forks of one process. Each creates a job, as every component of
# Airflow does when it starts, or loads the plugins where triggers already run.
PROBE = """
import asyncio, gc, os, sys, weakref
from airflow.jobs.job import Job
from airflow.jobs.triggerer_job_runner import TriggererJobRunner
from airflow.plugins_manager import ensure_plugins_loaded

class Cycle:
    def __init__(self):
        self.me = self

async def in_the_loop():
    ensure_plugins_loaded()

async def in_a_thread():
    await asyncio.to_thread(ensure_plugins_loaded)

def triggerer():
    TriggererJobRunner(Job())

CASES = {
    "triggerer": (triggerer, "triggerer", "True"),
    "setting off": (triggerer, "triggerer", "False"),
    "scheduler": (Job, "scheduler", "True"),
    "triggers run": (lambda: asyncio.run(in_the_loop()), "triggerer", "True"),
    "triggers run, in a thread": (lambda: asyncio.run(in_a_thread()), "triggerer", "True"),
}
gc.disable()
for case, (start, component, setting) in CASES.items():
    if os.fork() == 0:
        sys.argv[1:] = [component]
        if setting == "False":
            os.environ["AIRFLOW__GOENHANCE__FREEZE_HEAP"] = setting
        before = weakref.ref(Cycle())
        start()
        first = gc.get_freeze_count()
        after, kept = weakref.ref(Cycle()), [[] for _ in range(1000)]
        ensure_plugins_loaded()
        if os.fork() == 0:
            # The process that runs the triggers.
            inherited = gc.get_freeze_count()
            gc.collect()
            # Frozen objects are freed too, once nothing refers to them; the 1000 new lists would make it more.
            same = 0.9 * first < inherited <= first
            print(case, first > 100_000, same, before() is None and after() is None, sep="|", flush=True)
            os._exit(0)
        os.wait()
        os._exit(0)
    os.wait()
"""


@pytest.fixture(scope="module")
def seen() -> dict[str, list[str]]:
    """
    By case, in the process that runs triggers.

    Whether the heap was frozen at the start, whether that and no more is frozen here, whether all garbage is freed.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", PROBE], env=environment, capture_output=True, text=True, check=True
    )
    lines = [line.split("|") for line in done.stdout.splitlines() if line.count("|") == 3]
    return {case: rest for case, *rest in lines}


def test_the_triggerer_freezes_what_it_has_loaded_at_its_start_and_nothing_later(
    seen: dict[str, list[str]],
) -> None:
    assert seen["triggerer"][:2] == ["True", "True"]


@pytest.mark.parametrize("case", ["setting off", "scheduler", "triggers run", "triggers run, in a thread"])
def test_nothing_is_frozen_elsewhere(seen: dict[str, list[str]], case: str) -> None:
    assert seen[case][0] == "False"


@pytest.mark.parametrize("case", ["triggerer", "setting off"])
def test_garbage_of_any_trigger_and_of_the_start_is_freed(seen: dict[str, list[str]], case: str) -> None:
    assert seen[case][2] == "True"
