# SPDX-License-Identifier: Apache-2.0
"""How often a task loads its rows from the results table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_goenhance.results.ledger import Ledger

from .light_runner import LightTask


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the queries that load rows of a task."""
    counts: Counter[str] = Counter()
    load = Ledger.by_ids

    def counting(self: Ledger, *args: Any, **options: Any) -> Any:
        counts["rows"] += 1
        return load(self, *args, **options)

    monkeypatch.setattr(Ledger, "by_ids", counting)
    return counts


def test_a_task_that_waits_in_the_worker_loads_its_rows_three_times(
    task: Callable[..., LightTask], loads: Counter[str]
) -> None:
    swap = task(kind="batch", pairs=2, deferrable=False)
    assert swap.attempt().error is None
    assert loads["rows"] == 3, "at the start, after submitting, after collecting"


def test_a_task_that_does_not_wait_loads_its_rows_twice(
    task: Callable[..., LightTask], loads: Counter[str]
) -> None:
    swap = task(kind="batch", pairs=2, wait_for_completion=False)
    assert swap.attempt().error is None
    assert loads["rows"] == 2, "at the start and after submitting"


def test_a_deferred_task_loads_its_rows_four_times_in_two_executions(
    task: Callable[..., LightTask], loads: Counter[str]
) -> None:
    swap = task(kind="batch", pairs=2, deferrable=True)
    assert swap.attempt().error is None
    assert loads["rows"] == 4, "at the start, after submitting; at the resumption, after collecting"
