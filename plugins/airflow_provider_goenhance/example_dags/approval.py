# SPDX-License-Identifier: Apache-2.0
"""
### A person approves what a run costs

A run that would cost more than `approve_above` credits waits in *Required Actions* until a person has approved it.
Nothing is sent or paid before that. No answer within eight hours is a no.
"""

from __future__ import annotations

import datetime as dt

from airflow.sdk import DAG, Param

from airflow_provider_goenhance.operators.face_swap_batch import GoEnhanceFaceSwapBatchOperator
from airflow_provider_goenhance.operators.plan import GoEnhancePlanOperator
from airflow_provider_goenhance.operators.report import GoEnhanceReportOperator

with DAG(
    dag_id="goenhance_approval",
    description="Swap the nightly manifest; a person approves an expensive run",
    schedule="0 2 * * *",
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    catchup=False,
    max_active_runs=1,
    tags=["goenhance", "face-swap", "example"],
    doc_md=__doc__,
    default_args={"owner": "goenhance", "retries": 2, "retry_delay": dt.timedelta(minutes=1)},
    params={
        "approve_above": Param(
            500,
            type="integer",
            minimum=1,
            title="Approval above",
            description="A run that would cost more than this many credits waits for a person's approval.",
        )
    },
):
    # Needs a price: until GoEnhance has reported one, credits_per_swap of the connection.
    plan = GoEnhancePlanOperator(
        task_id="plan",
        manifest="{{ var.value.get('goenhance_manifest', '') }}",
        approve_above="{{ params.approve_above }}",
        approval_timeout=dt.timedelta(hours=8),
    )
    swap = GoEnhanceFaceSwapBatchOperator.partial(
        task_id="swap", deferrable=True, allowed_failure_share=1.0
    ).expand_kwargs(plan.output)
    report = GoEnhanceReportOperator(task_id="report", allowed_failure_share=0.1, trigger_rule="all_done")
    swap >> report
