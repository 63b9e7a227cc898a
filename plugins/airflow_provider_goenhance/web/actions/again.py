# SPDX-License-Identifier: Apache-2.0
"""
Clear tasks, and run failures again: what that would do and cost.

The page does both through Airflow's own API, with the user's session; these routes only name the requests.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query

from ...execution.messages import pluralize
from ...execution.past_runs import REJECTED_BY_REVIEWER, RowChoice, read_statuses
from ...execution.what_follows import ClearPreview, NewRunPreview, preview_clear, preview_new_run, tasks_of
from ...results.ledger import Ledger, RunKey
from ...results.recovery import Policies
from ...results.row_version import changes_since
from ..permissions import may_clear, may_see, same_origin
from .chosen_rows import Chosen, rows_of_dag, with_ledger
from .policies import forgotten_policies, policies_of_run

router = APIRouter()

#: The Dag that can read the rows of any run.
BATCH_DAG = "goenhance_face_swap_batch"


@router.post("/actions/clear", dependencies=[may_clear, same_origin])
def clear(dag_id: str, run_id: str, chosen: Chosen) -> dict[str, Any]:
    """
    Return which tasks hold some rows of a run, what a clear of them does, and the request that clears them.

    The request is for Airflow's ``clearTaskInstances``; it is a dry run until ``dry_run`` is changed.
    """
    key = RunKey(dag_id, run_id)

    def work(ledger: Ledger) -> tuple[int, ClearPreview]:
        rows = rows_of_dag(ledger, dag_id, chosen.swap_ids, run_id=run_id)
        if changed := changes_since(rows, chosen.rows):
            raise HTTPException(409, changed)
        tasks = tasks_of(rows)
        if not tasks:
            raise HTTPException(
                409,
                "No task holds the selected rows. A reused picture needs none; a rejected row is never sent: correct "
                "the manifest, and start a new run.",
            )
        return sum(not tasks_of([row]) for row in rows), preview_clear(
            ledger, key, tasks, policies_of_run(key, tasks)
        )

    left_out, preview = with_ledger(work)
    sentences = [
        preview.sentence,
        "Tasks downstream of them are cleared too, as listed. What swap tasks among those pay is not included.",
    ]
    if forgotten := forgotten_policies(key, preview.tasks):
        sentences.append(
            f"Airflow no longer has the arguments of {forgotten:,} of these tasks, so this assumes "
            "the default policies. A task with on_clear='resubmit', on_unknown_submit='resubmit' or "
            "failed_job_resubmits pays for more."
        )
    if left_out:
        sentences.append(
            f"{pluralize(left_out, 'selected row is', 'selected rows are')} in no task: rejected rows need a corrected "
            "manifest, reused pictures nothing."
        )
    return {
        "rows": preview.actions.total(),
        "does": {action.value: count for action, count in sorted(preview.actions.items(), key=str)},
        "credits": preview.credits,
        "sentences": sentences,
        "request": {
            "dry_run": True,
            "dag_run_id": run_id,
            "only_failed": False,
            # The report as well, whose verdict is about the run as it was.
            "include_downstream": True,
            "task_ids": [
                task.task_id if task.map_index < 0 else [task.task_id, task.map_index]
                for task in preview.tasks
            ],
        },
    }


@router.get("/actions/again", dependencies=[may_see])
def again(
    dag_id: str, run_id: str, statuses: Annotated[str | None, Query(max_length=200)] = None
) -> dict[str, Any]:
    """
    Return what a new run does with the failures of a run, and the request that starts it.

    The request is for Airflow's ``dagRuns``, of the first Dag among ``dags`` that has the parameters of the request.
    Rejected pictures are paid for again: whoever names them asks for that.
    """
    key = RunKey(dag_id, run_id)
    try:
        choice = read_statuses(statuses)
    except ValueError as error:
        raise HTTPException(422, str(error)) from None
    reuse = "never" if choice.reviews else "succeeded"
    policies = Policies(reuse=reuse)  # type: ignore[arg-type]

    def work(ledger: Ledger) -> NewRunPreview:
        return preview_new_run(ledger, key, choice, policies)

    preview = with_ledger(work)
    if not preview.rows:
        raise HTTPException(409, f"Run {run_id!r} has no row that is {choice}: there is nothing to do.")
    return {
        "rows": preview.rows,
        "credits": preview.credits,
        "sentences": preview.sentences,
        "dags": list(dict.fromkeys([dag_id, BATCH_DAG])),
        "request": {
            "logical_date": None,
            "conf": {"manifest": preview.manifest, "statuses": _names(choice), "reuse": reuse},
        },
    }


def _names(choice: RowChoice) -> list[str]:
    return [*map(str, choice.statuses), *([REJECTED_BY_REVIEWER] if choice.reviews else [])]
