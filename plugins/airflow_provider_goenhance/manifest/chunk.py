# SPDX-License-Identifier: Apache-2.0
"""Choose the size of the batches that mapped tasks work on, and label them."""

from __future__ import annotations

from typing import Protocol


class Named(Protocol):
    """A pair of the manifest, or its row in the results table."""

    @property
    def pair_id(self) -> str:
        """Name of the pair."""

    @property
    def row_number(self) -> int | None:
        """Row number in the manifest."""


#: Up to this many pairs each get a task of their own.
ONE_TO_ONE = 8
#: Pairs in one task, where more tasks are not needed: one task keeps the limit of an account busy, and several share
#: it less smoothly.
_AIMED_AT = 10_000
#: The most pairs in one task, so that its memory does not grow with the run.
_MOST = 20_000
#: Pairs from which on every task has the most, so that the size of the batches does not depend on how many follow.
_MANY = 200_000
#: Tasks that run at once, where it is not known how many may.
SLOTS = 16


def choose_pairs_per_task(pairs: int, asked: int = 0, max_tasks: int = 1000, slots: int = SLOTS) -> int:
    """
    Choose how many pairs each mapped task works on.

    A few large tasks are fastest: each keeps the limit of the account busy by itself, and is safe row by row. So 0
    means one pair per task up to 8 pairs, and beyond that tasks of equal size with at most 10,000 pairs. With fewer
    slots than tasks they grow up to 20,000 pairs, which each has in runs of 200,000 pairs and more.

    :param pairs: how many pairs there are
    :param asked: the size that the user asked for; 0 chooses one
    :param max_tasks: the most tasks a run may map
    :param slots: how many of the tasks may run at once
    :returns: pairs per task, at least 1. Greater than ``asked`` if ``asked`` would map more than ``max_tasks``
    :raises ValueError: if a number is negative, or ``max_tasks`` or ``slots`` is 0
    """
    if pairs < 0 or asked < 0 or max_tasks < 1 or slots < 1:
        raise ValueError(
            "pairs and pairs per task must not be negative, and max_tasks and slots must be at least 1; "
            f"got pairs={pairs}, pairs per task={asked}, max_tasks={max_tasks}, slots={slots}."
        )
    if asked:
        wished = asked
    elif pairs <= ONE_TO_ONE:
        wished = 1
    else:
        most = min(_MOST, max(_AIMED_AT, _ceil_div(pairs, slots)))
        wished = settled_pairs_per_task(pairs, slots) or _ceil_div(pairs, _ceil_div(pairs, most))
    return max(wished, _ceil_div(pairs, max_tasks))


def settled_pairs_per_task(pairs: int, slots: int = SLOTS) -> int | None:
    """
    Return how many pairs 0 chooses for each mapped task, however many follow; ``None`` if that is still open.

    Only if they would need more tasks than a run may map, they become more.
    """
    return _MOST if pairs >= min(slots * _MOST, _MANY) else None


def _ceil_div(amount: int, by: int) -> int:
    return -(-amount // by)


def batch_label(first: Named, last: Named, number: int, pairs: int | None = None) -> str:
    """
    Return the label of a batch in the list of mapped tasks.

    :param first: its first pair
    :param last: its last pair, the same one if the batch has only one
    :param number: the batch's own number
    :param pairs: how many pairs it has, if that is known
    :returns: the pair_id of a single pair, otherwise e.g. ``12: rows 302-2801 (2,500 pairs)``
    """
    if pairs == 1 or (pairs is None and first.row_number == last.row_number):
        return first.pair_id
    counted = "" if pairs is None else f" ({pairs:,} pairs)"
    return f"{number}: rows {first.row_number}-{last.row_number}{counted}"
