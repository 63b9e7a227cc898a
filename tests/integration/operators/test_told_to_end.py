# SPDX-License-Identifier: Apache-2.0
"""A task that is told to end before it has sent anything sends nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_goenhance.exceptions import TaskEndedError

from .light_runner import LightTask


def _while_it_starts(operator: Any) -> None:
    """Tell the operator to end after it has read its connection, before it plans."""
    account = operator.account

    def told_to_end() -> Any:
        operator.on_kill()
        return account()

    operator.account = told_to_end


def _before_it_starts(operator: Any) -> None:
    operator.on_kill()


@pytest.mark.parametrize("told", [_before_it_starts, _while_it_starts])
@pytest.mark.parametrize(
    "options",
    [
        {"kind": "batch"},
        {"kind": "single"},
        {"kind": "single", "results_conn_id": None},
        {"kind": "batch", "deferrable": True},
        {"kind": "single", "wait_for_completion": False},
    ],
)
def test_a_task_told_to_end_before_its_first_submit_sends_nothing_and_a_retry_sends_all(
    task: Callable[..., LightTask], options: dict[str, Any], told: Callable[[Any], None]
) -> None:
    swap = task(**options)
    operator = swap.operator()
    told(operator)
    swap.operator = lambda: operator  # type: ignore[method-assign]

    ending = swap.attempt()

    assert isinstance(ending.error, TaskEndedError)
    assert swap.accepted() == 0
    if swap.arguments["results_conn_id"]:
        assert {row["status"] for row in swap.rows().values()} == {"planned"}

    del swap.operator  # the retry is another process
    assert swap.attempt().error is None
    assert swap.accepted() == len(swap.pairs)


def test_being_told_to_end_after_the_end_means_nothing_for_the_next_execution(
    task: Callable[..., LightTask],
) -> None:
    swap = task()
    operator = swap.operator()
    swap.operator = lambda: operator  # type: ignore[method-assign]
    swap.sandbox.put_faults(submit={"kind": "http_error", "status": 401, "count": 1})

    swap.attempt()
    operator.on_kill()  # as Airflow does after an execution_timeout
    again = swap.attempt()

    assert again.error is None
    assert swap.accepted() == 1
