# SPDX-License-Identifier: Apache-2.0
"""Cut pairs into the batches that mapped tasks work on, and name them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

T = TypeVar("T")


class Named(Protocol):
    """What a label is made of: a pair of the manifest, or its row in the results table."""

    @property
    def pair_id(self) -> str:
        """Name of the pair."""

    @property
    def row_number(self) -> int | None:
        """Its row in the manifest."""


#: Up to this many pairs each get a task of their own.
ONE_TO_ONE = 24
_FEWEST_PER_TASK = 25
_TASKS_AIMED_AT = 200


def choose_pairs_per_task(pairs: int, asked: int = 0, max_tasks: int = 1000) -> int:
    """
    Choose how many pairs each mapped task works on.

    Airflow fails a task that maps more than 1,024 (``[core] max_map_length``), and each mapped task costs the
    scheduler time, so 0 means: one to one up to 24 pairs, beyond that at least 25 a task and about 200 tasks.

    :param pairs: how many pairs there are
    :param asked: the user's wish; 0 to choose well
    :param max_tasks: the most tasks a run may map
    :returns: pairs per task, at least 1. Greater than ``asked`` if ``asked`` would map more than ``max_tasks``
    :raises ValueError: if a number is negative, or ``max_tasks`` is 0
    """
    if pairs < 0 or asked < 0 or max_tasks < 1:
        raise ValueError(
            f"pairs={pairs}, pairs per task={asked}, max_tasks={max_tasks}: give no negative number, and "
            "allow at least one task"
        )
    if asked:
        wished = asked
    elif pairs <= ONE_TO_ONE:
        wished = 1
    else:
        wished = max(_FEWEST_PER_TASK, _ceil_div(pairs, _TASKS_AIMED_AT))
    return max(wished, _ceil_div(pairs, max_tasks))


def _ceil_div(amount: int, by: int) -> int:
    return -(-amount // by)


def chunk(items: Sequence[T], size: int) -> Iterator[list[T]]:
    """
    Cut a sequence into lists of ``size`` items, the last one shorter if need be.

    :raises ValueError: if ``size`` is less than 1
    """
    if size < 1:
        raise ValueError(f"a batch of {size} pairs: give at least 1")
    return (list(items[start : start + size]) for start in range(0, len(items), size))


def batch_label(first: Named, last: Named, number: int) -> str:
    """
    Name a batch for the list of mapped tasks.

    :param first: its first pair
    :param last: its last pair, the same one if the batch has only one
    :param number: the batch's own number
    :returns: the pair_id of a single pair, otherwise the like of ``12: rows 302-326``
    """
    if first.row_number == last.row_number:
        return first.pair_id
    return f"{number}: rows {first.row_number}-{last.row_number}"
