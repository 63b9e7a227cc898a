# SPDX-License-Identifier: Apache-2.0
"""Hand a task's wait over to the triggerer."""

from __future__ import annotations

import datetime as dt
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowTaskTimeout

from ..execution.events import fitting_uuids, fitting_values
from .face_swap import GoEnhanceJobsTrigger

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context

    from ..execution.wait_plan import WaitPlan
    from ..results.waiting_jobs import RowsOf

#: Seconds between our deadline and Airflow's timeout of the deferral, so that ours comes first, with its message.
FRAMEWORK_GRACE = 120.0
#: The most bytes that the UUIDs among a trigger's arguments take. Encrypted and with all other arguments they stay
#: below the 64 KiB of MySQL's TEXT.
ARGUMENT_BYTES = 24_000


def wait_in_triggerer(
    goenhance_conn_id: str,
    img_uuids: Sequence[str],
    *,
    deadline: float,
    poll_interval: float,
    at_most_until: float | None = None,
    results_conn_id: str | None = None,
    rows: RowsOf | None = None,
    plan: WaitPlan | None = None,
    doubts: Mapping[str, tuple[int, float]] | None = None,
    carried: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """
    Return the arguments of ``BaseOperator.defer``; the task resumes in ``execute_complete``.

    :param goenhance_conn_id: connection of the account
    :param img_uuids: jobs beside those of the rows; only as many are waited for as the metadata database can hold
    :param deadline: end of the wait, seconds since the epoch
    :param poll_interval: seconds between two status calls for one new job
    :param at_most_until: end of the task's ``execution_timeout``, seconds since the epoch
    :param results_conn_id: connection of the results table
    :param rows: the rows there whose jobs are waited for
    :param plan: when jobs that have ended are handed over, and the deadlines of all jobs; without it they are not
    :param doubts: how often GoEnhance has said of jobs that it does not know them; default: those of the plan
    :param carried: what the task wants to find in the event beside the plan
    """
    doubts = plan.doubts if plan is not None and doubts is None else doubts
    if at_most_until is not None:
        deadline = min(deadline, at_most_until)
    if plan is not None:
        carried = {**(carried or {}), **plan.to_carry()}
    return {
        "trigger": GoEnhanceJobsTrigger(
            goenhance_conn_id=goenhance_conn_id,
            img_uuids=jobs_of_a_trigger(img_uuids),
            deadline=deadline,
            poll_interval=poll_interval,
            results_conn_id=results_conn_id if rows is not None else None,
            rows=rows.to_dict() if rows is not None else None,
            hand_over_after=plan.hand_over_after if plan is not None else None,
            doubts=fitting_values({img_uuid: list(said) for img_uuid, said in doubts.items()})
            if doubts
            else None,
            since=plan.since if plan is not None else None,
            carried=carried,
        ),
        "method_name": "execute_complete",
        "timeout": dt.timedelta(seconds=max(0.0, deadline - time.time()) + FRAMEWORK_GRACE),
    }


def jobs_of_a_trigger(img_uuids: Sequence[str]) -> list[str]:
    """Return the first jobs of a list, as many as the arguments of a trigger can hold."""
    return fitting_uuids(img_uuids, ARGUMENT_BYTES)


def execution_deadline(task: BaseOperator, context: Context) -> float | None:
    """
    Return when the task's ``execution_timeout`` is over, seconds since the epoch, ``None`` if it has none.

    It counts from the first start of this try, deferrals included. Airflow itself does not enforce it while a task is
    deferred, and starts it again with each resume.
    """
    started = getattr(context["ti"], "start_date", None)
    if task.execution_timeout is None or started is None:
        return None
    return float((started + task.execution_timeout).timestamp())


def has_time_left(task: BaseOperator, context: Context) -> bool:
    """
    Give a resumed task only what is left of its ``execution_timeout``, and return whether anything is.

    A task without time left still records and collects what has ended while it was deferred, because that is paid for
    and the links expire: only the time in the queue may have made it late. Airflow's alarm, which starts again with
    each resume, bounds that.
    """
    deadline = execution_deadline(task, context)
    if deadline is None:
        return True
    left = deadline - time.time()
    if left <= 0:
        return False
    # Airflow's alarm, where one is set. It is set for the whole time again.
    if (
        threading.current_thread() is threading.main_thread()
        and signal.getitimer(signal.ITIMER_REAL)[0] > left
    ):
        signal.setitimer(signal.ITIMER_REAL, left)
    return True


def execution_timed_out(task: BaseOperator) -> AirflowTaskTimeout:
    """Return the error of a task whose ``execution_timeout`` passed while some of its jobs still ran."""
    return AirflowTaskTimeout(
        f"The execution_timeout of {task.execution_timeout} passed while task {task.task_id!r} was deferred. Its jobs "
        "continue at GoEnhance and are paid for. A retry or clear re-attaches to them and pays nothing."
    )
