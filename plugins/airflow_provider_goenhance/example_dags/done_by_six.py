# SPDX-License-Identifier: Apache-2.0
"""
### Done by 06:00

Swap the nightly manifest at 02:00. If the run is not done by 06:00, the triggerer logs how far it is; the run goes on.

Needs Airflow 3.1, where deadlines are experimental. To be told by mail or chat, pass a notifier that is asynchronous in
place of the function, for example
`AsyncCallback("airflow.providers.smtp.notifications.smtp.SmtpNotifier", kwargs={"to": "studio@example.com", ...})`.
"""

from __future__ import annotations

import datetime as dt

from airflow.sdk import DAG

try:
    from airflow.sdk import AsyncCallback, DeadlineAlert, DeadlineReference  # type: ignore[attr-defined]
except ImportError:  # Airflow 3.1
    from airflow.sdk.definitions.deadline import (  # type: ignore[attr-defined]
        AsyncCallback,
        DeadlineAlert,
        DeadlineReference,
    )

from airflow_provider_goenhance.notifications.deadline import log_unfinished_run
from airflow_provider_goenhance.operators.face_swap_batch import GoEnhanceFaceSwapBatchOperator
from airflow_provider_goenhance.operators.plan import GoEnhancePlanOperator
from airflow_provider_goenhance.operators.report import GoEnhanceReportOperator

with DAG(
    dag_id="goenhance_done_by_six",
    description="Swap the nightly manifest, and warn if that is not done by 06:00",
    schedule="0 2 * * *",
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    catchup=False,
    max_active_runs=1,
    # Four hours after 02:00. A run that is triggered by hand has four hours from then.
    deadline=DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=dt.timedelta(hours=4),
        callback=AsyncCallback(log_unfinished_run),
    ),
    tags=["goenhance", "face-swap", "example"],
    doc_md=__doc__,
    default_args={"owner": "goenhance", "retries": 2, "retry_delay": dt.timedelta(minutes=1)},
):
    plan = GoEnhancePlanOperator(task_id="plan", manifest="{{ var.value.get('goenhance_manifest', '') }}")
    swap = GoEnhanceFaceSwapBatchOperator.partial(
        task_id="swap", deferrable=True, allowed_failure_share=1.0
    ).expand_kwargs(plan.output)
    report = GoEnhanceReportOperator(task_id="report", allowed_failure_share=0.1, trigger_rule="all_done")
    swap >> report
