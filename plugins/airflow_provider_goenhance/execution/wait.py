# SPDX-License-Identifier: Apache-2.0
"""The two rounds of a face swap task that speak to GoEnhance before anything is done: submit and wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..api.client import open_client
from ..api.models import Submission
from ..api.polling import WaitOutcome, wait_for_jobs
from ..exceptions import TaskEndedError
from .submit import SubmitReport, submit_swaps

if TYPE_CHECKING:
    from ..api.account import Account
    from ..results.stores import SwapStore
    from ..results.swap import Swap
    from ..results.transitions import Claimant


def submit_round(
    account: Account, store: SwapStore, who: Claimant, swaps: list[Swap], *, ended: threading.Event
) -> SubmitReport:
    """
    Submit rows and commit what becomes of each.

    :param ended: set when the task is being killed: nothing more is sent then
    :raises ResultsTableError: when the rows cannot be written
    """

    async def round_() -> SubmitReport:
        async with open_client(account) as client:

            async def submit(source_img: str, reference_img: str) -> Submission:
                if ended.is_set():
                    raise TaskEndedError("The task was told to end before everything was sent.")
                return await client.submit(source_img, reference_img)

            return await submit_swaps(submit, writer, swaps, concurrency=account.max_concurrency)

    with store.writer(who) as writer:
        return asyncio.run(round_())


def wait_round(
    account: Account, uuids: Sequence[str], *, deadline: float, poll_interval: float
) -> WaitOutcome:
    """
    Wait inline, holding the worker.

    :raises TokenRefusedError: when the token is refused
    """

    async def round_() -> WaitOutcome:
        async with open_client(account) as client:
            return await wait_for_jobs(
                client.get_job,
                uuids,
                deadline=deadline,
                poll_interval=poll_interval,
                max_concurrency=account.max_concurrency,
                host=account.base_url,
            )

    return asyncio.run(round_())
