# SPDX-License-Identifier: Apache-2.0
"""One batch, one of whose jobs does not end before the deadline."""

from __future__ import annotations

import datetime as dt

from airflow.sdk import DAG

from airflow_provider_goenhance.operators.face_swap_batch import GoEnhanceFaceSwapBatchOperator
from airflow_provider_goenhance.operators.plan import GoEnhancePlanOperator

with DAG(
    dag_id="straggling_swaps",
    schedule=None,
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    tags=["test"],
    default_args={"owner": "test"},
):
    plan = GoEnhancePlanOperator(task_id="plan", manifest="{{ var.value.goenhance_manifest }}")
    GoEnhanceFaceSwapBatchOperator.partial(
        task_id="swap",
        deferrable=True,
        allowed_failure_share=1.0,
        poll_interval=1.0,
        # Longer than the time after which what has ended is handed over.
        timeout=240,
    ).expand_kwargs(plan.output)
