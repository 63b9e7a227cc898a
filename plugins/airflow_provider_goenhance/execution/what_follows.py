# SPDX-License-Identifier: Apache-2.0
"""What a clear of tasks, or a new run of some rows, would do and cost, before anybody does it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from ..results.pair_history import rejected_and_sent_since
from ..results.prices import learned_price
from ..results.recovery import Action, Policies, after_clear
from ..results.row_groups import account_of, groups_of
from ..results.run_rows import RunRows
from ..results.states import Status
from .messages import all_actions, new_run, pluralize
from .past_runs import location_of, rows_of

if TYPE_CHECKING:
    from ..results.ledger import Ledger, RunKey
    from ..results.swap import Swap
    from .past_runs import RowChoice


class TaskInstance(NamedTuple):
    """
    A task instance of a run.

    :param map_index: -1 for one that is not mapped
    """

    task_id: str
    map_index: int = -1

    @classmethod
    def of(cls, swap: Swap) -> TaskInstance | None:
        """Return the task instance that a row belongs to, ``None`` for one that no task ever sends."""
        # A plan puts neither of the two into a batch, and without an index a clear would be one of all mapped tasks.
        unsent = swap.status is Status.REJECTED or (swap.status is Status.REUSED and swap.map_index is None)
        if unsent or swap.task_id is None:
            return None
        return cls(swap.task_id, -1 if swap.map_index is None else swap.map_index)


@dataclass(frozen=True, slots=True)
class ClearPreview:
    """
    What a clear does with all rows of some task instances.

    :param tasks: the task instances
    :param actions: rows by what happens to them
    :param price: credits for one swap, ``None`` if nobody knows
    """

    tasks: Sequence[TaskInstance]
    actions: Counter[Action]
    price: int | None = None

    @property
    def credits(self) -> int | None:
        """Return what the pairs cost that are certain to be submitted."""
        return None if self.price is None else self.price * self.actions[Action.SUBMIT]

    @property
    def sentence(self) -> str:
        """Return it in words, with the price."""
        tasks = pluralize(len(self.tasks), "task")
        return (
            f"Clearing {tasks} {all_actions(self.actions)}. "
            f"{_money(self.actions[Action.SUBMIT], self.price, unsure=bool(self.actions[Action.LOOK]))}"
        )


def tasks_of(rows: Iterable[Swap]) -> list[TaskInstance]:
    """Return the task instances that hold some rows; rows that were rejected or reused by the plan are in none."""
    return sorted({task for row in rows if (task := TaskInstance.of(row)) is not None})


def preview_clear(
    ledger: Ledger,
    key: RunKey,
    tasks: Sequence[TaskInstance],
    policies_of: Callable[[TaskInstance], Policies] = lambda task: Policies(),
) -> ClearPreview:
    """
    Return what a clear of some task instances of a run does.

    :param policies_of: the policies of a task instance
    """
    wanted = set(tasks)
    actions: Counter[Action] = Counter()
    for task_id in sorted({task.task_id for task in tasks}):
        rows = RunRows(ledger.database, key, task_id=task_id, counted=True)
        for example, count in groups_of(rows, by_task=True):
            task = TaskInstance.of(example)
            if task in wanted:
                actions[after_clear(example, policies_of(task))] += count
    account = account_of(RunRows(ledger.database, key))
    return ClearPreview(tasks, actions, learned_price(ledger.database, account) if account else None)


@dataclass(frozen=True, slots=True)
class NewRunPreview:
    """
    What a new run does with the rows of an earlier one.

    :param manifest: what the new run reads
    :param does: rows by what happens to them, as the end of a sentence
    :param paid: rows that are paid for again, or for the first time
    :param price: credits for one swap, ``None`` if nobody knows
    :param sent_since: rejected pictures whose pairs were sent again since, and are paid for once more
    """

    manifest: str
    does: Counter[str] = field(default_factory=Counter)
    paid: int = 0
    price: int | None = None
    sent_since: int = 0

    @property
    def rows(self) -> int:
        """Return how many rows there are."""
        return self.does.total()

    @property
    def credits(self) -> int | None:
        """Return what the rows cost."""
        return None if self.price is None else self.price * self.paid

    @property
    def sentences(self) -> list[str]:
        """Return it in words, the most frequent first, and the price last."""
        each = [f"{pluralize(count, 'row')}: it {does}." for does, count in self.does.most_common()]
        one = self.sent_since == 1
        since = (
            f"{self.sent_since:,} of these pairs {'was' if one else 'were'} sent again since the rejected picture was "
            f"made, and {'is' if one else 'are'} paid for once more: look for the new picture first."
        )
        return [
            *each,
            *([since] if self.sent_since else []),
            _money(self.paid, self.price, unsure=any(does.startswith("checks again") for does in self.does)),
        ]


def preview_new_run(ledger: Ledger, key: RunKey, choice: RowChoice, policies: Policies) -> NewRunPreview:
    """
    Return what a new run does that reads rows of an earlier one with ``manifest="run:<dag_id>/<run_id>"``.

    :param choice: which rows
    :param policies: those of the new run
    """
    does: Counter[str] = Counter()
    paid = 0
    for example, count in groups_of(rows_of(ledger, key, choice)):
        if example.status is Status.REJECTED:
            does["rejects the row again unless its manifest was corrected"] += count
            continue
        action = new_run(example, policies)
        does[action] += count
        paid += count if action.startswith("submits") else 0
    account = account_of(RunRows(ledger.database, key))
    price = learned_price(ledger.database, account) if account else None
    since = rejected_and_sent_since(ledger.database, key) if choice.reviews else 0
    return NewRunPreview(location_of(key), does, paid, price, since)


def _money(submits: int, price: int | None, *, unsure: bool) -> str:
    if not submits:
        return "Held pairs that may be sent now are paid for." if unsure else "Nothing is paid."
    if price is None:
        return f"{pluralize(submits, 'submit')} will be paid for; the price is not known."
    return f"{pluralize(submits, 'submit')} will be paid for: about {pluralize(submits * price, 'credit')}."
