# SPDX-License-Identifier: Apache-2.0
"""What a triggerer's garbage collector no longer has to walk through."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROBE = """
import gc
from airflow_provider_goenhance.triggers.gc_tuning import freeze_heap_once
freeze_heap_once()
first = gc.get_freeze_count()
kept = [[] for _ in range(1000)]
freeze_heap_once()
print(first > 1000, gc.get_freeze_count() > first)
"""


def probe(**environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROBE], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def test_what_is_in_memory_at_the_first_wait_is_frozen_and_nothing_later(environment: dict[str, str]) -> None:
    assert probe(**environment) == "True False"


def test_the_garbage_collector_is_left_alone_where_the_configuration_says_so(
    environment: dict[str, str],
) -> None:
    assert probe(**environment, AIRFLOW__GOENHANCE__FREEZE_HEAP="False") == "False False"
