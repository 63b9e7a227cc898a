# SPDX-License-Identifier: Apache-2.0
"""The slots of a round of submits: each row is committed before and after its POST."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from ..api.models import Submission
from ..exceptions import GoEnhanceError, TaskEndedError
from ..results.group_commit import AsyncGroupCommit
from ..results.stores import Writer
from ..results.swap import Swap
from ..results.transitions import Accepted, Claim, Transition
from .inputs_ahead import InputsAhead
from .limits import TaskLimits, slots_for
from .posts import Posts
from .progress import SubmitProgress
from .submit_outcomes import SubmitOutcomes
from .submit_report import SubmitReport

if TYPE_CHECKING:
    from ..inputs.prepare import InputPreparer
    from ..results.spending import Spending
    from .limits import Limits
    from .task_loop import TaskLoop

log = logging.getLogger(__name__)


class _Round:
    """One round of submits: the slots share the remaining rows and the reason to stop."""

    def __init__(
        self,
        submit: Callable[[str, str], Awaitable[Submission]],
        writer: Writer,
        swaps: Iterable[Swap],
        total: int,
        concurrency: int,
        loop: TaskLoop | None,
        limits: Limits,
        claims_seen: Mapping[str, int],
        spending: Spending | None,
        until: float | None,
        preparer: InputPreparer | None,
        shares_pairs: bool,
    ) -> None:
        self._until = until
        self._limits = limits
        self._spending = spending
        self._loop = loop
        self._commits = AsyncGroupCommit(writer)
        # A row that is listed twice is submitted once: its claim owner would be granted it both times.
        self._swaps = deque({swap.swap_id: swap for swap in swaps}.values())
        limits.rows_left = len(self._swaps)
        self._claims_seen = claims_seen
        self._progress = SubmitProgress(total)
        self.report = SubmitReport()
        self.broken = False
        self._outcomes = SubmitOutcomes(self.report, limits, self.stop)
        # Without spare slots, each slot that waits for its commit leaves a place on the wire empty.
        note_post = self._commits.note_post if slots_for(concurrency) > concurrency else None
        self._posts = Posts(submit, concurrency, self.report, self._outcomes, self._has_stopped, note_post)
        self._ahead = self._inputs_ahead(preparer, concurrency, shares_pairs)
        if loop is not None:
            loop.when_ending(self.end)

    def _inputs_ahead(
        self, preparer: InputPreparer | None, concurrency: int, shares_pairs: bool
    ) -> InputsAhead | None:
        """Return what prepares the rows, ``None`` if all are sent as they are."""
        if preparer is None or not any(map(preparer.needs, self._swaps)):
            return None
        rows, self._swaps = self._swaps, deque()
        return InputsAhead(
            preparer,
            rows,
            self._swaps,
            self._commits.commit,
            self.report,
            self.stop,
            self._drop,
            concurrency,
            shares_pairs=shares_pairs,
        )

    def _drop(self) -> None:
        self._limits.rows_left -= 1

    def end(self) -> None:
        """Send nothing more: rows that wait for their turn are released, and POSTs on the wire are awaited."""
        self.stop(TaskEndedError("The task was stopped before all pairs were sent."))
        self._posts.stop()

    def stop(self, error: GoEnhanceError) -> None:
        """Claim nothing more; the first reason counts."""
        self.report.stopped_by = self.report.stopped_by or error
        self._close()

    def _has_stopped(self) -> bool:
        return self.report.stopped_by is not None or (self._loop is not None and self._loop.ended)

    async def slot(self) -> None:
        """
        Submit one row after another.

        The outcome of one row and the claim of the next are one commit: the ``img_uuid`` is safe before this slot
        takes another pair, and the claim is safe before that pair's POST.
        """
        outcome: list[Transition] = []  # of the row before, until it is committed
        while await self._may_claim(outcome):
            swap = self._next()
            if swap is not None and not await self._is_fresh(swap, outcome):
                continue
            if swap is None and not outcome and not self._more_will_come():
                return
            granted = await self._claim(swap, outcome)
            if swap is None:
                if not self._swaps and not self._more_will_come():
                    return
            elif granted:
                outcome.append(await self._send(swap))
            elif not self._left_out(swap):
                return
            self._show_progress()

    async def _may_claim(self, outcome: list[Transition]) -> bool:
        """Wait until a row is ready and the limits admit it; return false when none will be."""
        if self._ahead is not None and not self._swaps:
            await self._commit_outcome(outcome)
            await self._ahead.wait()
        if self._limits.admit_now():
            return True
        await self._commit_outcome(outcome)
        try:
            return await self._limits.admit()
        except Exception:
            self._break()
            raise

    async def _is_fresh(self, swap: Swap, outcome: list[Transition]) -> bool:
        """Prepare a row again that has waited long; return whether it may be claimed."""
        if self._ahead is None or self._ahead.is_fresh(swap):
            return True
        await self._commit_outcome(outcome)
        try:
            is_fresh = await self._ahead.prepare_again(swap)
        except Exception:
            self._break()
            raise
        if not is_fresh:
            self._limits.leave()
        return is_fresh

    async def _commit_outcome(self, outcome: list[Transition]) -> None:
        """Commit the outcome of a row, if there is one, before something is waited for."""
        if outcome:
            await self._commit(outcome)
            outcome.clear()

    async def _claim(self, swap: Swap | None, outcome: list[Transition]) -> bool:
        """Commit the outcome of the row before and the claim of a row, and return whether it was granted."""
        steps = list(outcome)
        if swap is not None:
            steps.append(Claim.of(swap, self._claims_seen.get(swap.swap_id, 0)))
        outcome.clear()
        return bool(steps) and (await self._commit(steps))[-1]

    async def _send(self, swap: Swap) -> Transition:
        try:
            return await self._posts.send(swap, self._ahead, self._price)
        finally:
            self._limits.leave()

    def _left_out(self, swap: Swap) -> bool:
        """Note a row whose claim was not granted; return whether its slot goes on."""
        self._limits.leave()
        if self._spending is not None and swap.swap_id in self._spending.refused:
            # This slot ends. Should a POST of another slot not be accepted, that slot's next claim has the room.
            self.report.over_budget.append(swap)
            return False
        self.report.taken_elsewhere += 1
        return True

    async def _commit(self, steps: list[Transition]) -> list[bool]:
        """Commit the outcome of a row, the claim of another one, or both."""
        began = time.monotonic()
        try:
            results = await self._commits.commit(steps)
        except asyncio.CancelledError:
            # Queued steps are committed all the same, and a row that was claimed in vain becomes `unknown`.
            self._break()
            raise
        except Exception:
            self._break()
            if isinstance(steps[0], Accepted):
                log.error(  # noqa: TRY400  the traceback comes with the exception itself
                    "The swap %s was paid for, but its job %s could not be recorded: note the UUID.",
                    steps[0].swap_id,
                    steps[0].img_uuid,
                )
            raise
        self._limits.claimed(time.monotonic() - began)
        if (refused := self._outcomes.again.pop(steps[0].swap_id, None)) is not None:
            self._swaps.append(refused)
            self._limits.rows_left += 1
        return results

    def _break(self) -> None:
        self.broken = True
        self._close()

    def _close(self) -> None:
        self._limits.close()
        if self._ahead is not None:
            self._ahead.close()

    def _more_will_come(self) -> bool:
        """Return whether rows are still being prepared."""
        return (
            self._ahead is not None and not self._ahead.is_done and not (self.broken or self._has_stopped())
        )

    def _next(self) -> Swap | None:
        """Take the next row; the slot is free for another one if there is none."""
        if self.broken or self._has_stopped() or self._is_late() or not self._swaps:
            self._limits.leave()
            return None
        self._limits.rows_left -= 1
        return self._swaps.popleft()

    def _is_late(self) -> bool:
        """Return whether the time is over for which jobs were counted; the other rows are for another round."""
        if self._until is None or time.monotonic() < self._until:
            return False
        self.report.left_out += [*self._swaps, *(self._ahead.take_left() if self._ahead else ())]
        self._swaps.clear()
        self._close()
        return True

    def close(self) -> SubmitReport:
        """Return the report. Pairs that were refused for now are left for a later attempt."""
        self.report.stopped_by = self.report.stopped_by or self._outcomes.busy or self.report.postponed
        if self.report.over_budget and not self.broken and self.report.stopped_by is None:
            self.report.over_budget += [*self._swaps, *(self._ahead.take_left() if self._ahead else ())]
        return self.report

    @property
    def _price(self) -> int | None:
        return self._spending.price if self._spending is not None else None

    async def prepare_inputs(self) -> None:
        """Begin to prepare the pictures of rows that are not sent as they are."""
        if self._ahead is not None:
            self._ahead.start()

    async def finish_inputs(self) -> None:
        """Wait until no picture is being prepared any more."""
        if self._ahead is not None:
            await self._ahead.finish()

    def _show_progress(self) -> None:
        report = self.report
        done = len(report.submitted) + report.declined + report.unknown
        if line := self._progress.line(done, paid=len(report.submitted), cost=report.cost, price=self._price):
            log.info("%s", line)


async def submit_swaps(
    submit: Callable[[str, str], Awaitable[Submission]],
    writer: Writer,
    swaps: list[Swap],
    *,
    concurrency: int,
    loop: TaskLoop | None = None,
    limits: Limits | None = None,
    claims_seen: Mapping[str, int] | None = None,
    spending: Spending | None = None,
    until: float | None = None,
    preparer: InputPreparer | None = None,
    shares_pairs: bool = True,
) -> SubmitReport:
    """
    Submit rows concurrently, and commit the result of each.

    A bad pair fails alone. An error of the account or the service (token, credits, rate limit, no connection,
    consecutive refusals or unknown outcomes) ends the round: rows not sent yet stay unchanged, for a later attempt.

    :param submit: the paid call, as :meth:`airflow_provider_goenhance.api.client.GoEnhanceClient.submit`
    :param writer: an open group commit
    :param swaps: the rows as they were read
    :param concurrency: number of concurrent POSTs
    :param loop: the loop that runs this, and says when the task ends
    :param limits: the task's share of the account's limits; default: only ``concurrency``
    :param spending: the budgets that the writer counts for; ``None`` without budgets
    :param claims_seen: by ``swap_id``, how often the row's pair had been claimed when it was decided to submit it
    :param until: claim nothing after this moment, by ``time.monotonic``
    :param preparer: makes the links of private pictures; ``None`` sends all addresses as they are
    :param shares_pairs: whether other rows may have paid for a pair
    :raises ResultsTableError: when the database stays out of reach; jobs that could not be recorded are in the log
    """
    limits = limits or TaskLimits()
    round_ = _Round(
        submit,
        writer,
        swaps,
        len(swaps),
        concurrency,
        loop,
        limits,
        claims_seen or {},
        spending,
        until,
        preparer,
        shares_pairs,
    )
    limits.stop = round_.stop
    await round_.prepare_inputs()
    slots = [round_.slot() for _ in range(min(slots_for(concurrency), len(swaps)))]
    # Not a TaskGroup: an error in one slot must not cancel another slot's POST, which is paid all the same.
    results = await asyncio.gather(*slots, return_exceptions=True)
    await round_.finish_inputs()
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return round_.close()
