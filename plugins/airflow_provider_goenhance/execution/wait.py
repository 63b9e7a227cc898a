# SPDX-License-Identifier: Apache-2.0
"""Wait for jobs in the worker, and collect those that have ended while the others run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..api.client import open_client
from ..api.polling import wait_for_jobs
from ..api.wait_outcome import WaitOutcome
from .progress import PROGRESS_EVERY
from .task_loop import TaskLoop

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from ..api.account import Account
    from ..api.models import Job
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
    return (loop or TaskLoop()).run(
        lambda: _wait(account, img_uuids, deadline, poll_interval, progress=progress)
    )


@dataclass(slots=True)
class Collected:
    """
    What a wait in the worker has found and done.

    :param outcome: what became of the jobs
    :param tried: ``swap_id`` of the rows whose pictures were collected, or could not be, meanwhile
    """

    outcome: WaitOutcome
    tried: set[str] = field(default_factory=set)


def wait_and_collect(
    account: Account,
    swaps: Sequence[Swap],
    ahead: Collection[str],
    collect: Callable[[Sequence[Swap]], Awaitable[None]],
    *,
    deadline: float,
    poll_interval: float,
    loop: TaskLoop,
    progress: Line | None = None,
    hand_over_after: float | None = None,
    doubts: Mapping[str, tuple[int, float]] | None = None,
) -> Collected:
    """
    Poll the jobs of rows, and collect each that has succeeded while the others are still polled.

    :param swaps: the rows, each with its ``img_uuid``
    :param ahead: further jobs, which are only polled
    :param collect: collects rows, and records what became of them
    :param hand_over_after: see :func:`..api.polling.wait_for_jobs`
    :param doubts: see :func:`..api.polling.wait_for_jobs`
    :raises AuthenticationError: when the token is refused
    :raises TaskEndedError: when the task ends
    """
    rows: dict[str, list[Swap]] = {}
    for swap in swaps:
        rows.setdefault(str(swap.img_uuid), []).append(swap)

    async def round_() -> Collected:
        ended = _Ended(rows, collect)
        try:
            async with asyncio.TaskGroup() as tasks:
                collecting = tasks.create_task(ended.collect_all())
                outcome = await _wait(
                    account,
                    [*rows, *ahead],
                    deadline,
                    poll_interval,
                    progress=progress,
                    hand_over_after=hand_over_after,
                    doubts=doubts,
                    on_success=ended.add,
                )
                ended.close()
                await collecting
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        return Collected(outcome, ended.tried)

    return loop.run(round_)


class _Ended:
    """The rows whose jobs have succeeded: collected in groups, each with what has come during the one before."""

    def __init__(
        self, rows: Mapping[str, Sequence[Swap]], collect: Callable[[Sequence[Swap]], Awaitable[None]]
    ) -> None:
        self._rows = rows
        self._collect = collect
        self._waiting: list[Swap] = []
        self._changed = asyncio.Event()
        self._closed = False
        self.tried: set[str] = set()

    def add(self, job: Job) -> None:
        """Have the rows of a job collected."""
        self._waiting += self._rows.get(job.img_uuid, ())
        self._changed.set()

    def close(self) -> None:
        """Add nothing more."""
        self._closed = True
        self._changed.set()

    async def collect_all(self) -> None:
        """Collect what is added, until no more can be."""
        while not self._closed or self._waiting:
            if not self._waiting:
                self._changed.clear()
                await self._changed.wait()
                continue
            group, self._waiting = self._waiting, []
            self.tried |= {swap.swap_id for swap in group}
            await self._collect(group)


async def _wait(
    account: Account,
    img_uuids: Collection[str],
    deadline: float,
    poll_interval: float,
    *,
    progress: Line | None = None,
    hand_over_after: float | None = None,
    doubts: Mapping[str, tuple[int, float]] | None = None,
    on_success: Callable[[Job], None] | None = None,
) -> WaitOutcome:
    async with open_client(account) as client:
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
