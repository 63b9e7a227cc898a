# SPDX-License-Identifier: Apache-2.0
"""The ``[goenhance]`` section of Airflow's configuration. Read when a task runs, never when a Dag is parsed."""

from __future__ import annotations

from pathlib import Path

SECTION = "goenhance"


def default_storage() -> str:
    """Return where pictures are kept unless a task says otherwise: ``[goenhance] storage``."""
    from airflow.configuration import AIRFLOW_HOME
    from airflow.providers.common.compat.sdk import conf

    return str(conf.get(SECTION, "storage", fallback="") or Path(AIRFLOW_HOME) / "goenhance_swaps")


def may_freeze_heap() -> bool:
    """Tell whether a triggerer may spare its loop the garbage collector's longest passes: ``freeze_heap``."""
    from airflow.providers.common.compat.sdk import conf

    return bool(conf.getboolean(SECTION, "freeze_heap", fallback=True))
