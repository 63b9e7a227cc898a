# SPDX-License-Identifier: Apache-2.0
"""Only a person's yes is a yes."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from airflow_provider_goenhance.operators.approval import Answer, not_approved, read_answer
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
