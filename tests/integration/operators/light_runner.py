# SPDX-License-Identifier: Apache-2.0
"""Runs an operator as Airflow's task runner does, attempt by attempt, without a metadata database."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_goenhance.exceptions import GoEnhanceError
from airflow_provider_goenhance.operators.face_swap import GoEnhanceFaceSwapOperator
from airflow_provider_goenhance.operators.face_swap_batch import GoEnhanceFaceSwapBatchOperator
from airflow_provider_goenhance.triggers.face_swap import GoEnhanceJobsTrigger
from include.sandbox.process import SandboxProcess


@dataclass
class LightTaskInstance:
    """What the operators use of a task instance."""

    task_id: str
    dag_id: str = "light"
    run_id: str = "run-1"
    map_index: int = -1
    try_number: int = 1
    max_tries: int = 2
    xcoms: dict[str, Any] = field(default_factory=dict)
    start_date: dt.datetime | None = None

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value


class DictStore:
    """Airflow's task state store, as far as a task sees it."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.retentions: list[dt.timedelta | None] = []

    def get(self, key: str, default: Any = None) -> Any:
        return self.values.get(key, default)

    def set(self, key: str, value: Any, *, retention: dt.timedelta | None = None) -> None:
        self.values[key] = value
        self.retentions.append(retention)


@dataclass
class Ending:
    """How an attempt ended."""

    value: Any
    error: BaseException | None
    xcoms: dict[str, Any]
    deferrals: int

    @property
    def message(self) -> str:
        return str(self.error) if self.error else ""


class LightTask:
    """
    One task instance with its results table and its sandbox.

    :param kind: ``single`` or ``batch``
    :param pairs: how many pairs a batch has
    """

    def __init__(
        self,
        sandbox: SandboxProcess,
        folder: Path,
        *,
        kind: str = "single",
        deferrable: bool = False,
        pairs: int = 3,
        **arguments: Any,
    ) -> None:
        self.sandbox = sandbox
        self.folder = folder
        self.kind = kind
        self.pairs = [
            {
                "pair_id": f"pair-{number}",
                "source_img": sandbox.image(f"source-{number}.jpg"),
                "reference_img": sandbox.image(f"reference-{number}.jpg"),
            }
            for number in range(1, (1 if kind == "single" else pairs) + 1)
        ]
        self.arguments = {
            "deferrable": deferrable,
            "storage": str(folder / "kept"),
            "results_conn_id": "goenhance_results",
            "poll_interval": 0.05,
            "timeout": 120,
            **arguments,
        }
        self.state_store: Any = DictStore()
        self.ti = LightTaskInstance("swap")
        self.event_of: Callable[[TaskDeferred], Any] = event_of_trigger

    def operator(self) -> Any:
        """Create the operator, as each process does."""
        if self.kind == "single":
            return GoEnhanceFaceSwapOperator(task_id="swap", **self.pairs[0], **self.arguments)
        return GoEnhanceFaceSwapBatchOperator(task_id="swap", pairs=self.pairs, **self.arguments)

    def attempt(self) -> Ending:
        """Run the next attempt, waits in the triggerer included."""
        self.ti.xcoms = {}
        self.ti.start_date = dt.datetime.now(dt.UTC)
        context: Any = {"ti": self.ti, "task_state_store": self.state_store}
        deferrals = 0
        method, event = "execute", None
        try:
            while True:
                operator = self.operator()
                try:
                    if method == "execute":
                        value = operator.execute(context)
                    else:
                        value = getattr(operator, method)(context, event=event)
                    return Ending(value, None, self.ti.xcoms, deferrals)
                except TaskDeferred as deferral:
                    deferrals += 1
                    method, event = deferral.method_name, self.event_of(deferral)
        except (GoEnhanceError, ValueError, RuntimeError) as error:
            return Ending(None, error, self.ti.xcoms, deferrals)
        finally:
            self.ti.try_number += 1

    def clear(self) -> None:
        """Do to the task instance what pressing Clear does."""
        self.ti.max_tries = self.ti.try_number - 1 + 2

    def rows(self) -> dict[str, Any]:
        """Read the rows of the current run as an outside program would: pair_id -> row."""
        engine = sa.create_engine(f"sqlite:///{self.folder / 'results.db'}")
        try:
            with engine.connect() as connection:
                query = sa.text("SELECT * FROM goenhance_swaps WHERE run_id = :run_id")
                found = connection.execute(query, {"run_id": self.ti.run_id})
                return {row["pair_id"]: dict(row) for row in found.mappings()}
        finally:
            engine.dispose()

    def row(self, number: int = 1) -> dict[str, Any]:
        """Read one row."""
        return dict(self.rows()[f"pair-{number}"])

    def let_the_pause_end(self) -> None:
        """Advance the account's clock past the end of a pause that GoEnhance asked for."""
        engine = sa.create_engine(f"sqlite:///{self.folder / 'results.db'}")
        with engine.begin() as connection:
            connection.execute(sa.text("UPDATE goenhance_swaps_accounts SET paused_until = NULL"))
        engine.dispose()

    def let_no_job_end(self) -> None:
        """Block the queue of the sandbox with a foreign job, so that ours do not finish however long a test takes."""
        self.sandbox.put_faults(job={"kind": "stuck", "count": 1}, queue_limit=1)
        self.sandbox.submit(self.sandbox.image("stranger.jpg"), self.sandbox.image("scene.jpg"))

    def let_jobs_end(self) -> None:
        """Remove the limit of the queue, so that all jobs run."""
        self.sandbox.put_faults(queue_limit=None)

    def accepted(self) -> int:
        """Count the POSTs in the sandbox's own ledger."""
        return len(self.sandbox.submissions())


def event_of_trigger(deferral: TaskDeferred) -> Any:
    path, kwargs = deferral.trigger.serialize()
    assert path.endswith(".GoEnhanceJobsTrigger")
    trigger = GoEnhanceJobsTrigger(**json.loads(json.dumps(kwargs)))

    async def first() -> Any:
        return await anext(trigger.run())

    return json.loads(json.dumps(asyncio.run(first()).payload))
