# SPDX-License-Identifier: Apache-2.0
"""The nightly line with as many retries as a night of kills may need."""

from __future__ import annotations

import datetime as dt

from airflow.sdk import DAG

from airflow_provider_goenhance.operators.face_swap_batch import GoEnhanceFaceSwapBatchOperator
from airflow_provider_goenhance.operators.plan import GoEnhancePlanOperator
from airflow_provider_goenhance.operators.report import GoEnhanceReportOperator

with DAG(
    dag_id="chaos_swaps",
    schedule=None,
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    tags=["test"],
    default_args={"owner": "test", "retries": 50, "retry_delay": dt.timedelta(seconds=1)},
):
    plan = GoEnhancePlanOperator(
        task_id="plan", manifest="{{ var.value.goenhance_manifest }}", pairs_per_task=25
    )
    swap = GoEnhanceFaceSwapBatchOperator.partial(
        task_id="swap",
        deferrable=True,
        allowed_failure_share=1.0,
        poll_interval=1.0,
        # Shorter than some of the submit rounds, so that the night has its timeouts too.
        execution_timeout=dt.timedelta(seconds=20),
    ).expand_kwargs(plan.output)
    report = GoEnhanceReportOperator(task_id="report", allowed_failure_share=1.0, trigger_rule="all_done")
    swap >> report
