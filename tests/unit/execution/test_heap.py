# SPDX-License-Identifier: Apache-2.0
"""The heap is frozen while a run is planned, and no longer."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from airflow_provider_goenhance.execution.heap import (
    MOST_FROZEN_BY_PYTHON,
    YOUNG_OBJECTS,
    frozen_heap,
)


def test_what_was_there_before_is_left_out_of_collections_until_the_end() -> None:
    with frozen_heap():
        assert gc.get_freeze_count() > MOST_FROZEN_BY_PYTHON
    assert gc.get_freeze_count() == 0


@pytest.mark.skipif(sys.version_info[:2] != (3, 12), reason="only Python 3.12 starts with frozen objects")
def test_what_python_itself_has_frozen_does_not_count() -> None:
    program = (
        "import gc\n"
        "from airflow_provider_goenhance.execution.heap import frozen_heap\n"
        "gc.collect()\n"
        "before = gc.get_freeze_count()\n"
        "with frozen_heap():\n"
        "    print(before > 0, gc.get_freeze_count() > 10 * before)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]


def test_a_heap_that_somebody_else_has_frozen_stays_frozen() -> None:
    gc.freeze()
    try:
        with frozen_heap():
            pass
        assert gc.get_freeze_count() > MOST_FROZEN_BY_PYTHON
    finally:
        gc.unfreeze()


def test_young_objects_are_collected_less_often_until_the_end() -> None:
    before = gc.get_threshold()
    with frozen_heap():
        assert gc.get_threshold() == (YOUNG_OBJECTS, *before[1:])
        with frozen_heap():
            pass
        assert gc.get_threshold() == (YOUNG_OBJECTS, *before[1:])
    assert gc.get_threshold() == before


def test_collections_that_somebody_has_switched_off_stay_off() -> None:
    before = gc.get_threshold()
    gc.set_threshold(0)
    try:
        with frozen_heap():
            assert gc.get_threshold()[0] == 0
    finally:
        gc.set_threshold(*before)
