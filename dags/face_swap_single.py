# SPDX-License-Identifier: Apache-2.0
"""
### One face swap, from the trigger form

Give it the URL of a picture with a **face** and the URL of the **target** picture. When the task is done, its link
*Swapped pictures* shows the result.
"""

from __future__ import annotations

import datetime as dt

from airflow.sdk import DAG, Param

from airflow_provider_goenhance.operators.face_swap import GoEnhanceFaceSwapOperator

with DAG(
    dag_id="goenhance_face_swap_single",
    description="Swap one face: two URLs in, a picture out",
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
            # Airflow checks a format only where a further library is installed; a pattern always.
            pattern=r"^https?://[^\s/]+",
            title="Source image",
            description="URL of the picture that gives the face.",
        ),
        "reference_img": Param(
            type="string",
            format="uri",
            # Airflow checks a format only where a further library is installed; a pattern always.
            pattern=r"^https?://[^\s/]+",
            title="Reference image",
            description="URL of the target picture that keeps its scene.",
        ),
        "pair_id": Param(
            None,
            type=["null", "string"],
            title="Pair id",
            description="Name of the pair and of the file kept. Blank: made from the two URLs.",
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
