# SPDX-License-Identifier: Apache-2.0
"""
### Face swaps when a manifest lands.

Put a manifest into the watched folder: this Dag swaps its pairs and reports. A manifest that is changed runs again, and
pays only for the pairs that are new.
"""

from __future__ import annotations

import datetime as dt
import os

from airflow.sdk import DAG, Asset, AssetWatcher

from airflow_provider_goenhance.operators.face_swap_batch import GoEnhanceFaceSwapBatchOperator
from airflow_provider_goenhance.operators.plan import GoEnhancePlanOperator
from airflow_provider_goenhance.operators.report import GoEnhanceReportOperator
from airflow_provider_goenhance.triggers.manifest import GoEnhanceManifestTrigger

#: A local folder, or the URL of a storage such as s3://bucket/manifests.
FOLDER = os.environ.get("GOENHANCE_MANIFEST_FOLDER", "/opt/airflow/manifests")

manifests = Asset(
    "goenhance_manifests",
    watchers=[AssetWatcher(name="goenhance_manifest_landed", trigger=GoEnhanceManifestTrigger(FOLDER))],
)

with DAG(
    dag_id="goenhance_manifest_lands",
    description="Swap the faces of every manifest that is put into a folder",
    schedule=[manifests],
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    catchup=False,
    max_active_runs=1,
    tags=["goenhance", "face-swap", "example"],
    doc_md=__doc__,
    default_args={"owner": "goenhance", "retries": 2, "retry_delay": dt.timedelta(minutes=1)},
):
    # Without `manifest` it reads the manifests whose arrival started the run.
    plan = GoEnhancePlanOperator(task_id="plan")
    swap = GoEnhanceFaceSwapBatchOperator.partial(
        task_id="swap", deferrable=True, allowed_failure_share=1.0
    ).expand_kwargs(plan.output)
    report = GoEnhanceReportOperator(task_id="report", allowed_failure_share=0.1, trigger_rule="all_done")
    swap >> report
