# SPDX-License-Identifier: Apache-2.0
"""The slots of a round of submits: each row is committed before and after its POST."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..api.models import Submission
from ..api.send_gate import SendGate, current_gate
from ..exceptions import (
    AuthenticationError,
    BadRequestError,
    GoEnhanceError,
    OutOfCreditsError,
    RateLimitedError,
    ServiceBusyError,
    SubmitOutcomeUnknownError,
    TaskEndedError,
    UnexpectedResponseError,
    UnreachableError,
)
from ..results.group_commit import AsyncGroupCommit
from ..results.recovery import job_itself_failed
from ..results.resend_transitions import NotSentAgain, was_sent_before
from ..results.states import Status
from ..results.stores import Writer
from ..results.swap import Swap
from ..results.transitions import Accepted, Claim, Declined, NotSent, OutcomeUnknown, Transition
from .consent import refuse_expired
from .inputs_ahead import InputsAhead
from .limits import TaskLimits, slots_for
from .progress import SubmitProgress
from .submit_report import SubmitReport

if TYPE_CHECKING:
    from ..inputs.prepare import InputPreparer, PreparedInputs
    from ..results.spending import Spending
    from .limits import Limits
    from .task_loop import TaskLoop

log = logging.getLogger(__name__)

#: Consecutive submits that were refused for now, or have no known outcome, after which the round ends: the service is
#: in trouble.
UNKNOWN_IN_A_ROW = 5

_ENDS_THE_BATCH = (
    AuthenticationError,
    OutOfCreditsError,
    RateLimitedError,
    UnreachableError,
    UnexpectedResponseError,
)


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
        self._submit = submit
        self._until = until
        self._limits = limits
        self._spending = spending
        self._loop = loop
        self._sending: dict[asyncio.Task[Any], SendGate] = {}
        # As many as the client's limiter lets through: a claimed row waits here and not inside the client, because when
        # its turn comes it must see whether the round has been stopped, before its POST.
        self._under_way = asyncio.Semaphore(concurrency)
        self._commits = AsyncGroupCommit(writer)
        # Without one, each slot that waits for its commit leaves a place on the wire empty.
        self._has_spare_slots = slots_for(concurrency) > concurrency
        # A row that is listed twice is submitted once: its claim owner would be granted it both times.
        self._swaps = deque({swap.swap_id: swap for swap in swaps}.values())
        # Rows that a 429 refused: sent again by this round, once it is committed that they are planned.
        self._again: dict[str, Swap] = {}
        self._attempts: Counter[str] = Counter()
        limits.rows_left = len(self._swaps)
        self._claims_seen = claims_seen
        self._trouble_in_a_row = 0
        self._breaker = UNKNOWN_IN_A_ROW
        self._busy: ServiceBusyError | None = None
        self._progress = SubmitProgress(total)
        self.report = SubmitReport()
        self.broken = False
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
        self.stop(TaskEndedError("The task was told to end before all pairs were sent."))
        for task, gate in self._sending.items():
            gate.stop(task)

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
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  a coroutine of asyncio.gather
        outcome: Transition | None = None
        while True:
            if self._ahead is not None and not self._swaps:
                await self._commit_outcome(outcome)
                outcome = None
                await self._ahead.wait()
            if not self._limits.admit_now():
                await self._commit_outcome(outcome)
                outcome = None
                if not await self._admitted():
                    return
            swap = self._next()
            if swap is None and outcome is None and not self._more_will_come():
                return
            granted = await self._claim(swap, outcome)
            outcome = None
            if swap is None:
                if not self._swaps and not self._more_will_come():
                    return
            elif granted:
                outcome = await self._send(swap, task)
            elif not self._left_out(swap):
                return
            self._show_progress()

    async def _commit_outcome(self, outcome: Transition | None) -> None:
        """Commit the outcome of a row, if there is one, before something is waited for."""
        if outcome is not None:
            await self._commit([outcome])

    async def _claim(self, swap: Swap | None, outcome: Transition | None) -> bool:
        """Commit the outcome of the row before and the claim of a row, and return whether it was granted."""
        steps: list[Transition] = [outcome] if outcome else []
        if swap is not None:
            steps.append(Claim.of(swap, self._claims_seen.get(swap.swap_id, 0)))
        return bool(steps) and (await self._commit(steps))[-1]

    def _left_out(self, swap: Swap) -> bool:
        """Note a row whose claim was not granted; return whether its slot goes on."""
        self._limits.leave()
        if self._spending is not None and swap.swap_id in self._spending.refused:
            # This slot ends. Should a POST of another slot not be accepted, that slot's next claim has the room.
            self.report.over_budget.append(swap)
            return False
        self.report.taken_elsewhere += 1
        return True

    async def _admitted(self) -> bool:
        try:
            return await self._limits.admit()
        except Exception:
            self._break()
            raise

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
        if (refused := self._again.pop(steps[0].swap_id, None)) is not None:
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

    async def _send(self, swap: Swap, task: asyncio.Task[Any]) -> Transition:
        gate = SendGate(self._has_stopped)
        current_gate.set(gate)
        self._sending[task] = gate
        try:
            async with self._under_way:
                if self.report.stopped_by is not None:
                    return _not_sent(swap, self.report.stopped_by)
                refuse_expired(swap)
                began = time.monotonic()
                submission = await self._post(swap)
        except asyncio.CancelledError:
            if not gate.stopped:
                raise
            task.uncancel()
            ended = TaskEndedError("The task was told to end before this pair was sent.")
            return _not_sent(swap, self.report.stopped_by or ended)
        except GoEnhanceError as error:
            return self._failed(swap, error)
        except Exception as error:
            # A bug of ours, before or after the POST was sent: as unknown as a lost connection.
            log.exception("%s: the submit ended in an unexpected error.", swap.label)
            return self._unknown(swap, _unexpected(error))
        finally:
            del self._sending[task]
            self._limits.leave()
        self._trouble_in_a_row = 0
        if self._has_spare_slots:
            self._commits.note_post(time.monotonic() - began)
        self.report.submitted[swap.swap_id] = submission.img_uuid
        cost = submission.cost if submission.cost is not None else self._price
        if cost is not None:
            self.report.cost = (self.report.cost or 0) + cost
        log.debug("Submitted %r as job %s.", swap.pair_id, submission.img_uuid)
        return Accepted.of(swap.swap_id, submission)

    async def _post(self, swap: Swap) -> Submission:
        inputs = self._ahead.inputs_of(swap) if self._ahead is not None else None
        if inputs is None or self._ahead is None:
            return await self._submit(swap.source_img, swap.reference_img)
        try:
            submission = await self._submit(inputs.source_url, inputs.reference_url)
        except GoEnhanceError as error:
            raise _without_links(error, inputs) from None
        self._ahead.forget(swap)
        return submission

    def _failed(self, swap: Swap, error: GoEnhanceError) -> Transition:
        if error.maybe_accepted:
            return self._unknown(swap, error)
        if isinstance(error, ServiceBusyError):
            self._count_trouble(error)
            log.info("%s: %s", swap.label, error)
            return _not_sent(swap, error)
        self._trouble_in_a_row = 0
        if isinstance(error, RateLimitedError) and self._is_sent_again(swap, error):
            return _not_sent(swap, error)
        if isinstance(error, _ENDS_THE_BATCH):
            self.stop(error)
            return _not_sent(swap, error)
        keeps_its_state = was_sent_before(swap) and not job_itself_failed(swap)
        if keeps_its_state or not isinstance(error, BadRequestError):
            log.warning("%s: %s", swap.label, error)
        self.report.declined += 1
        if keeps_its_state:
            self.report.left.append(swap)
            return NotSentAgain.of(swap, str(error))
        return Declined(swap.swap_id, error.error_code, f"{error} Nothing was paid for this pair.")

    def _is_sent_again(self, swap: Swap, error: RateLimitedError) -> bool:
        """Slow the account down, and return whether this round sends the row again."""
        self._attempts[swap.swap_id] += 1
        attempt = self._attempts[swap.swap_id]
        if not self._limits.refused(error, attempt):
            return False
        log.info("%s: %s It is sent again (attempt %d failed).", swap.label, error, attempt)
        self._again[swap.swap_id] = swap if was_sent_before(swap) else replace(swap, status=Status.PLANNED)
        return True

    def _unknown(self, swap: Swap, error: GoEnhanceError) -> Transition:
        self.report.unknown += 1
        self._count_trouble(error)
        log.warning(
            "%s: %s It may have been accepted: the row is unknown, and not sent again.", swap.label, error
        )
        said = f" GoEnhance's answer: {error.answer_text}" if error.answer_text else ""
        return OutcomeUnknown(
            swap.swap_id,
            SubmitOutcomeUnknownError.error_code,
            f"{error} The submit may have been accepted and paid for; compare with the vendor's console, then "
            f"settle it with `airflow goenhance resolve`.{said}",
        )

    def _count_trouble(self, error: GoEnhanceError) -> None:
        self._trouble_in_a_row += 1
        if isinstance(error, ServiceBusyError):
            self._busy = error
        if self._trouble_in_a_row >= self._breaker and self.report.stopped_by is None:
            # A retry sends the rest, and an error of unknown outcome would not be retried.
            self.stop(self._busy or error)

    def close(self) -> SubmitReport:
        """Return the report. Pairs that were refused for now are left for a later attempt."""
        self.report.stopped_by = self.report.stopped_by or self._busy
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


def _without_links(error: GoEnhanceError, inputs: PreparedInputs) -> GoEnhanceError:
    """Return an error without the signed links, which GoEnhance may quote in its answer."""
    error.message = inputs.without_links(error.message)
    error.args = (error.message,)
    error.msg = inputs.without_links(error.msg) if error.msg else error.msg
    error.answer_text = inputs.without_links(error.answer_text) if error.answer_text else None
    return error


def _unexpected(error: Exception) -> SubmitOutcomeUnknownError:
    said = f": {error}" if str(error).strip() else ""
    return SubmitOutcomeUnknownError(f"The submit ended in an unexpected {type(error).__name__}{said}.")


def _not_sent(swap: Swap, error: GoEnhanceError) -> Transition:
    """Return the step of a claimed row that was not sent: back to what it was."""
    if was_sent_before(swap):
        return NotSentAgain.of(swap, str(error))
    return NotSent(swap.swap_id, error.error_code, str(error))


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
