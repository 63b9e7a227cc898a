# SPDX-License-Identifier: Apache-2.0
"""What tests need of Airflow under names that differ between 3.1, 3.2 and 3.3."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow import __version__
from packaging.version import Version

VERSION = Version(__version__).release[:2]

#: For a test about something that Airflow has since 3.2 or 3.3 only.
needs_3_2 = pytest.mark.skipif(VERSION < (3, 2), reason="Airflow has this since 3.2")
needs_3_3 = pytest.mark.skipif(VERSION < (3, 3), reason="Airflow has this since 3.3")

if VERSION >= (3, 2):
    from airflow.dag_processing.dagbag import DagBag
    from airflow.sdk.lineage import HookLineageCollector
else:
    from airflow.lineage.hook import HookLineageCollector
    from airflow.models.dagbag import DagBag

__all__ = [
    "VERSION",
    "DagBag",
    "HookLineageCollector",
    "dag_bag",
    "decode_trigger_kwargs",
    "forget_fernet",
    "needs_3_2",
    "needs_3_3",
    "no_teams",
    "plugin_files",
    "replace_stats_of_triggers",
    "revoke_nothing",
    "through_serialization",
    "use_auth_manager",
]


def dag_bag(folder: Path) -> DagBag:
    """Parse the Dags of a folder, without Airflow's own examples."""
    # 3.3 has no such argument, and never adds the examples to a folder.
    return DagBag(str(folder)) if VERSION >= (3, 3) else DagBag(str(folder), include_examples=False)


def through_serialization(dag: Any) -> Any:
    """Return a Dag as the scheduler sees it."""
    if VERSION >= (3, 2):
        from airflow.serialization.serialized_objects import DagSerialization as Serialization

        return Serialization.deserialize_dag(Serialization.serialize_dag(dag))
    from airflow.serialization.serialized_objects import SerializedDAG

    return SerializedDAG.deserialize_dag(SerializedDAG.serialize_dag(dag))


def decode_trigger_kwargs(value: Any) -> Any:
    """Return an argument of a trigger as the triggerer passes it."""
    if VERSION >= (3, 2):
        from airflow.serialization.decoders import smart_decode_trigger_kwargs

        return smart_decode_trigger_kwargs(value)
    return value


def plugin_files(folder: Path) -> list[str]:
    """Return the files that Airflow would load as plugins."""
    if VERSION >= (3, 2):
        from airflow._shared.module_loading import find_path_from_directory
    else:
        from airflow.utils.file import find_path_from_directory

    return list(find_path_from_directory(str(folder), ".airflowignore", "glob"))


def revoke_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no session be revoked, without a look at the metadata database; before 3.2, none can be."""
    if VERSION >= (3, 2):
        from airflow.models.revoked_token import RevokedToken

        monkeypatch.setattr(RevokedToken, "is_revoked", staticmethod(lambda jti: False))


def no_teams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no Dag belong to a team, without a look at the metadata database."""
    from airflow.models.dag import DagModel

    if hasattr(DagModel, "get_team_name"):
        monkeypatch.setattr(DagModel, "get_team_name", staticmethod(lambda dag_id: None))


def forget_fernet() -> None:
    """Let Airflow read the Fernet key again."""
    from airflow.models import crypto

    if VERSION >= (3, 2):
        crypto.get_fernet.cache_clear()
    else:
        crypto._fernet = None


def use_auth_manager(monkeypatch: pytest.MonkeyPatch, auth_manager: object) -> None:
    """Let the API server of this process ask this auth manager."""
    from airflow.api_fastapi import app

    if hasattr(app, "_AuthManagerState"):
        monkeypatch.setattr(app._AuthManagerState, "instance", auth_manager)
    else:
        monkeypatch.setattr(app, "auth_manager", auth_manager)


def replace_stats_of_triggers(monkeypatch: pytest.MonkeyPatch, stats: object) -> None:
    """Let the triggerer's metrics go to a stand-in."""
    where = "airflow.observability.stats" if VERSION >= (3, 2) else "airflow.stats"
    monkeypatch.setattr(f"{where}.Stats", stats)
