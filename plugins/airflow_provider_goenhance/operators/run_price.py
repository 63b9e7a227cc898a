# SPDX-License-Identifier: Apache-2.0
"""What a run costs, found out before it starts: the account's balance, the price, and whether a person must approve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..exceptions import GoEnhanceError, OutOfCreditsError
from ..execution.messages import pluralize
from ..execution.price import Estimate, estimate
from ..execution.progress import duration
from ..execution.spending import spending_of
from .approval import ask
from .credit_check import store_planned_balance

if TYPE_CHECKING:
    from airflow.sdk import Context

    from ..hooks.account import AccountClient
    from ..results.ledger import Ledger, RunKey
    from ..results.spending import Caps
    from .plan import GoEnhancePlanOperator


class RunPrice:
    """
    Prices a run.

    :param ledger: the results table
    :param hook: of the account that pays
    :param key: the run
    :param caps: its budget
    :param approve_above: credits above which a person must approve, ``None`` for never
    :raises ValueError: when a limit in credits is set and nobody knows the price
    """

    def __init__(
        self, ledger: Ledger, hook: AccountClient, key: RunKey, caps: Caps, approve_above: int | None
    ) -> None:
        self._ledger = ledger
        self._hook = hook
        self._key = key
        self._approve_above = approve_above
        spending = spending_of(ledger, hook.account(), key, caps)
        assert spending is not None  # noqa: S101  there is a results table
        self._spending = spending
        if approve_above is not None and spending.price is None:
            raise ValueError(
                f"approve_above={approve_above} is set, but the price of a swap is not known: GoEnhance has reported "
                f"none for this account, and the connection {hook.account().conn_id!r} names none. Nothing was sent. "
                "Set credits_per_swap (credits for one swap) on the connection."
            )

    def of_dry_run(self, pairs: int, check_account: bool) -> Estimate:
        """
        Return what a run would cost.

        :param pairs: how many pairs it would pay for
        :param check_account: whether the balance is read
        """
        balance = self._hook.get_credits().count if check_account else None
        return self._estimate(pairs, balance)

    def of_run(self, unpaid: int, check_account: bool) -> Estimate:
        """
        Return what the run costs.

        :param unpaid: pairs that are not paid for yet
        :param check_account: whether the balance is read, if there is anything to pay for
        :raises GoEnhanceError: when the account cannot be used, or has no credits
        """
        return self._estimate(unpaid, self._balance(unpaid) if check_account and unpaid else None)

    def needs_approval(self, found: Estimate) -> bool:
        """Return whether a person must approve what a run costs."""
        return self._approve_above is not None and (found.cost or 0) > self._approve_above

    def ask(
        self, task: GoEnhancePlanOperator, context: Context, manifests: Sequence[str], found: Estimate
    ) -> None:
        """
        Park the task until a person has approved what the run costs.

        :param manifests: where they were read from
        """
        open_for = duration(task.approval_timeout.total_seconds())
        task.log.info("More than approve_above=%s: waiting for a person's approval.", self._approve_above)
        ask(
            task,
            context,
            subject=found.question,
            body=f"Run `{self._key.run_id}` of Dag `{self._key.dag_id}`, manifest "
            f"{', '.join(f'`{location}`' for location in manifests)}.\n\n"
            f"{found}\n\nWithout an answer within {open_for}, nothing is sent.",
            timeout=task.approval_timeout,
            notifiers=task.approval_notifiers,
        )

    def _estimate(self, pairs: int, balance: int | None) -> Estimate:
        return estimate(self._ledger, self._hook.account(), self._spending, pairs=pairs, balance=balance)

    def _balance(self, unpaid: int) -> int:
        stay = f"{pluralize(unpaid, 'row')} of this run {'stays' if unpaid == 1 else 'stay'} planned"
        try:
            credits_ = self._hook.get_credits()
        except GoEnhanceError as error:
            steps = (
                "A retry or clear continues from there"
                if error.retryable
                else "Fix the cause, then clear this task"
            )
            error.message = f"{error.message} {stay}, and nothing was paid for. {steps}."
            error.args = (error.message,)
            raise
        store_planned_balance(self._hook, self._ledger, self._key, credits_.count)
        if credits_.count <= 0:
            raise OutOfCreditsError(
                f"The GoEnhance account of {self._hook.account()} has no credits left. {stay}, and nothing was paid "
                "for. Top it up, then clear this task."
            )
        return credits_.count
