# SPDX-License-Identifier: Apache-2.0
"""
### Delete old face swaps.

Deletes pictures that are older than `[goenhance] keep_pictures_days`, a slice of rows at a time. The rows stay, with
what was paid; a later run holds their pairs and does not pay for them again.
"""

from __future__ import annotations

import datetime as dt

from airflow.sdk import DAG

from airflow_provider_goenhance.operators.retention import GoEnhanceRetentionOperator

with DAG(
    dag_id="goenhance_retention",
    description="Delete face swaps that are older than they may be kept",
    schedule="@daily",
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    catchup=False,
    max_active_runs=1,
    tags=["goenhance", "face-swap", "example"],
    doc_md=__doc__,
    default_args={"owner": "goenhance", "retries": 2, "retry_delay": dt.timedelta(minutes=5)},
):
    GoEnhanceRetentionOperator(task_id="delete_old_pictures")
