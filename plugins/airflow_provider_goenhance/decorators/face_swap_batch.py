# SPDX-License-Identifier: Apache-2.0
"""``@task.goenhance_face_swap_batch``: a function returns pairs, and the task swaps them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import (
    DecoratedOperator,
    context_merge,
    determine_kwargs,
    task_decorator_factory,
)

from ..operators.face_swap_batch import GoEnhanceFaceSwapBatchOperator
from ..retry_policy import fail_fast_without_retry_policy

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.bases.decorator import TaskDecorator

    from ..api.account import Account
    from ..results.ledger import Ledger, RunKey
    from ..results.stores import SwapStore


class DecoratedFaceSwapBatchOperator(DecoratedOperator, GoEnhanceFaceSwapBatchOperator):
    """
    Swap the pairs that a function returns.

    The function runs once in each try. A task that resumes after a deferral does not call it again: its rows are in the
    results table by then. A retry does, and sends nothing that the try before has sent; a pair that the function no
    longer returns is not sent either.

    :param python_callable: returns the pairs: dicts with ``source_img``, ``reference_img`` and optionally ``pair_id``,
        see :class:`..operators.face_swap_batch.GoEnhanceFaceSwapBatchOperator`, which takes all further arguments
    :param op_args: positional arguments of the function (templated)
    :param op_kwargs: keyword arguments of the function (templated)
    """

    custom_operator_name: ClassVar[str] = "@task.goenhance_face_swap_batch"
    # What the function returns is data and no template.
    template_fields: Sequence[str] = (
        *DecoratedOperator.template_fields,
        *(name for name in GoEnhanceFaceSwapBatchOperator.template_fields if name not in {"pairs", "batch"}),
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {**DecoratedOperator.template_fields_renderers}

    def __init__(
        self,
        *,
        python_callable: Callable[..., Sequence[Mapping[str, Any]]],
        op_args: Sequence[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        for name in ("pairs", "batch"):
            if kwargs.get(name) is not None:
                raise TypeError(
                    f"{self.custom_operator_name} takes no argument {name!r}: its pairs are what the function returns."
                )
        if kwargs.pop("multiple_outputs", False):
            raise TypeError(
                f"{self.custom_operator_name} takes no argument 'multiple_outputs': its value is a list."
            )
        super().__init__(python_callable=python_callable, op_args=op_args, op_kwargs=op_kwargs, **kwargs)

    @property
    def label(self) -> str:
        """The name of a mapped task in the UI."""
        return super().label if self.label_text else str(self.python_callable.__name__)

    def execute(self, context: Context) -> Any:
        """Call the function, and swap the pairs that it returns."""
        context_merge(context, self.op_kwargs)
        arguments = determine_kwargs(self.python_callable, self.op_args, context)
        try:
            returned = self.python_callable(*self.op_args, **arguments)
        except (ValueError, TypeError) as error:
            # As errors of the operator's arguments they would never be retried.
            raise RuntimeError(
                f"The function of task {self.task_id!r} raised {type(error).__name__}: {error}"
            ) from error
        with fail_fast_without_retry_policy():
            self.pairs = self._written_pairs = self._checked(returned)
        return super().execute(context)

    def _checked(self, returned: Any) -> list[Mapping[str, Any]]:
        if not isinstance(returned, list | tuple) or not all(isinstance(pair, Mapping) for pair in returned):
            raise ValueError(
                f"The function of task {self.task_id!r} must return a list of dicts with `source_img` and "
                f"`reference_img`; it returned {_kind_of(returned)}. Nothing was sent or paid."
            )
        return list(returned)

    def open_store(self, context: Context, account: Account) -> SwapStore:
        """Return the task's rows: planned first, or those that the table has if the task resumes."""
        if self.pairs is not None:
            return super().open_store(context, account)
        from ..results.stores import TableStore

        ledger = self.open_ledger()
        key, index = self.run_key(context), self.map_index_of(context)
        return TableStore(
            ledger,
            lambda: [
                swap
                for swap in ledger.of_run(key, task_id=self.task_id, map_index=index, counted=True)
                if swap.batch is None
            ],
        )

    def text_renderer(self, context: Context) -> Callable[[str], str] | None:
        """Return ``None``: what the function returns is no template."""
        return None

    def _plan(
        self,
        records: Sequence[Mapping[str, Any]],
        ledger: Ledger,
        key: RunKey,
        account: Account,
        context: Context,
    ) -> list[str]:
        """Plan the rows, and withdraw those of an earlier try that the function no longer returns."""
        from ..results.plan_transitions import WITHDRAWN, Restored, Withdrawn
        from ..results.states import Status

        ids = super()._plan(records, ledger, key, account, context)
        now = set(ids)
        of_task = [
            swap
            for swap in ledger.of_run(key, task_id=self.task_id, map_index=self.map_index_of(context))
            if swap.batch is None
        ]
        back = [swap for swap in of_task if swap.swap_id in now and swap.error_code == WITHDRAWN]
        unsent = {Status.PLANNED, Status.HELD}
        gone = [swap for swap in of_task if swap.swap_id not in now and swap.status in unsent]
        ledger.take([*(Restored(swap.swap_id) for swap in back), *(Withdrawn(swap.swap_id) for swap in gone)])
        return ids


def _kind_of(value: Any) -> str:
    if isinstance(value, list | tuple):
        other = next(item for item in value if not isinstance(item, Mapping))
        return f"a {type(value).__name__} with a {type(other).__name__} in it"
    return f"a value of type {type(value).__name__}"


def goenhance_face_swap_batch_task(
    python_callable: Callable[..., Sequence[Mapping[str, Any]]] | None = None, **kwargs: Any
) -> TaskDecorator:
    """
    Turn a function that returns pairs into a task that swaps them.

    It is ``@task.goenhance_face_swap_batch`` where the package is installed, and is imported where it is only in the
    plugins folder.

    :param python_callable: the function
    :param kwargs: arguments of :class:`..operators.face_swap_batch.GoEnhanceFaceSwapBatchOperator`
    """
    return task_decorator_factory(
        python_callable=python_callable,
        decorated_operator_class=DecoratedFaceSwapBatchOperator,
        **kwargs,
    )
