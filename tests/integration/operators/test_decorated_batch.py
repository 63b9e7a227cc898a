# SPDX-License-Identifier: Apache-2.0
"""``@task.goenhance_face_swap_batch``: when its function is called, and what becomes of what it returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_goenhance.decorators.face_swap_batch import DecoratedFaceSwapBatchOperator

from .light_runner import LightTask


class DecoratedTask:
    """A task whose function returns the pairs that it is given."""

    def __init__(self, task: LightTask) -> None:
        self.task = task
        self.calls = 0
        self.returned: Any = task.pairs
        task.operator = self.operator  # type: ignore[method-assign]

    def operator(self) -> DecoratedFaceSwapBatchOperator:
        def swap() -> Any:
            self.calls += 1
            return self.returned

        return DecoratedFaceSwapBatchOperator(task_id="swap", python_callable=swap, **self.task.arguments)


@pytest.fixture
def decorated(task: Callable[..., LightTask]) -> Callable[..., DecoratedTask]:
    def make(**options: Any) -> DecoratedTask:
        return DecoratedTask(task(kind="batch", **options))

    return make


def test_a_resumed_task_goes_on_with_its_rows_and_does_not_call_its_function_again(
    decorated: Callable[..., DecoratedTask],
) -> None:
    one = decorated(pairs=2, deferrable=True)

    ending = one.task.attempt()

    assert ending.error is None
    assert ending.deferrals >= 1
    assert one.calls == 1
    assert [(pair["pair_id"], pair["status"]) for pair in ending.value] == [
        ("pair-1", "succeeded"),
        ("pair-2", "succeeded"),
    ]
    assert one.task.accepted() == 2


def test_a_retry_calls_its_function_again_and_pays_for_no_pair_twice(
    decorated: Callable[..., DecoratedTask],
) -> None:
    one = decorated(pairs=2, deferrable=True)
    one.task.attempt()

    ending = one.task.attempt()

    assert one.calls == 2
    assert ending.error is None
    assert one.task.accepted() == 2


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_pair_that_the_function_no_longer_returns_is_withdrawn_and_comes_back_with_it(
    decorated: Callable[..., DecoratedTask], deferrable: bool
) -> None:
    one = decorated(pairs=2, deferrable=deferrable)
    one.task.sandbox.put_faults(submit={"kind": "rate_limited", "retry_after": 600})
    assert one.task.attempt().error is not None
    one.task.sandbox.put_faults(submit=None)
    one.task.let_the_pause_end()
    first, second = one.task.pairs

    one.returned = [second]
    ending = one.task.attempt()

    assert [pair["pair_id"] for pair in ending.value] == ["pair-2"]
    assert one.task.accepted() == 1
    assert one.task.row(1)["status"] == "rejected"
    assert one.task.row(1)["error_code"] == "withdrawn"

    one.returned = [first, second]
    ending = one.task.attempt()

    assert [pair["status"] for pair in ending.value] == ["succeeded", "succeeded"]
    assert one.task.accepted() == 2


@pytest.mark.parametrize(
    ("returned", "named"),
    [(None, "a value of type NoneType"), ("[]", "a value of type str"), (["a"], "a list with a str in it")],
)
def test_a_function_that_returns_no_pairs_fails_its_task_before_anything_is_sent(
    decorated: Callable[..., DecoratedTask], returned: Any, named: str
) -> None:
    one = decorated(pairs=1)
    one.returned = returned

    ending = one.task.attempt()

    assert isinstance(ending.error, ValueError)
    assert named in ending.message
    assert one.task.accepted() == 0


def test_an_error_of_the_function_may_be_retried(decorated: Callable[..., DecoratedTask]) -> None:
    one = decorated(pairs=1)

    def broken() -> Any:
        raise ValueError("the page had no JSON")

    operator = DecoratedFaceSwapBatchOperator(task_id="swap", python_callable=broken, **one.task.arguments)
    with pytest.raises(RuntimeError, match="raised ValueError: the page had no JSON"):
        operator.execute({"ti": one.task.ti})  # type: ignore[typeddict-item]


@pytest.mark.parametrize("argument", [{"pairs": []}, {"batch": 1}])
def test_pairs_come_from_the_function_alone(argument: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="its pairs are what the function returns"):
        DecoratedFaceSwapBatchOperator(task_id="swap", python_callable=list, **argument)
