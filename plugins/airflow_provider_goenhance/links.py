# SPDX-License-Identifier: Apache-2.0
"""Links on a task in the Airflow UI."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

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
    base = conf.get("api", "base_url", fallback="") or ""
    return f"{base.rstrip('/')}{URL_PREFIX}/{name}?{urlencode(query)}"
