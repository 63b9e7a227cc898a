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
ONE_TO_ONE = 24
_FEWEST_PER_TASK = 25
_TASKS_AIMED_AT = 200


def choose_pairs_per_task(pairs: int, asked: int = 0, max_tasks: int = 1000) -> int:
    """
    Choose how many pairs each mapped task works on.

    Airflow fails a task that maps more than 1,024 (``[core] max_map_length``), and each mapped task costs the
    scheduler time. So 0 means: one pair per task up to 24 pairs, beyond that at least 25 per task and about 200 tasks.

    :param pairs: how many pairs there are
    :param asked: the size that the user asked for; 0 chooses one
    :param max_tasks: the most tasks a run may map
    :returns: pairs per task, at least 1. Greater than ``asked`` if ``asked`` would map more than ``max_tasks``
    :raises ValueError: if a number is negative, or ``max_tasks`` is 0
    """
    if pairs < 0 or asked < 0 or max_tasks < 1:
        raise ValueError(
            "pairs and pairs per task must not be negative, and max_tasks must be at least 1; "
            f"got pairs={pairs}, pairs per task={asked}, max_tasks={max_tasks}."
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


def batch_label(first: Named, last: Named, number: int) -> str:
    """
    Return the label of a batch in the list of mapped tasks.

    :param first: its first pair
    :param last: its last pair, the same one if the batch has only one
    :param number: the batch's own number
    :returns: the pair_id of a single pair, otherwise e.g. ``12: rows 302-326``
    """
    if first.row_number == last.row_number:
        return first.pair_id
    return f"{number}: rows {first.row_number}-{last.row_number}"
