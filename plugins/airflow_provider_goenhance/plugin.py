# SPDX-License-Identifier: Apache-2.0
"""The Airflow plugin: the package's pages and links in the UI."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from .links import URL_PREFIX, ContactSheetLink, SwappedPicturesLink
from .triggers.gc_tuning import freeze_heap_at_start
from .web.lazy import LazyApp

# Relative, so that they also work where Airflow is below a path. `{MAP_INDEX}` stays on a task that is not mapped.
_PAGES = URL_PREFIX.removeprefix("/")
_RUN = f"{_PAGES}/swaps?dag_id={{DAG_ID}}&run_id={{RUN_ID}}"


def _view(
    destination: str, route: str, href: str, *, name: str = "Face swaps", **more: Any
) -> dict[str, Any]:
    return {"name": name, "destination": destination, "url_route": route, "href": href, **more}


class GoEnhancePlugin(AirflowPlugin):
    """Add the pages with runs, rows and pictures, and the links to them."""

    name = "goenhance"

    fastapi_apps: list[dict[str, Any]] = [  # noqa: RUF012  Airflow reads it from the class
        {"app": LazyApp(), "url_prefix": URL_PREFIX, "name": "GoEnhance face swaps"}
    ]
    #: In the navigation all runs, on a Dag its runs, on a run and on a task its rows. A route must be unique.
    external_views: list[dict[str, Any]] = [  # noqa: RUF012
        _view(
            "nav",
            "face-swaps",
            f"{_PAGES}/runs",
            # The navigation cuts off what is longer than about eight letters.
            name="Swaps",
            nav_top_level=True,
            icon=f"{_PAGES}/static/1/light.svg",
            icon_dark_mode=f"{_PAGES}/static/1/dark.svg",
        ),
        _view("dag", "face-swap-runs", f"{_PAGES}/runs?dag_id={{DAG_ID}}"),
        _view("dag_run", "face-swap-rows", _RUN),
        _view("task_instance", "face-swap-task", f"{_RUN}&task_id={{TASK_ID}}&map_index={{MAP_INDEX}}"),
    ]
    operator_extra_links: list[Any] = [SwappedPicturesLink(), ContactSheetLink()]  # noqa: RUF012

    @classmethod
    def on_load(cls, *args: Any, **kwargs: Any) -> None:
        """Prepare a triggerer for thousands of waiting jobs; Airflow calls this once in each process."""
        freeze_heap_at_start()
