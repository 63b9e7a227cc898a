# SPDX-License-Identifier: Apache-2.0
"""The nightly line with everything that writes something down: sidecars, the contact sheet, reports, a single swap."""

from __future__ import annotations

import datetime as dt
from typing import Any

from airflow.sdk import DAG, Asset, Param

from airflow_provider_goenhance.notifications.report import on_report
from airflow_provider_goenhance.operators.face_swap import GoEnhanceFaceSwapOperator
from airflow_provider_goenhance.operators.face_swap_batch import GoEnhanceFaceSwapBatchOperator
from airflow_provider_goenhance.operators.plan import GoEnhancePlanOperator
from airflow_provider_goenhance.operators.report import GoEnhanceReportOperator


def say(report: dict[str, Any]) -> None:
    """Print a report into the log of its task."""
    print(report)


with DAG(
    dag_id="secret_swaps",
    schedule=None,
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    tags=["test"],
    params={"source_img": Param("", type="string"), "reference_img": Param("", type="string")},
):
    plan = GoEnhancePlanOperator(
        task_id="plan", manifest="{{ var.value.goenhance_manifest }}", pairs_per_task=3, preflight="warn"
    )
    swap = GoEnhanceFaceSwapBatchOperator.partial(
        task_id="swap", deferrable=True, allowed_failure_share=1.0, sidecar=True
    ).expand_kwargs(plan.output)
    report = GoEnhanceReportOperator(
        task_id="report",
        allowed_failure_share=1.0,  # so that it emits the asset's event
        trigger_rule="all_done",
        on_failure_callback=on_report(say),
        on_success_callback=on_report(say),
        outlets=[Asset("goenhance_face_swaps")],
    )
    single = GoEnhanceFaceSwapOperator(
        task_id="single",
        source_img="{{ params.source_img }}",
        reference_img="{{ params.reference_img }}",
        pair_id="single",
        results_conn_id="goenhance_results",
        sidecar=True,
        deferrable=True,
    )
    swap >> report
