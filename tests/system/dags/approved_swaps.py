# SPDX-License-Identifier: Apache-2.0
"""Two lines that ask a person above 6 credits: one waits for hours, one for seconds."""

from __future__ import annotations

import datetime as dt

from airflow.sdk import DAG

from airflow_provider_goenhance.operators.face_swap_batch import GoEnhanceFaceSwapBatchOperator
from airflow_provider_goenhance.operators.plan import GoEnhancePlanOperator
from airflow_provider_goenhance.operators.report import GoEnhanceReportOperator

for dag_id, timeout in (
    ("approved_swaps", dt.timedelta(hours=12)),
    ("unanswered_swaps", dt.timedelta(seconds=3)),
):
    with DAG(
        dag_id=dag_id,
        schedule=None,
        start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        tags=["test"],
        default_args={"owner": "test", "retries": 2, "retry_delay": dt.timedelta(seconds=1)},
    ):
        plan = GoEnhancePlanOperator(
            task_id="plan",
            manifest="{{ dag_run.conf.manifest }}",
            approve_above=6,
            approval_timeout=timeout,
        )
        swap = GoEnhanceFaceSwapBatchOperator.partial(task_id="swap", poll_interval=0.2).expand_kwargs(
            plan.output
        )
        swap >> GoEnhanceReportOperator(task_id="report", trigger_rule="all_done", contact_sheet=False)
