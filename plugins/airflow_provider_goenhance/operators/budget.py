# SPDX-License-Identifier: Apache-2.0
"""The budget arguments of the operators that submit: read before anything is sent, and judged at the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..exceptions import BudgetReachedError
from .arguments import choice, limit

if TYPE_CHECKING:
    from ..api.account import Account
    from ..results.ledger import Ledger, RunKey
    from ..results.spending import Caps, Spending
    from ..results.swap import Swap
    from .swap_base import FaceSwapOperatorBase


def caps_of(operator: FaceSwapOperatorBase) -> Caps:
    """
    Return the budget of the run, from an operator's arguments.

    :raises ValueError: when one of them is not valid
    """
    from ..results.spending import Caps

    choice(operator.on_budget_reached, "on_budget_reached", ("hold", "fail"))
    return Caps(limit(operator.max_pairs, "max_pairs"), limit(operator.max_cost, "max_cost"))


def open_spending(ledger: Ledger | None, account: Account, key: RunKey, caps: Caps) -> Spending | None:
    """Return what a task may spend, with its budgets ready; ``None`` without a results table."""
    from ..execution.spending import spending_of
    from ..results.budgets import open_budgets

    spending = spending_of(ledger, account, key, caps)
    if spending and ledger is not None:
        open_budgets(ledger.database, spending)
    return spending


def raise_if_over_budget(operator: FaceSwapOperatorBase, swaps: Sequence[Swap]) -> None:
    """
    Log the pairs for which a budget had no room.

    :raises BudgetReachedError: when ``on_budget_reached`` says so
    """
    from ..execution.messages import pluralize

    over = [swap for swap in swaps if swap.over_budget]
    if not over:
        return
    words = f"{pluralize(len(over), 'pair')} of {len(swaps)} held. {over[0].error_message}"
    if operator.on_budget_reached == "fail":
        raise BudgetReachedError(f"{words} on_budget_reached is 'fail'.")
    operator.log.warning("%s", words)
