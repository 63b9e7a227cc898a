# SPDX-License-Identifier: Apache-2.0
"""
### Face swaps in TaskFlow

A function returns pairs, and its task swaps them: `@task.goenhance_face_swap_batch`. What the task returns says what
became of each pair.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from airflow.sdk import DAG, Param, task

with DAG(
    dag_id="goenhance_taskflow",
    description="Swap the pairs that a function returns",
    schedule=None,
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    catchup=False,
    tags=["goenhance", "face-swap", "example"],
    doc_md=__doc__,
    default_args={"owner": "goenhance", "retries": 2, "retry_delay": dt.timedelta(minutes=1)},
    params={
        "face": Param("", type="string", title="Face", description="URL of the picture with the face."),
        "scenes": Param(
            [],
            type="array",
            items={"type": "string"},
            title="Scenes",
            description="URLs of the pictures that receive the face.",
        ),
    },
):

    @task.goenhance_face_swap_batch(deferrable=True, allowed_failure_share=0.1)
    def swap(params: dict[str, Any] | None = None) -> list[dict[str, str]]:
        """Return one pair for each scene."""
        assert params is not None  # noqa: S101  Airflow passes it
        return [
            {"pair_id": f"scene-{number}", "source_img": params["face"], "reference_img": scene}
            for number, scene in enumerate(params["scenes"], start=1)
        ]

    @task
    def count(swapped: list[dict[str, str]]) -> int:
        """Return how many pairs have a picture."""
        return sum(pair["status"] in {"succeeded", "reused"} for pair in swapped)

    count(swap())  # type: ignore[arg-type]
