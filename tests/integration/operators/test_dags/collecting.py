# SPDX-License-Identifier: Apache-2.0
"""Test Dag that waits for jobs of another Dag, and collects their pictures."""

from __future__ import annotations

from airflow.sdk import DAG

from airflow_provider_goenhance.operators.collect import GoEnhanceCollectOperator
from airflow_provider_goenhance.sensors.job import GoEnhanceJobSensor

with DAG(
    "collect_later", schedule=None, params={"run": "", "img_uuids": []}, render_template_as_native_obj=True
):
    GoEnhanceJobSensor(
        task_id="wait", img_uuids="{{ params.img_uuids }}", deferrable=True, poke_interval=0.05, timeout=120
    ) >> GoEnhanceCollectOperator(
        task_id="collect",
        run_id="{{ params.run }}",
        dag_id="goenhance_face_swap_batch",
        wait_for_completion="{{ 1 == 1 }}",
        deferrable=True,
        poll_interval=0.05,
        timeout="{{ 120 }}",
    )
