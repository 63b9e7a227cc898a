# SPDX-License-Identifier: Apache-2.0
"""The heap is frozen while a run is planned, and no longer."""

from __future__ import annotations

import gc

from airflow_provider_goenhance.execution.heap import frozen_heap


def test_what_was_there_before_is_left_out_of_collections_until_the_end() -> None:
    with frozen_heap():
        assert gc.get_freeze_count() > 0
    assert gc.get_freeze_count() == 0


def test_a_heap_that_somebody_else_has_frozen_stays_frozen() -> None:
    gc.freeze()
    try:
        with frozen_heap():
            pass
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
