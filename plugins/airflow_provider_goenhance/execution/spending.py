# SPDX-License-Identifier: Apache-2.0
"""What a task may spend: its own caps, those of the connection, and the price of one swap."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ..results.prices import learned_price
from ..results.spending import Caps, Spending
from .messages import pluralize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..api.account import Account
    from ..results.ledger import Ledger, RunKey
    from ..results.stores import SwapStore
    from ..results.swap import Swap

log = logging.getLogger(__name__)


def caps_per_day(account: Account) -> Caps:
    """Return the most that an account may pay for on one day."""
    return Caps(account.max_pairs_per_day, account.max_cost_per_day)


def price_of(ledger: Ledger, account: Account) -> int | None:
    """Return the credits for one swap: as GoEnhance reported them last, or else as the connection names them."""
    learned = learned_price(ledger.database, account.fingerprint)
    return account.credits_per_swap if learned is None else learned


def spending_of(ledger: Ledger | None, account: Account, key: RunKey, per_run: Caps) -> Spending | None:
    """
    Return what a task of a run may spend.

    :param ledger: the results table; without one there are no budgets
    :param per_run: the caps of the run
    :raises ValueError: when a cap cannot be kept to; nothing was sent then
    """
    per_day = caps_per_day(account)
    if ledger is None:
        if per_run or per_day:
            raise ValueError(
                f"A budget is set ({_named(per_run, per_day)}), and this task has no results table to count in. "
                "Nothing was sent. Set results_conn_id on the task, or remove the budget."
            )
        return None
    spending = Spending(account.fingerprint, key, per_run, per_day, price_of(ledger, account))
    if spending.price is None and (per_run.max_cost is not None or per_day.max_cost is not None):
        name = "max_cost" if per_run.max_cost is not None else "max_cost_per_day"
        raise ValueError(
            f"{name} is set, but the price of a swap is not known: GoEnhance has reported none for this account, and "
            f"the connection {account.conn_id!r} names none. Nothing was sent. Set credits_per_swap (credits for one "
            "swap) on the connection, or cap the pairs instead of the credits."
        )
    return spending


def conclude(store: SwapStore, spending: Spending, over: Sequence[Swap], price_before: int | None) -> None:
    """
    Store what a round of submits has found out: the price, and that a budget is reached.

    :param over: the rows for which a budget had no room
    :param price_before: the price that the round began with
    """
    if spending.price is not None and spending.price != price_before:
        store.record_price(spending.account, spending.price)
    _hold(store, spending, over)


def _hold(store: SwapStore, spending: Spending, over: Sequence[Swap]) -> None:
    """Hold the rows for which a budget had no room, with the figures."""
    if not over or spending.reached is None:
        return
    message = (
        f"Not sent, and nothing was paid: {_lower_first(str(spending.reached))} To send the pair, raise the budget "
        "and clear its task, or start a new run."
    )
    log.warning(
        "%s Held: %s, from %s on. Nothing was paid for them.",
        spending.reached,
        pluralize(len(over), "pair"),
        over[0].label,
    )
    store.hold_for_budget([swap.swap_id for swap in over], message)


def _lower_first(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def _named(per_run: Caps, per_day: Caps) -> str:
    named = {
        "max_pairs": per_run.max_pairs,
        "max_cost": per_run.max_cost,
        "max_pairs_per_day": per_day.max_pairs,
        "max_cost_per_day": per_day.max_cost,
    }
    return ", ".join(f"{name}={value}" for name, value in named.items() if value is not None)
