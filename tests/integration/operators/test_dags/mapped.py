# SPDX-License-Identifier: Apache-2.0
"""Test Dags with every way to map the operators, XComArgs and templates."""

from __future__ import annotations

import datetime as dt

from airflow.sdk import DAG, task

from airflow_provider_goenhance.operators.face_swap import GoEnhanceFaceSwapOperator
from airflow_provider_goenhance.operators.face_swap_batch import GoEnhanceFaceSwapBatchOperator

COMMON = {"poll_interval": 0.05, "timeout": 120}
DEFAULTS = {"retries": 2, "retry_delay": dt.timedelta(seconds=0)}
#: Data, not a template: a pair must not be able to have Airflow compute something.
TEMPLATE_LIKE = " {% raw %}{{ 6 * 7 }}{% endraw %}"


@task
def pairs(base: str, suffix: str = "") -> list[dict[str, str]]:
    """Return pairs as an upstream task would."""
    return [
        {
            "pair_id": f"pair-{number}{suffix}",
            "source_img": f"{base}/images/s{number}.jpg",
            "reference_img": f"{base}/images/r{number}.jpg",
        }
        for number in (1, 2)
    ]


with DAG("expand_kwargs_single", default_args=DEFAULTS, schedule=None, params={"base": ""}):
    GoEnhanceFaceSwapOperator.partial(
        task_id="swap", results_conn_id="goenhance_results", **COMMON
    ).expand_kwargs(pairs("{{ params.base }}"))

with DAG("expand_single", default_args=DEFAULTS, schedule=None, params={"base": ""}):
    GoEnhanceFaceSwapOperator.partial(
        task_id="swap", reference_img="{{ params.base }}/images/target.jpg", deferrable=True, **COMMON
    ).expand(source_img=["http://127.0.0.1/images/a.jpg", "http://127.0.0.1/images/b.jpg"])


#: pair_ids that Python reads as something else.
IDS_OF_TEXT = ["4711", "1e5", "0x1F", "[1, 2]", "None", "True", "true", "007"]


@task
def ids_of_text(base: str) -> list[dict[str, str]]:
    """Return such pairs as an upstream task would."""
    return [{"pair_id": pair_id, "reference_img": f"{base}/images/w.jpg"} for pair_id in IDS_OF_TEXT]


@task
def lists(base: str) -> list[list[dict[str, str]]]:
    """Return two batches of two pairs."""
    return [
        [
            {
                "source_img": f"{base}/images/s{batch}{n}.jpg",
                "reference_img": f"{base}/images/r{batch}{n}.jpg",
            }
            for n in (1, 2)
        ]
        for batch in (1, 2)
    ]


with DAG("expand_batch", default_args=DEFAULTS, schedule=None, params={"base": ""}):
    GoEnhanceFaceSwapBatchOperator.partial(task_id="swap", **COMMON).expand(pairs=lists("{{ params.base }}"))

with DAG("xcomarg_batch", default_args=DEFAULTS, schedule=None, params={"base": ""}) as native:
    GoEnhanceFaceSwapBatchOperator(task_id="swap", pairs=pairs("{{ params.base }}", TEMPLATE_LIKE), **COMMON)

with DAG(
    "native_batch",
    default_args=DEFAULTS,
    schedule=None,
    params={"base": ""},
    render_template_as_native_obj=True,
):
    GoEnhanceFaceSwapBatchOperator(
        task_id="swap",
        pairs="{{ ti.xcom_pull(task_ids='pairs') }}",
        allowed_failure_share="{{ 1 }}",
        wait_for_completion="{{ 1 == 1 }}",
        failed_job_resubmits="{{ 0 }}",
        **COMMON,
    ).set_upstream(pairs("{{ params.base }}", TEMPLATE_LIKE))

with DAG(
    "native_ids",
    default_args=DEFAULTS,
    schedule=None,
    params={"base": ""},
    render_template_as_native_obj=True,
):
    GoEnhanceFaceSwapOperator.partial(
        task_id="swap",
        source_img="{{ params.base }}/images/s.jpg",
        reference_img="{{ params.base }}/images/r.jpg",
        **COMMON,
    ).expand(pair_id=IDS_OF_TEXT)
    GoEnhanceFaceSwapOperator.partial(
        task_id="from_a_task", source_img="{{ params.base }}/images/t.jpg", **COMMON
    ).expand_kwargs(ids_of_text("{{ params.base }}"))
    GoEnhanceFaceSwapOperator(
        task_id="from_a_template",
        source_img="{{ params.base }}/images/u.jpg",
        reference_img="{{ params.base }}/images/v.jpg",
        pair_id="{{ '3' }}e5",
        consent_ref="{{ '4' }}e5",
        results_conn_id="goenhance_results",
        **COMMON,
    )
    GoEnhanceFaceSwapBatchOperator(
        task_id="batch",
        pairs=[
            {
                "source_img": "{{ params.base }}/images/a.jpg",
                "reference_img": "{{ params.base }}/images/b.jpg",
                "pair_id": pair_id,
            }
            for pair_id in (*IDS_OF_TEXT, "{{ '2' }}e5")
        ],
        **COMMON,
    )

with DAG("state_store_single", default_args=DEFAULTS, schedule=None, params={"base": ""}):
    GoEnhanceFaceSwapOperator(
        task_id="swap",
        source_img="{{ params.base }}/images/s.jpg",
        reference_img="{{ params.base }}/images/r.jpg",
        pair_id="{{ none }}",
        deferrable=True,
        poll_interval=0.05,
        timeout="{{ 120 }}",
    )

with DAG("wrong_batch", default_args=DEFAULTS, schedule=None):
    GoEnhanceFaceSwapBatchOperator(task_id="swap", batch=7, **COMMON)
