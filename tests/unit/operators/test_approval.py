# SPDX-License-Identifier: Apache-2.0
"""Only a person's yes is a yes."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_goenhance.operators import approval
from airflow_provider_goenhance.operators.approval import Answer, ask, not_approved, read_answer
from airflow_provider_goenhance.retry_policy import is_final

ANNA = {"id": "1", "name": "anna"}


@pytest.mark.parametrize(
    ("event", "answer"),
    [
        ({"chosen_options": ["Approve"], "responded_by_user": ANNA}, Answer(True, "anna")),
        ({"chosen_options": ["Reject"], "responded_by_user": ANNA}, Answer(False, "anna")),
        ({"chosen_options": ["Approve"], "responded_by_user": None}, Answer(False)),
        ({"chosen_options": ["Reject"], "responded_by_user": None, "timedout": True}, Answer(False)),
        ({"chosen_options": ["Approve", "Reject"], "responded_by_user": ANNA}, Answer(False, "anna")),
        ({"error": "The timeout has passed.", "error_type": "timeout"}, Answer(False)),
        ({}, Answer(False)),
        (None, Answer(False)),
    ],
)
def test_only_one_clear_answer_of_a_person_approves(event: Any, answer: Answer) -> None:
    assert read_answer(event) == answer


@pytest.mark.parametrize(("by", "said"), [("anna", "anna refused"), (None, "No one approved within 60 min")])
def test_a_no_is_final_and_says_whose_it_was(by: str | None, said: str) -> None:
    error = not_approved(Answer(False, by), dt.timedelta(hours=1))
    assert str(error).startswith(f"{said} what this run would cost. Nothing was sent or paid")
    assert is_final(error)


def test_a_question_is_recorded_before_anybody_is_notified_and_then_the_task_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    happened: list[tuple[str, Any]] = []

    def park(task: Any, ti_id: Any, **how: Any) -> None:
        happened.append(("wait", how))
        raise TaskDeferred(trigger=None, method_name="execute_complete")

    monkeypatch.setattr(
        "airflow.sdk.execution_time.hitl.upsert_hitl_detail",
        lambda **question: happened.append(("question", question)),
    )
    monkeypatch.setattr(approval, "wait_for_a_person", park)
    context: Any = {"ti": SimpleNamespace(id="ti-1")}
    notifier: Any = lambda given: happened.append(("notified", given))  # noqa: E731

    hour = dt.timedelta(hours=1)
    with pytest.raises(TaskDeferred):
        ask(SimpleNamespace(), context, subject="Pay?", body="12", timeout=hour, notifiers=[notifier])  # type: ignore[arg-type]

    # Nobody's answer is a no: it is what the question falls back to.
    assert happened == [
        (
            "question",
            {
                "ti_id": "ti-1",
                "options": ["Approve", "Reject"],
                "subject": "Pay?",
                "body": "12",
                "defaults": ["Reject"],
                "multiple": False,
                "params": {},
            },
        ),
        ("notified", context),
        ("wait", {"options": ["Approve", "Reject"], "defaults": ["Reject"], "timeout": hour}),
    ]
