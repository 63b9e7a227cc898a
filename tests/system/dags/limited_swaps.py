# SPDX-License-Identifier: Apache-2.0
"""Many mapped tasks that send at the same time through one account."""

from __future__ import annotations

import datetime as dt

from airflow.sdk import DAG

from airflow_provider_goenhance.operators.face_swap_batch import GoEnhanceFaceSwapBatchOperator
from airflow_provider_goenhance.operators.plan import GoEnhancePlanOperator

with DAG(
    dag_id="limited_swaps",
    schedule=None,
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    max_active_tasks=16,
    tags=["test"],
    default_args={"owner": "test", "retries": 3, "retry_delay": dt.timedelta(seconds=1)},
):
    plan = GoEnhancePlanOperator(
        task_id="plan", manifest="{{ var.value.goenhance_manifest }}", pairs_per_task=60
    )
    GoEnhanceFaceSwapBatchOperator.partial(task_id="swap", wait_for_completion=False).expand_kwargs(
        plan.output
    )
