# SPDX-License-Identifier: Apache-2.0
"""
Read the ``[goenhance]`` section of Airflow's configuration.

It is read when a task runs; only the schedule of the batch Dag is read when the Dag is parsed.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

SECTION = "goenhance"


def batch_schedule() -> str | None:
    """Return the schedule of the batch Dag, ``None`` for no schedule: ``[goenhance] batch_schedule``."""
    from airflow.providers.common.compat.sdk import conf

    return str(conf.get(SECTION, "batch_schedule", fallback="0 2 * * *")).strip() or None


def default_storage() -> str:
    """Return where pictures are stored unless a task sets its own storage: ``[goenhance] storage``."""
    from airflow.configuration import AIRFLOW_HOME
    from airflow.providers.common.compat.sdk import conf

    return str(conf.get(SECTION, "storage", fallback="") or Path(AIRFLOW_HOME) / "goenhance_swaps")


def makes_thumbnails() -> bool:
    """Return whether thumbnails are made unless a task says otherwise: ``[goenhance] thumbnails``."""
    from airflow.providers.common.compat.sdk import conf

    return bool(conf.getboolean(SECTION, "thumbnails", fallback=True))


def checks_quality() -> bool:
    """Return whether kept pictures are checked unless a task says otherwise: ``[goenhance] quality``."""
    from airflow.providers.common.compat.sdk import conf

    return bool(conf.getboolean(SECTION, "quality", fallback=True))


def quality_check() -> str:
    """Return the import path of a team's own check, unless a task sets its own: ``[goenhance] quality_check``."""
    from airflow.providers.common.compat.sdk import conf

    return str(conf.get(SECTION, "quality_check", fallback="") or "")


def may_freeze_heap() -> bool:
    """Return whether a triggerer may call ``gc.freeze()`` when it starts: ``[goenhance] freeze_heap``."""
    from airflow.providers.common.compat.sdk import conf

    return bool(conf.getboolean(SECTION, "freeze_heap", fallback=True))


def keep_pictures_days() -> int:
    """Return for how many days pictures are kept, 0 for good: ``[goenhance] keep_pictures_days``."""
    from airflow.providers.common.compat.sdk import conf

    return int(conf.getint(SECTION, "keep_pictures_days", fallback=0))


def max_xcom_pairs() -> int:
    """Return for how many pairs a batch task pushes each ``img_uuid`` to XCom: ``[goenhance] max_xcom_pairs``."""
    from airflow.providers.common.compat.sdk import conf

    return int(conf.getint(SECTION, "max_xcom_pairs", fallback=1000))


class InputSettings(NamedTuple):
    """
    How private pictures are sent.

    :param folders: the folders from which local pictures may be read: ``[goenhance] input_folders``
    :param staging: where pictures are staged that have no link: ``[goenhance] staging``
    :param staging_url: the address under which that storage can be fetched: ``[goenhance] staging_url``
    :param keep_staged: whether staged copies are left to a lifecycle rule: ``[goenhance] keep_staged``
    :param link_seconds: how long a signed link is valid: ``[goenhance] input_link_seconds``
    """

    folders: tuple[str, ...]
    staging: str
    staging_url: str
    keep_staged: bool
    link_seconds: float


def input_settings() -> InputSettings:
    """
    Return how private pictures are sent.

    :raises ValueError: when a link would have no lifetime
    """
    from airflow.providers.common.compat.sdk import conf

    seconds = conf.getint(SECTION, "input_link_seconds", fallback=43200)
    if not seconds > 0:
        raise ValueError(
            f"[{SECTION}] input_link_seconds must be a positive number of seconds; got {seconds!r}."
        )
    folders = str(conf.get(SECTION, "input_folders", fallback="") or "")
    return InputSettings(
        tuple(folder.strip() for folder in folders.split(",") if folder.strip()),
        str(conf.get(SECTION, "staging", fallback="") or "").strip(),
        str(conf.get(SECTION, "staging_url", fallback="") or "").strip(),
        bool(conf.getboolean(SECTION, "keep_staged", fallback=False)),
        float(seconds),
    )
