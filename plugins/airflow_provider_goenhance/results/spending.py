# SPDX-License-Identifier: Apache-2.0
"""What an execution may spend: the limits of its budgets, the price of a swap, and the figures when one is reached."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .plan import RunKey

#: A whole number that every database takes for "no limit".
_NO_LIMIT = 2**62


@dataclass(frozen=True, slots=True)
class Caps:
    """
    The most that one budget allows; ``None`` for no limit.

    :param max_pairs: submits that may have been accepted
    :param max_cost: credits for them
    """

    max_pairs: int | None = None
    max_cost: int | None = None

    def __bool__(self) -> bool:
        """Return whether there is a limit at all."""
        return self.max_pairs is not None or self.max_cost is not None

    def room(self, used: Amount, price: int | None) -> int:
        """
        Return how many more pairs fit.

        :param price: credits for one pair; a cap on credits without a price leaves no room
        """
        pairs = _NO_LIMIT if self.max_pairs is None else self.max_pairs - used.pairs
        if self.max_cost is None:
            return max(0, pairs)
        left = self.max_cost - used.cost
        affordable = 0 if price is None or left < 0 else left // price if price > 0 else _NO_LIMIT
        return max(0, min(pairs, affordable))


class Amount(NamedTuple):
    """Pairs and credits."""

    pairs: int = 0
    cost: int = 0

    def plus(self, pairs: int, cost: int) -> Amount:
        """Return a changed amount."""
        return Amount(self.pairs + pairs, self.cost + cost)


class Scope(NamedTuple):
    """What one budget is for: its key in the table, and the same for people."""

    budget_id: str
    title: str


@dataclass(frozen=True, slots=True)
class Reached:
    """
    The budget that left no room for a pair.

    :param title: what it is for
    :param limits: what it allows
    :param used: what is reserved and spent
    :param price: credits for one pair
    """

    title: str
    limits: Caps
    used: Amount
    price: int | None = None

    def __str__(self) -> str:
        """Return one sentence with the figures."""
        if self.limits.max_pairs is not None and self.limits.max_pairs <= self.used.pairs:
            return (
                f"The budget of {self.title} is reached: {self.used.pairs} of {self.limits.max_pairs} pairs."
            )
        each = f", and one pair costs {self.price}" if self.price is not None else ""
        return (
            f"The budget of {self.title} is reached: {self.used.cost} of {self.limits.max_cost} credits are spent "
            f"or reserved{each}."
        )


def run_scope(dag_id: str, run_id: str) -> Scope:
    """Return the budget of a run."""
    return Scope(_digest("run", dag_id, run_id), f"run {run_id} of Dag {dag_id}")


def day_scope(account: str, day: str) -> Scope:
    """
    Return the budget of an account on one day.

    :param day: date in UTC, ``2026-11-27``
    """
    return Scope(_digest("day", account, day), f"{day} (UTC) of account {account}")


def _digest(*words: str) -> str:
    return hashlib.sha256("\n".join(("goenhance-budget", *words)).encode()).hexdigest()


def today() -> str:
    """Return the date in UTC, as the budgets of a day have it."""
    return dt.datetime.now(dt.UTC).date().isoformat()


@dataclass(slots=True)
class Spending:
    """
    What one execution may spend, and what it has learned about the price. It belongs to one writer.

    :param account: fingerprint of the account that pays
    :param key: the run
    :param per_run: limits of the run
    :param per_day: limits of the account on each day
    :param price: credits for one swap, ``None`` if nobody knows
    :ivar day: the day that claims count for now; ``None`` where nothing is limited, and claims are not counted
    :ivar days: all days that it has counted claims for
    :ivar refused: rows for which there was no room
    :ivar reached: the budget that left no room the last time
    """

    account: str
    key: RunKey
    per_run: Caps = Caps()
    per_day: Caps = Caps()
    price: int | None = None
    day: str | None = None
    days: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    reached: Reached | None = None

    def __bool__(self) -> bool:
        """Return whether anything is limited."""
        return bool(self.per_run or self.per_day)

    def scopes(self, day: str) -> dict[Scope, Caps]:
        """
        Return both budgets.

        A row remembers one reservation, and gives back to both, as far as they are counted.
        """
        return {
            run_scope(self.key.dag_id, self.key.run_id): self.per_run,
            day_scope(self.account, day): self.per_day,
        }
