# SPDX-License-Identifier: Apache-2.0
"""Wait for jobs in the worker, and collect those that have ended while the others run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..api.client import open_client
from ..api.polling import wait_for_jobs
from ..api.wait_outcome import WaitOutcome
from .collecting import open_collecting
from .progress import PROGRESS_EVERY
from .task_loop import TaskLoop

if TYPE_CHECKING:
    from ..api.account import Account
    from ..api.client import GoEnhanceClient
    from ..api.models import Job
    from ..pictures.collector import StorageOptions
    from ..results.stores import SwapStore
    from ..results.swap import Swap

#: Renders a line about the progress of a wait, see :func:`..api.polling.wait_for_jobs`.
Line = Callable[[int, int, int, float], str]


def wait_round(
    account: Account,
    img_uuids: Collection[str],
    *,
    deadline: float,
    poll_interval: float,
    loop: TaskLoop | None = None,
    progress: Line | None = None,
) -> WaitOutcome:
    """
    Poll jobs until they end or the deadline passes, holding the worker.

    :param loop: the task's loop; default: one of its own
    :param progress: renders a line about the progress
    :raises AuthenticationError: when the token is refused
    :raises TaskEndedError: when the task ends
    """

    async def round_() -> WaitOutcome:
        async with open_client(account) as client:
            return await _wait(account, img_uuids, deadline, poll_interval, client=client, progress=progress)

    return (loop or TaskLoop()).run(round_)


@dataclass(slots=True)
class Collected:
    """
    What a wait in the worker has found and done.

    :param outcome: what became of the jobs
    :param tried: ``swap_id`` of the rows whose pictures were collected, or could not be, meanwhile
    """

    outcome: WaitOutcome
    tried: set[str]


def wait_and_collect(
    account: Account,
    store: SwapStore,
    swaps: Sequence[Swap],
    storage_options: Callable[[str], StorageOptions],
    *,
    ahead: Collection[str] = (),
    deadline: float,
    poll_interval: float,
    loop: TaskLoop,
    progress: Line | None = None,
    hand_over_after: float | None = None,
    doubts: Mapping[str, tuple[int, float]] | None = None,
) -> Collected:
    """
    Poll the jobs of rows, and collect each that has succeeded while the others are still polled.

    :param store: where the outcomes are recorded
    :param swaps: the rows, each with its ``img_uuid``
    :param storage_options: returns how the pictures of a run are stored
    :param ahead: further jobs, which are only polled
    :param hand_over_after: see :func:`..api.polling.wait_for_jobs`
    :param doubts: see :func:`..api.polling.wait_for_jobs`
    :raises AuthenticationError: when the token is refused
    :raises ResultsTableError: when an outcome cannot be recorded
    :raises TaskEndedError: when the task ends
    """
    rows: dict[str, list[Swap]] = {}
    for swap in swaps:
        rows.setdefault(str(swap.img_uuid), []).append(swap)
    options = {run_id: storage_options(run_id) for run_id in {swap.run_id for swap in swaps}}
    tried: set[str] = set()

    async def round_() -> Collected:
        # Only jobs ahead have no rows here.
        default = next(iter(options.values()), None) or storage_options("")
        async with (
            open_client(account) as client,
            open_collecting(account, store, default, client=client) as collecting,
        ):

            def collect(job: Job) -> None:
                for swap in rows.get(job.img_uuid, ()):
                    tried.add(swap.swap_id)
                    collecting.add(swap, job, storage_options=options[swap.run_id])

            outcome = await _wait(
                account,
                [*rows, *ahead],
                deadline,
                poll_interval,
                client=client,
                progress=progress,
                hand_over_after=hand_over_after,
                doubts=doubts,
                on_success=collect,
            )
        return Collected(outcome, tried)

    return loop.run(round_)


async def _wait(
    account: Account,
    img_uuids: Collection[str],
    deadline: float,
    poll_interval: float,
    *,
    client: GoEnhanceClient,
    progress: Line | None = None,
    hand_over_after: float | None = None,
    doubts: Mapping[str, tuple[int, float]] | None = None,
    on_success: Callable[[Job], None] | None = None,
) -> WaitOutcome:
    return await wait_for_jobs(
        client.get_job,
        img_uuids,
        deadline=deadline,
        poll_interval=poll_interval,
        max_concurrency=account.max_concurrency,
        host=account.base_url,
        progress=progress,
        progress_every=PROGRESS_EVERY,
        hand_over_after=hand_over_after,
        doubts=doubts,
        on_success=on_success,
    )
