# SPDX-License-Identifier: Apache-2.0
"""
### Collect hourly

Every hour, store the pictures of jobs that have ended, whichever Dag has submitted them: those of runs that only
submit, and those of tasks that were stopped. It submits nothing, so it pays nothing.
"""

from __future__ import annotations

import datetime as dt

from airflow.sdk import DAG

from airflow_provider_goenhance.operators.collect import GoEnhanceCollectOperator

with DAG(
    dag_id="goenhance_collect_hourly",
    description="Store the pictures of all jobs that have ended",
    schedule="0 * * * *",
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    catchup=False,
    max_active_runs=1,
    tags=["goenhance", "face-swap", "example"],
    doc_md=__doc__,
    default_args={"owner": "goenhance", "retries": 2, "retry_delay": dt.timedelta(minutes=1)},
):
    # A picture that is lost for good fails its run for a week, and then no more.
    GoEnhanceCollectOperator(task_id="collect", newer_than=7 * 24 * 3600)
