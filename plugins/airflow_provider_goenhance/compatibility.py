# SPDX-License-Identifier: Apache-2.0
"""
What differs between Airflow 3.1, 3.2 and 3.3: every such difference is here, and nowhere else.

Each function takes the newest way that the installed Airflow has. Nothing of Airflow is imported before it is called.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import inspect
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from airflow.api_fastapi.auth.managers.models.resource_details import DagDetails
    from airflow.sdk import BaseOperator, Connection, Context, ObjectStoragePath


# -- 3.3: retry policies -----------------------------------------------------------------------------------------------


def has_retry_policies() -> bool:
    """Return whether an operator takes a ``retry_policy``, which is so since Airflow 3.3."""
    return find_spec("airflow.sdk.definitions.retry_policy") is not None


# -- 3.3: the state of tasks and assets --------------------------------------------------------------------------------


def task_state_store(context: Context) -> Any:
    """Return the store that lasts from one try of a task to the next; ``None`` below Airflow 3.3."""
    return context.get("task_state_store")


def keep_state(store: Any, key: str, value: Any) -> None:
    """Write a value to the task state store, for as long as its task instance exists."""
    from airflow.sdk.execution_time.context import NEVER_EXPIRE

    store.set(key, value, retention=NEVER_EXPIRE)


def asset_state_store(trigger: Any) -> Any:
    """Return the store of the asset that an event trigger watches for; ``None`` below Airflow 3.3."""
    return getattr(trigger, "asset_state_store", None)


async def read_asset_state(store: Any, key: str) -> Any:
    """Read a value from the store of an asset, whose calls block on Airflow 3.3.0 and 3.3.1."""
    return await (store.aget(key) if hasattr(store, "aget") else asyncio.to_thread(store.get, key))


async def write_asset_state(store: Any, key: str, value: Any) -> None:
    """Write a value to the store of an asset, whose calls block on Airflow 3.3.0 and 3.3.1."""
    await (store.aset(key, value) if hasattr(store, "aset") else asyncio.to_thread(store.set, key, value))


# -- 3.3: a task that waits for a person -------------------------------------------------------------------------------


def wait_for_a_person(
    task: BaseOperator, ti_id: Any, *, options: list[str], defaults: list[str], timeout: dt.timedelta
) -> NoReturn:
    """
    Park the task until its question is answered; it continues in ``execute_complete``.

    Since Airflow 3.3 it then holds neither a worker nor a trigger; below, it is deferred.
    """
    try:
        from airflow.sdk.exceptions import TaskAwaitingInput
    except ImportError:
        from airflow.providers.standard.triggers.hitl import HITLTrigger

        trigger = HITLTrigger(
            ti_id=ti_id,
            options=options,
            defaults=defaults,
            params={},
            multiple=False,
            timeout_datetime=dt.datetime.now(dt.UTC) + timeout,
        )
        task.defer(trigger=trigger, method_name="execute_complete")
        raise AssertionError("defer does not return") from None
    raise TaskAwaitingInput(method_name="execute_complete", timeout=timeout)


# -- 3.3.2: connections in an event loop -------------------------------------------------------------------------------


async def extra_of(conn: Connection) -> dict[str, Any]:
    """
    Return the extra fields of a connection, in an event loop.

    Airflow masks their secrets through its supervisor, which only ``aextra_dejson`` (3.3.2 and later) may call in the
    thread of an event loop. The compat provider has the same fallback, but only from 1.23.
    """
    if hasattr(conn, "aextra_dejson"):
        found: dict[str, Any] = await conn.aextra_dejson()
        return found
    return await asyncio.to_thread(lambda: conn.extra_dejson)


# -- 3.2: storage, metrics, teams --------------------------------------------------------------------------------------


def storage_path(url: str, conn_id: str | None) -> ObjectStoragePath:
    """Return the path of a storage. Airflow 3.1 takes ``None`` for a connection, in place of the one in the URL."""
    from airflow.sdk import ObjectStoragePath

    return ObjectStoragePath(url, conn_id=conn_id) if conn_id else ObjectStoragePath(url)


def stats_of_tasks() -> Any:
    """Return the ``Stats`` that task processes set up."""
    from airflow.providers.common.compat.sdk import Stats

    return Stats


def stats_of_triggers() -> Any:
    """Return the ``Stats`` of Airflow's components: since 3.2, a triggerer sets up these, and not those of tasks."""
    try:
        return import_module("airflow.observability.stats").Stats
    except (ImportError, AttributeError):
        return stats_of_tasks()


def dag_details(dag_id: str) -> DagDetails:
    """Return what permissions to a Dag are checked for. Airflow 3.1 has no teams."""
    from airflow.api_fastapi.auth.managers.models.resource_details import DagDetails
    from airflow.models.dag import DagModel

    if "team_name" in inspect.signature(DagDetails).parameters:
        return DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id))
    return DagDetails(id=dag_id)
