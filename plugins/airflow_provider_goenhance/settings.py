# SPDX-License-Identifier: Apache-2.0
"""Read the ``[goenhance]`` section of Airflow's configuration: when a task runs, never when a Dag is parsed."""

from __future__ import annotations

from pathlib import Path

SECTION = "goenhance"


def default_storage() -> str:
    """Return where pictures are stored unless a task sets its own storage: ``[goenhance] storage``."""
    from airflow.configuration import AIRFLOW_HOME
    from airflow.providers.common.compat.sdk import conf

    return str(conf.get(SECTION, "storage", fallback="") or Path(AIRFLOW_HOME) / "goenhance_swaps")


def may_freeze_heap() -> bool:
    """Return whether a triggerer may call ``gc.freeze()`` when it starts: ``[goenhance] freeze_heap``."""
    from airflow.providers.common.compat.sdk import conf

    return bool(conf.getboolean(SECTION, "freeze_heap", fallback=True))


def max_xcom_pairs() -> int:
    """Return for how many pairs a batch task pushes each ``img_uuid`` to XCom: ``[goenhance] max_xcom_pairs``."""
    from airflow.providers.common.compat.sdk import conf

    return int(conf.getint(SECTION, "max_xcom_pairs", fallback=1000))
