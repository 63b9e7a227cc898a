# SPDX-License-Identifier: Apache-2.0
"""Submit rows through an account: its client, its limits, its budgets, and the writer of the results table."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from ..api.client import open_client
from ..results.lease_rows import LOWEST_PACE, Holder
from .account_limits import AccountLimits
from .limits import Limits, TaskLimits, slots_for
from .spending import conclude
from .submit import submit_swaps
from .submit_report import SubmitReport

if TYPE_CHECKING:
    from ..api.account import Account
    from ..inputs.prepare import InputPreparer
    from ..results.stores import SwapStore
    from ..results.swap import Swap
    from ..results.transitions import ClaimOwner
    from .task_loop import TaskLoop

#: Seconds beyond the request timeout that an interrupted round may take to commit the answers it still receives.
WRITER_SECONDS = 15.0


def longest_turn(account: Account) -> float:
    """Return how many seconds the account's rate can make a claimed row wait behind all others, at its slowest."""
    rate = account.requests_per_second * LOWEST_PACE
    return slots_for(account.max_concurrency) / rate if rate > 0 else 0.0


def submit_round(
    account: Account,
    store: SwapStore,
    owner: ClaimOwner,
    swaps: list[Swap],
    *,
    loop: TaskLoop,
    claims_seen: Mapping[str, int] | None = None,
    until: float | None = None,
    preparer: InputPreparer | None = None,
) -> SubmitReport:
    """
    Submit rows through an account, and commit the result of each.

    :param claims_seen: see :func:`.submit.submit_swaps`
    :param until: see :func:`.submit.submit_swaps`
    :param preparer: see :func:`.submit.submit_swaps`
    :param loop: runs the round; when the task ends, nothing more is sent, and POSTs that were written are awaited
    :raises ResultsTableError: when the rows cannot be written
    """
    spending = owner.spending
    price_before = spending.price if spending is not None else None

    async def round_() -> SubmitReport:
        # Opened here, because an interruption of the main thread must not close it.
        with store.writer(owner) as writer:
            async with (
                _limits_of(account, store, owner, swaps) as limits,
                open_client(account, limiter=limits.limiter) as client,
            ):
                return await submit_swaps(
                    client.submit,
                    writer,
                    swaps,
                    concurrency=account.max_concurrency,
                    loop=loop,
                    limits=limits,
                    claims_seen=claims_seen,
                    spending=spending,
                    until=until,
                    preparer=preparer,
                    shares_pairs=store.ledger is not None,
                )

    report = loop.run(round_, drain_seconds=account.request_timeout + WRITER_SECONDS)
    if spending is not None:
        conclude(store, spending, report.over_budget, price_before)
    return report


@asynccontextmanager
async def _limits_of(
    account: Account, store: SwapStore, owner: ClaimOwner, swaps: Sequence[Swap]
) -> AsyncIterator[Limits]:
    """Take part in the limits of an account: with all tasks that share the results table, if there is one."""
    if store.ledger is None or not swaps:
        yield TaskLimits()
        return
    holder = Holder(owner.name, swaps[0].dag_id, swaps[0].run_id, owner.task_key)
    async with AccountLimits(store.ledger.database, account, holder, len(swaps)) as limits:
        yield limits
