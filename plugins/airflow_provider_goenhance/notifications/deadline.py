# SPDX-License-Identifier: Apache-2.0
"""What is said when a run misses its deadline."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

log = logging.getLogger(__name__)


async def log_unfinished_run(
    context: Mapping[str, Any] | None = None,
    *,
    results_conn_id: str = "goenhance_results",
    task_id: str | None = None,
) -> None:
    """
    Log how far a run is that has missed its deadline. The run goes on.

    A callback for ``DeadlineAlert(callback=AsyncCallback(log_unfinished_run))``, which runs in the triggerer.

    :param context: what Airflow passes to it
    :param results_conn_id: connection of the results table
    :param task_id: count only the rows of this swap task
    """
    from asgiref.sync import sync_to_async

    run = (context or {}).get("dag_run") or {}
    # As Airflow's API names it.
    run_id = run.get("dag_run_id")
    if not run_id:
        log.error("A run of face swaps has missed its deadline; Airflow did not pass which.")
        return
    line = await sync_to_async(describe_unfinished_run, thread_sensitive=False)(
        run["dag_id"], run_id, results_conn_id=results_conn_id, task_id=task_id
    )
    # Nothing is returned: Airflow makes what a callback returns a tag of a metric.
    log.error("%s", line)


def describe_unfinished_run(
    dag_id: str, run_id: str, *, results_conn_id: str = "goenhance_results", task_id: str | None = None
) -> str:
    """Return how far a run is, in one line."""
    from ..exceptions import ResultsTableError
    from ..execution.messages import counts_line, pluralize
    from ..hooks.results import open_ledger
    from ..results.ledger import RunKey
    from ..results.states import Status

    missed = f"Run {run_id} of Dag {dag_id} has missed its deadline"
    try:
        with open_ledger(results_conn_id, must_exist=True) as ledger:
            counts = ledger.counts(RunKey(dag_id, run_id), task_id=task_id)
    except ResultsTableError as error:
        return f"{missed}. {error}"
    left = sum(counts[status] for status in (Status.PLANNED, Status.SUBMITTING, Status.SUBMITTED))
    return f"{missed}: {pluralize(left, 'pair is', 'pairs are')} not done. {counts_line(run_id, counts)}"
