# SPDX-License-Identifier: Apache-2.0
"""
### A single face swap

Trigger this Dag with two URLs: the picture with the **face**, and the **target** picture that receives it.

**The picture** is in the run's tab *Face swaps*, beside the two that it was made from, and behind the link *Swapped
pictures* of the task. Its file is where the task's log says (`[goenhance] storage` in Airflow's configuration).

A URL that cannot be used fails the run before anything is sent or paid; the task's log says what is wrong with it.
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
    # No `format` and no `pattern`: the form shows a wrong value as a JSON schema; the task says what is wrong with it.
    params={
        "source_img": Param(
            type="string",
            minLength=1,
            title="Source image",
            description="URL of the picture with the face: https://, or s3://, gs:// or abfs:// in private storage.",
        ),
        "reference_img": Param(
            type="string",
            minLength=1,
            title="Reference image",
            description="URL of the target picture. It keeps its scene and receives the face.",
        ),
        "pair_id": Param(
            None,
            type=["null", "string"],
            title="Pair id",
            description="Name of the pair and of the stored file. Defaults to a name derived from the two URLs.",
        ),
        "shrink": Param(
            "source",
            enum=["source", "all", "never"],
            title="Pictures over 5 MB",
            description="GoEnhance takes at most 5 MB. 'source': make the source image smaller. 'all': the reference "
            "image too, whose result becomes smaller with it. 'never': send them as they are. Needs a staging storage "
            "([goenhance] staging).",
        ),
    },
):
    GoEnhanceFaceSwapOperator(
        task_id="swap",
        source_img="{{ params.source_img }}",
        reference_img="{{ params.reference_img }}",
        pair_id="{{ params.pair_id or '' }}",
        shrink="{{ params.shrink }}",
        results_conn_id="goenhance_results",
        deferrable=True,
    )
