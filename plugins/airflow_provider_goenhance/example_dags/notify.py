# SPDX-License-Identifier: Apache-2.0
"""
### Tell people how a run ended

The report task pushes a report to XCom, whether the run succeeds or fails: counts, credits, the page, and where the
failures are. Here a function of your own sends it. A notifier of a provider renders it in a template: see the page
*Observability* of the documentation.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from airflow.sdk import DAG

from airflow_provider_goenhance.notifications.report import on_report
from airflow_provider_goenhance.operators.face_swap_batch import GoEnhanceFaceSwapBatchOperator
from airflow_provider_goenhance.operators.plan import GoEnhancePlanOperator
from airflow_provider_goenhance.operators.report import GoEnhanceReportOperator


def send(report: dict[str, Any]) -> None:
    """Send the report of a run: to a chat, a ticket system, or, as here, to the log."""
    print(f"{report['text']} {report['page']}")  # noqa: T201  the log of the task


with DAG(
    dag_id="goenhance_notify",
    description="Swap the nightly manifest, and tell people how it ended",
    schedule="0 2 * * *",
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    catchup=False,
    max_active_runs=1,
    tags=["goenhance", "face-swap", "example"],
    doc_md=__doc__,
    default_args={"owner": "goenhance", "retries": 2, "retry_delay": dt.timedelta(minutes=1)},
):
    plan = GoEnhancePlanOperator(task_id="plan", manifest="{{ var.value.get('goenhance_manifest', '') }}")
    swap = GoEnhanceFaceSwapBatchOperator.partial(
        task_id="swap", deferrable=True, allowed_failure_share=1.0
    ).expand_kwargs(plan.output)
    report = GoEnhanceReportOperator(
        task_id="report",
        allowed_failure_share=0.1,
        trigger_rule="all_done",
        on_success_callback=on_report(send),
        on_failure_callback=on_report(send),
    )
    swap >> report
