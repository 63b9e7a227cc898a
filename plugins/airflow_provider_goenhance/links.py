# SPDX-License-Identifier: Apache-2.0
"""Links on a task in the Airflow UI."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from airflow.providers.common.compat.sdk import BaseOperatorLink, conf

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

#: Path of the plugin's pages in the API server.
URL_PREFIX = "/goenhance"


class SwappedPicturesLink(BaseOperatorLink):
    """
    Link to the pictures of a task, and to its progress while it is deferred.

    The URL depends on the task instance only, so it is the same before, during and after the wait.
    """

    name = "Swapped pictures"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the URL of the page that shows the task's rows."""
        return _page(
            "swaps",
            dag_id=ti_key.dag_id,
            run_id=ti_key.run_id,
            task_id=ti_key.task_id,
            map_index=-1 if ti_key.map_index is None else ti_key.map_index,
        )


class ContactSheetLink(BaseOperatorLink):
    """Link to the contact sheet that a report task has stored."""

    name = "Contact sheet"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the URL of the contact sheet."""
        return _page("contact-sheet", dag_id=ti_key.dag_id, run_id=ti_key.run_id, task_id=ti_key.task_id)


def _page(name: str, **query: object) -> str:
    return f"{page_url()}/{name}?{urlencode(query)}"


def page_url() -> str:
    """Return the address of the plugin's pages, which a browser outside Airflow's UI can open."""
    return ui_url(URL_PREFIX)


def ui_url(path: str) -> str:
    """Return the address of a path of the API server, below ``[api] base_url`` if that is set."""
    base = conf.get("api", "base_url", fallback="") or ""
    return f"{base.rstrip('/')}{path}"


def rows_url(dag_id: str, run_id: str, **query: object) -> str:
    """Return the address of the page with the rows of a run, e.g. for a log or a message."""
    return _page("swaps", dag_id=dag_id, run_id=run_id, **query)


def run_url(dag_id: str, run_id: str) -> str:
    """Return the address of a run in Airflow's UI."""
    return ui_url(f"/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}")


def task_url(dag_id: str, run_id: str, task_id: str, map_index: int | None = None) -> str:
    """Return the address of a task instance's log in Airflow's UI."""
    mapped = f"/mapped/{map_index}" if map_index is not None and map_index >= 0 else ""
    return f"{run_url(dag_id, run_id)}/tasks/{quote(task_id, safe='')}{mapped}"
