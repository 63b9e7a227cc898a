# SPDX-License-Identifier: Apache-2.0
"""What a run that did not go well advises: only what fits its rows."""

from __future__ import annotations

import pytest

from airflow_provider_goenhance.execution.endings import advice, trouble
from airflow_provider_goenhance.results.states import Status

WORDS = {
    Status.UNKNOWN: "Settle the unknown submits first",
    Status.HELD: "The lines above say what each held pair waits for",
    Status.FAILED: "Clear the tasks of the failed pairs",
    Status.REJECTED: "Correct the rejected rows in the manifest",
}


@pytest.mark.parametrize("status", WORDS)
def test_a_run_with_one_kind_of_trouble_advises_what_helps_there_and_nothing_else(status: Status) -> None:
    (sentence,) = advice({status: 3, Status.SUCCEEDED: 7})
    assert sentence.startswith(WORDS[status])


def test_what_must_be_done_first_comes_first() -> None:
    said = advice({Status.REJECTED: 1, Status.FAILED: 1, Status.HELD: 1, Status.UNKNOWN: 1})
    assert said[0].startswith("Settle the unknown submits first")
    assert said[-1].startswith("Correct the rejected rows")


def test_a_run_in_which_all_went_well_advises_nothing() -> None:
    assert advice({Status.SUCCEEDED: 3, Status.FAILED: 0}) == []
    assert trouble({Status.SUCCEEDED: 3, Status.FAILED: 0}) == ""


def test_trouble_is_counted_by_state() -> None:
    assert trouble({Status.UNKNOWN: 1, Status.FAILED: 2, Status.SUCCEEDED: 5}) == "2 failed, 1 unknown"
