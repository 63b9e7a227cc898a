# SPDX-License-Identifier: Apache-2.0
"""What a run would cost, before it starts: pairs, credits, balance and time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..results.budgets import used_so_far
from .messages import pluralize
from .progress import duration

if TYPE_CHECKING:
    from ..api.account import Account
    from ..results.ledger import Ledger
    from ..results.spending import Spending


@dataclass(frozen=True, slots=True)
class Estimate:
    """
    What a run would cost.

    :param pairs: pairs that are not paid for yet
    :param price: credits for one of them, ``None`` if nobody knows
    :param room: pairs that the budgets have room for, ``None`` without budgets
    :param budget: title of the budget with the least room
    :param balance: credits of the account, ``None`` if they were not read
    :param per_second: submits that the account starts per second, 0 if that is not limited
    """

    pairs: int
    price: int | None = None
    room: int | None = None
    budget: str = ""
    balance: int | None = None
    per_second: float = 0.0

    @property
    def paid(self) -> int:
        """Return how many pairs would be paid for."""
        return self.pairs if self.room is None else min(self.pairs, self.room)

    @property
    def cost(self) -> int | None:
        """Return the credits for them, ``None`` if the price is not known."""
        return 0 if not self.paid else None if self.price is None else self.paid * self.price

    @property
    def question(self) -> str:
        """Return the question for the person who approves it."""
        return f"Pay {pluralize(self.cost or 0, 'credit')} for {pluralize(self.paid, 'face swap')}?"

    def __str__(self) -> str:
        """Return the sentences for a log or a question."""
        return " ".join(filter(None, (self._to_pay(), self._budget(), self._balance(), self._time())))

    def _to_pay(self) -> str:
        start = f"To be paid for: {pluralize(self.paid, 'pair')}"
        if not self.paid:
            return "To be paid for: nothing."
        if self.price is None:
            return (
                f"{start}, at a price that is not known: GoEnhance has reported none yet, and the connection names "
                "none (credits_per_swap)."
            )
        return f"{start} x {pluralize(self.price, 'credit')} = {pluralize(self.cost or 0, 'credit')}."

    def _budget(self) -> str:
        held = self.pairs - self.paid
        if not held:
            return ""
        return f"The budget of {self.budget} does not cover {pluralize(held, 'further pair')}, which will be held."

    def _balance(self) -> str:
        if self.balance is None:
            return ""
        if self.cost is None:
            return f"Balance: {pluralize(self.balance, 'credit')}."
        after = self.balance - self.cost
        short = f", which is {-after} too few" if after < 0 else f", {max(0, after)} afterwards"
        return f"Balance: {pluralize(self.balance, 'credit')} now{short}."

    def _time(self) -> str:
        if not self.paid or self.per_second <= 0:
            return ""
        return f"The submits take about {duration(self.paid / self.per_second)} at {self.per_second:g} per second."


def estimate(
    ledger: Ledger, account: Account, spending: Spending, *, pairs: int, balance: int | None
) -> Estimate:
    """
    Return what the pairs of a run would cost now.

    :param pairs: pairs that are not paid for yet
    :param balance: credits of the account, ``None`` if they were not read
    """
    rooms = [
        (caps.room(used, spending.price), scope.title)
        for scope, caps, used in (used_so_far(ledger.database, spending) if spending else [])
    ]
    room, budget = min(rooms, default=(None, ""))
    return Estimate(pairs, spending.price, room, budget, balance, account.requests_per_second)
