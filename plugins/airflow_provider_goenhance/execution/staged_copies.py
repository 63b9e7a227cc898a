# SPDX-License-Identifier: Apache-2.0
"""Remove the copies of pictures that were staged for jobs, once it is known what became of the jobs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from ..exceptions import CollectError, JobTimedOutError, WaitFailedError
from ..results.input_transitions import InputsStaged
from ..results.plan import RunKey
from ..results.states import Status
from .messages import pluralize

if TYPE_CHECKING:
    from ..results.ledger import Ledger
    from ..results.swap import Swap

log = logging.getLogger(__name__)

#: Copies that are removed at the same time.
AT_ONCE = 16
_NOT_SENT_YET = frozenset({Status.PLANNED, Status.SUBMITTING})
_STILL_RUNNING = frozenset({JobTimedOutError.error_code, WaitFailedError.error_code})


def remove_staged_copies(swaps: Sequence[Swap], take: Callable[[list[InputsStaged]], object]) -> None:
    """
    Remove the copies that no job of a task needs any more, and the notes of them on the rows.

    One that cannot be removed stays on its row, for a later attempt.

    :param swaps: all rows of the task: its copies are its own, and one may serve many of its rows
    :param take: takes steps of rows
    """
    staged = [swap for swap in swaps if swap.staged_uris]
    if not staged:
        return
    needed = {uri for swap in staged if not _is_over(swap) for uri in swap.staged_uris}
    over = list(filter(_is_over, staged))
    left = _remove({uri for swap in over for uri in swap.staged_uris} - needed)
    steps = [
        InputsStaged(swap.swap_id, tuple(uri for uri in swap.staged_uris if uri in left), swap.input_notes)
        for swap in over
    ]
    if steps:
        take(steps)


def remove_copies_of_tasks(ledger: Ledger, collected: Sequence[Swap]) -> None:
    """
    Remove the copies of rows that were collected by another task than the one that submitted them.

    :param collected: the rows
    """
    tasks = {
        (swap.dag_id, swap.run_id, swap.task_id, swap.batch, swap.map_index)
        for swap in collected
        if swap.staged_uris
    }
    for dag_id, run_id, task_id, batch, map_index in tasks:
        rows = ledger.of_run(RunKey(dag_id, run_id), task_id=task_id, batch=batch, map_index=map_index)
        # A task that still submits relies on the copies that it has made, and removes them at its end.
        if not any(row.status in _NOT_SENT_YET for row in rows):
            remove_staged_copies(rows, ledger.take)


def _is_over(swap: Swap) -> bool:
    """Return whether GoEnhance will not fetch a row's pictures any more."""
    if swap.status is Status.FAILED:
        return swap.error_code not in _STILL_RUNNING
    if swap.status is Status.HELD and not swap.attempts:
        return True  # It was never sent, and is staged again if it ever is.
    return swap.status in {Status.SUCCEEDED, Status.REUSED, Status.REJECTED}


def _remove(uris: set[str]) -> set[str]:
    """Remove copies; return those that are still there, because they could not be removed."""
    from ..inputs.staging import remove_copy

    def remove(uri: str) -> str | None:
        try:
            remove_copy(uri)
        except CollectError as error:
            return str(error)
        return None

    wanted = sorted(uris)
    with ThreadPoolExecutor(AT_ONCE, "goenhance-staging") as threads:
        problems = dict(zip(wanted, threads.map(remove, wanted), strict=True))
    left = {uri: problem for uri, problem in problems.items() if problem}
    if left:
        log.warning(
            "%s not removed; the first: %s",
            pluralize(len(left), "staged copy was", "staged copies were"),
            next(iter(left.values())),
        )
    return set(left)
