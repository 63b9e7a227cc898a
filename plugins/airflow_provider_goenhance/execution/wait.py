# SPDX-License-Identifier: Apache-2.0
"""Wait for jobs in the worker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..api.client import open_client
from ..api.polling import WaitOutcome, wait_for_jobs
from .progress import PROGRESS_EVERY
from .task_loop import TaskLoop

if TYPE_CHECKING:
    from ..api.account import Account


def wait_round(
    account: Account,
    img_uuids: Sequence[str],
    *,
    deadline: float,
    poll_interval: float,
    loop: TaskLoop | None = None,
    progress: Callable[[int, int, int, float], str] | None = None,
) -> WaitOutcome:
    """
    Poll jobs until they end or the deadline passes, holding the worker.

    :param loop: the task's loop; default: one of its own
    :param progress: see :func:`..api.polling.wait_for_jobs`
    :raises AuthenticationError: when the token is refused
    :raises TaskEndedError: when the task ends
    """

    async def round_() -> WaitOutcome:
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
            )

    return (loop or TaskLoop()).run(round_)
