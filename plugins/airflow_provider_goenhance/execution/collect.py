# SPDX-License-Identifier: Apache-2.0
"""Record what a wait found on the rows, and collect the pictures of finished jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .collecting import open_collecting
from .meter import count_outcomes
from .outcomes import outcome_of_wait
from .spans import span
from .task_loop import TaskLoop

if TYPE_CHECKING:
    from ..api.account import Account
    from ..api.polling import WaitOutcome
    from ..pictures.collector import StorageOptions
    from ..results.ledger import Outcome
    from ..results.stores import SwapStore
    from ..results.swap import Swap


def collect_jobs(
    account: Account,
    store: SwapStore,
    swaps: Sequence[Swap],
    waited: WaitOutcome,
    storage_options: StorageOptions,
    *,
    by_run: Mapping[str, StorageOptions] | None = None,
    loop: TaskLoop | None = None,
) -> None:
    """
    Record what the wait found, and collect the pictures of the finished jobs.

    :param swaps: the rows waited for, each with its ``img_uuid``
    :param waited: the jobs that are not finished; all others of ``swaps`` are
    :param storage_options: how the pictures are downloaded, marked and stored
    :param by_run: the same for the rows of other runs, by their ids
    :param loop: the task's loop; default: one of its own
    :raises AuthenticationError: when the token is refused; rows not collected yet stay ``submitted``
    :raises ResultsTableError: when an outcome cannot be recorded; its row stays ``submitted``
    :raises TaskEndedError: when the task ends; rows not collected yet stay ``submitted``
    """
    done: list[Swap] = []
    outcomes: list[Outcome] = []
    running = set(waited.running)
    for swap in swaps:
        outcome = outcome_of_wait(swap, waited, running)
        if outcome is None:
            done.append(swap)
        else:
            outcomes.append(outcome)
    store.record_outcomes(outcomes, account.fingerprint)
    count_outcomes(outcomes)
    if done:
        with span("collect", jobs=len(done)):
            (loop or TaskLoop()).run(
                lambda: _collect_all(account, store, done, storage_options, by_run or {})
            )


async def _collect_all(
    account: Account,
    store: SwapStore,
    swaps: Sequence[Swap],
    storage_options: StorageOptions,
    by_run: Mapping[str, StorageOptions],
) -> None:
    async with open_collecting(account, store, storage_options) as collecting:
        for swap in swaps:
            collecting.add(swap, storage_options=by_run.get(swap.run_id))
