# SPDX-License-Identifier: Apache-2.0
"""Test Dag with a deadline that its run misses."""

from __future__ import annotations

import datetime as dt

from airflow.sdk import DAG, AsyncCallback, DeadlineAlert, DeadlineReference  # type: ignore[attr-defined]

from airflow_provider_goenhance.notifications.deadline import log_unfinished_run
from airflow_provider_goenhance.operators.face_swap_batch import GoEnhanceFaceSwapBatchOperator
from airflow_provider_goenhance.operators.plan import GoEnhancePlanOperator
from airflow_provider_goenhance.operators.report import GoEnhanceReportOperator

with DAG(
    "observed_swaps",
    schedule=None,
    deadline=DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=dt.timedelta(seconds=60),
        callback=AsyncCallback(log_unfinished_run),
    ),
):
    plan = GoEnhancePlanOperator(task_id="plan", manifest="{{ var.value.goenhance_manifest }}")
    swap = GoEnhanceFaceSwapBatchOperator.partial(task_id="swap", deferrable=True).expand_kwargs(plan.output)
    swap >> GoEnhanceReportOperator(task_id="report", contact_sheet=False)
