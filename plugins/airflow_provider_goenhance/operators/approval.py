# SPDX-License-Identifier: Apache-2.0
"""Ask a person through Airflow's human-in-the-loop mechanism, and read the answer."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from ..compatibility import wait_for_a_person
from ..exceptions import NotApprovedError

if TYPE_CHECKING:
    from airflow.sdk import BaseNotifier, BaseOperator, Context

#: The two answers, as Airflow's own ApprovalOperator names them.
APPROVE, REJECT = "Approve", "Reject"


@dataclass(frozen=True, slots=True)
class Answer:
    """
    The answer to a question.

    :param approved: whether a person said yes; an unanswered question counts as a no
    :param by: who answered, ``None`` if nobody did
    """

    approved: bool
    by: str | None = None


def ask(
    task: BaseOperator,
    context: Context,
    *,
    subject: str,
    body: str,
    timeout: dt.timedelta,
    notifiers: Sequence[BaseNotifier] = (),
) -> NoReturn:
    """
    Park the task until a person has answered; it continues in ``execute_complete``.

    On Airflow 3.3 a parked task holds neither a worker nor a trigger; on 3.1 and 3.2 it is deferred.

    :param timeout: how long to wait; then the answer is :data:`REJECT`
    :param notifiers: called with the context, so that somebody learns of the question
    """
    from airflow.sdk.execution_time.hitl import upsert_hitl_detail

    ti_id = context["ti"].id
    options = [APPROVE, REJECT]
    upsert_hitl_detail(
        ti_id=ti_id,
        options=options,
        subject=subject,
        body=body,
        defaults=[REJECT],
        multiple=False,
        params={},
    )
    for notifier in notifiers:
        notifier(context)
    wait_for_a_person(task, ti_id, options=options, defaults=[REJECT], timeout=timeout)


def read_answer(event: Any) -> Answer:
    """
    Return the answer that a parked task continues with. Anything but a person's yes is a no.

    :param event: what Airflow passes to ``execute_complete``
    """
    if not isinstance(event, dict) or event.get("timedout"):
        return Answer(approved=False)
    user = event.get("responded_by_user")
    name = user.get("name") or user.get("id") if isinstance(user, dict) else getattr(user, "name", None)
    approved = list(event.get("chosen_options") or []) == [APPROVE] and name is not None
    return Answer(approved, str(name) if name is not None else None)


def not_approved(answer: Answer, timeout: dt.timedelta) -> NotApprovedError:
    """Return the error for an answer that is no."""
    from ..execution.progress import duration

    said = (
        f"{answer.by} refused" if answer.by else f"No one approved within {duration(timeout.total_seconds())}"
    )
    return NotApprovedError(
        f"{said} what this run would cost. Nothing was sent or paid, and its rows stay planned. Clear this task to be "
        "asked again; the next run is not affected."
    )
