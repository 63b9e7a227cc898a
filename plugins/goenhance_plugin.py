# SPDX-License-Identifier: Apache-2.0
"""Registers the plugin where only this folder is used; an installed package registers itself."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution

try:
    distribution("airflow-provider-goenhance")
except PackageNotFoundError:
    from airflow_provider_goenhance.plugin import GoEnhancePlugin  # noqa: F401
