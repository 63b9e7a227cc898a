# SPDX-License-Identifier: Apache-2.0
"""How many swap tasks may be in progress at once, read from the Dag and the configuration."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_provider_goenhance.operators.face_swap_batch import GoEnhanceFaceSwapBatchOperator
from airflow_provider_goenhance.operators.plan import GoEnhancePlanOperator
from airflow_provider_goenhance.operators.slots import slots_of


def dag(max_active_tasks: int = 1_000, **swap: Any) -> DAG:
    with DAG(
        "nightly", schedule=None, start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC), max_active_tasks=max_active_tasks
    ) as nightly:  # fmt: skip
        plan = GoEnhancePlanOperator(task_id="plan", manifest="pairs.csv")
        GoEnhanceFaceSwapBatchOperator.partial(task_id="swap", **swap).expand_kwargs(plan.output)
    return nightly


@pytest.mark.parametrize(
    ("limits", "slots"),
    [
        ({"max_active_tis_per_dagrun": 3}, 3),
        ({"max_active_tis_per_dag": 4}, 4),
        ({"max_active_tasks": 5}, 5),
        ({"max_active_tasks": 5, "max_active_tis_per_dagrun": 3, "max_active_tis_per_dag": 4}, 3),
        ({}, 32),
    ],
)
def test_the_smallest_limit_counts(
    monkeypatch: pytest.MonkeyPatch, limits: dict[str, int], slots: int
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__PARALLELISM", "32")
    assert slots_of(dag(**limits), "swap") == slots


def test_a_swap_task_elsewhere_or_no_dag_is_limited_by_the_installation_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__PARALLELISM", "8")
    assert slots_of(dag(), "another task") == 8
    assert slots_of(None, "swap") == 8
    monkeypatch.setenv("AIRFLOW__CORE__PARALLELISM", "0")
    assert slots_of(None, "swap") is None
