# SPDX-License-Identifier: Apache-2.0
"""The Airflow plugin: the package's page and links in the UI."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from .links import URL_PREFIX, ContactSheetLink, SwappedPicturesLink
from .triggers.gc_tuning import freeze_heap_at_start
from .web.lazy import LazyApp


class GoEnhancePlugin(AirflowPlugin):
    """Add the page with a task's pictures, and the links to it."""

    name = "goenhance"

    fastapi_apps: list[dict[str, Any]] = [  # noqa: RUF012  Airflow reads it from the class
        {"app": LazyApp(), "url_prefix": URL_PREFIX, "name": "GoEnhance face swaps"}
    ]
    operator_extra_links: list[Any] = [SwappedPicturesLink(), ContactSheetLink()]  # noqa: RUF012

    @classmethod
    def on_load(cls, *args: Any, **kwargs: Any) -> None:
        """Prepare a triggerer for thousands of waiting jobs; Airflow calls this once in each process."""
        freeze_heap_at_start()
