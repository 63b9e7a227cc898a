# SPDX-License-Identifier: Apache-2.0
"""A batch that waits, and a task that watches the triggerer in which it waits."""

from __future__ import annotations

import datetime as dt
from typing import Any

from airflow.sdk import DAG, BaseOperator

from airflow_provider_goenhance.operators.face_swap_batch import GoEnhanceFaceSwapBatchOperator
from airflow_provider_goenhance.operators.plan import GoEnhancePlanOperator
from benchmarks.triggerer.loop_watch import LoopWatchTrigger

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


class WatchLoopOperator(BaseOperator):
    """Defer to the watch."""

    template_fields = ("record", "stop")

    def __init__(self, *, record: str, stop: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.record, self.stop = record, stop

    def execute(self, context: Any) -> None:
        self.defer(trigger=LoopWatchTrigger(self.record, self.stop), method_name="watched")

    def watched(self, context: Any, event: Any) -> None:
        """Nothing more to do."""


with DAG(dag_id="watch_loop", schedule=None, start_date=START):
    WatchLoopOperator(
        task_id="watch",
        record="{{ dag_run.conf['record'] }}",
        stop="{{ dag_run.conf['stop'] }}",
    )

with DAG(dag_id="waiting_jobs", schedule=None, start_date=START):
    plan = GoEnhancePlanOperator(
        task_id="plan",
        manifest="{{ var.value.goenhance_manifest }}",
        pairs_per_task="{{ var.value.pairs_per_task }}",
    )
    GoEnhanceFaceSwapBatchOperator.partial(task_id="swap", deferrable=True, timeout=86_400.0).expand_kwargs(
        plan.output
    )
