# SPDX-License-Identifier: Apache-2.0
"""The Dags that people write without this package."""

from __future__ import annotations

import csv
import datetime as dt
import json
from pathlib import Path
from typing import Any

from airflow.providers.http.operators.http import HttpOperator
from airflow.sdk import DAG, Param, get_current_context, task

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def img_uuid_of(response: Any) -> str:
    """Return the UUID in the response to a submit."""
    return str(response.json()["data"]["img_uuid"])


with DAG(
    dag_id="http_expand", schedule=None, start_date=START, params={"manifest": Param("", type="string")}
):

    @task
    def read() -> list[str]:
        """Read the manifest, and return a request body for each pair."""
        with Path(get_current_context()["params"]["manifest"]).open(newline="") as file:
            return [
                json.dumps(
                    {
                        "type": "mx-image-face-swap",
                        "args": {"source_img": row["source_img"], "reference_img": row["reference_img"]},
                    }
                )
                for row in csv.DictReader(file)
            ]

    HttpOperator.partial(
        task_id="swap",
        http_conn_id="goenhance_http",
        endpoint="/api/v1/imagefaceswap/generate",
        headers={"Content-Type": "application/json"},
        response_filter=img_uuid_of,
    ).expand(data=read())

with DAG(
    dag_id="async_task",
    schedule=None,
    start_date=START,
    params={
        "manifest": Param("", type="string"),
        "at_once": Param(64, type="integer"),
        "pictures": Param(None, type=["null", "string"]),
    },
):

    @task
    def swap() -> list[str]:
        """Submit all pairs in one event loop."""
        import asyncio

        from airflow.sdk import BaseHook

        from benchmarks.dag_runs.bare import swap_all

        params = get_current_context()["params"]
        account = BaseHook.get_connection("goenhance_default")
        return asyncio.run(
            swap_all(
                params["manifest"],
                str(account.host),
                str(account.password),
                params["at_once"],
                params["pictures"],
            )
        )

    swap()
