# SPDX-License-Identifier: Apache-2.0
"""What a triggerer's garbage collector no longer has to walk through."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

# Importing Airflow takes seconds, so all cases run in forks of one process.
PROBE = """
import gc, os
from airflow_provider_goenhance.triggers.gc_tuning import freeze_heap_once

for case, setting in {"default": {}, "on": {"AIRFLOW__GOENHANCE__FREEZE_HEAP": "True"}}.items():
    if os.fork() == 0:
        os.environ.update(setting)
        freeze_heap_once()
        first = gc.get_freeze_count()
        kept = [[] for _ in range(1000)]
        freeze_heap_once()
        print(case, first > 1000, gc.get_freeze_count() > first, flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.fixture(scope="module")
def frozen() -> dict[str, str]:
    """By case: whether the first call froze the heap, and whether the second call froze more."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", PROBE], env=environment, capture_output=True, text=True, check=True
    )
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())


def test_what_is_in_memory_at_the_first_wait_is_frozen_and_nothing_later(frozen: dict[str, str]) -> None:
    assert frozen["on"] == "True False"


def test_the_garbage_collector_is_left_alone_by_default(frozen: dict[str, str]) -> None:
    assert frozen["default"] == "False False"
