# SPDX-License-Identifier: Apache-2.0
"""
### A single face swap

Trigger this Dag with two URLs: the picture with the **face**, and the **target** picture that receives it. When the
task has succeeded, its link *Swapped pictures* shows the result.
"""

from __future__ import annotations

import datetime as dt

from airflow.sdk import DAG, Param

from airflow_provider_goenhance.operators.face_swap import GoEnhanceFaceSwapOperator

with DAG(
    dag_id="goenhance_face_swap_single",
    description="Swap the face of one pair of images",
    schedule=None,
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    catchup=False,
    tags=["goenhance", "face-swap"],
    doc_md=__doc__,
    default_args={"owner": "goenhance", "retries": 2, "retry_delay": dt.timedelta(minutes=1)},
    params={
        "source_img": Param(
            type="string",
            format="uri",
            # Airflow validates `format` only if an optional library is installed; it always validates `pattern`.
            pattern=r"^https?://[^\s/]+",
            title="Source image",
            description="URL of the picture with the face.",
        ),
        "reference_img": Param(
            type="string",
            format="uri",
            # Airflow validates `format` only if an optional library is installed; it always validates `pattern`.
            pattern=r"^https?://[^\s/]+",
            title="Reference image",
            description="URL of the target picture. It keeps its scene and receives the face.",
        ),
        "pair_id": Param(
            None,
            type=["null", "string"],
            title="Pair id",
            description="Name of the pair and of the stored file. Defaults to a name derived from the two URLs.",
        ),
    },
):
    GoEnhanceFaceSwapOperator(
        task_id="swap",
        source_img="{{ params.source_img }}",
        reference_img="{{ params.reference_img }}",
        pair_id="{{ params.pair_id or '' }}",
        results_conn_id="goenhance_results",
        deferrable=True,
    )
