# SPDX-License-Identifier: Apache-2.0
"""Two Dags that may both be run several times at once, over the same manifest."""

from __future__ import annotations

import datetime as dt

from airflow.sdk import DAG

from airflow_provider_goenhance.operators.face_swap_batch import GoEnhanceFaceSwapBatchOperator
from airflow_provider_goenhance.operators.plan import GoEnhancePlanOperator
from airflow_provider_goenhance.operators.report import GoEnhanceReportOperator

for name in ("first", "second"):
    with DAG(
        dag_id=f"{name}_at_once",
        schedule=None,
        start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        max_active_runs=2,
        tags=["test"],
        default_args={"owner": "test", "retries": 10, "retry_delay": dt.timedelta(seconds=2)},
    ) as dag:
        plan = GoEnhancePlanOperator(
            task_id="plan", manifest="{{ var.value.goenhance_manifest }}", pairs_per_task=125
        )
        swap = GoEnhanceFaceSwapBatchOperator.partial(
            task_id="swap", deferrable=True, poll_interval=1.0
        ).expand_kwargs(plan.output)
        report = GoEnhanceReportOperator(task_id="report", trigger_rule="all_done", contact_sheet=False)
        swap >> report
    globals()[dag.dag_id] = dag
