# SPDX-License-Identifier: Apache-2.0
"""Registers the plugin where only this folder is used; an installed package registers itself, as an entry point."""

from __future__ import annotations

from importlib.metadata import entry_points

_INSTALLED = any(
    point.value.startswith("airflow_provider_goenhance.") for point in entry_points(group="airflow.plugins")
)

if not _INSTALLED:
    from airflow_provider_goenhance.plugin import GoEnhancePlugin  # noqa: F401
