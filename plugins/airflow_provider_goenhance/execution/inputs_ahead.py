# SPDX-License-Identifier: Apache-2.0
"""
Prepare the pictures of rows while the rows before them are sent.

A row is prepared before it is claimed, so a picture that cannot be sent costs nothing and leaves no doubt. Few rows are
prepared ahead: their links must not grow old, nor their pictures.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

from ..exceptions import (
    ErrorCode,
    GoEnhanceError,
    InputError,
    InputStoreError,
    InputStoreUnavailableError,
    InputUnavailableError,
)
from ..results.input_transitions import InputsChanged, InputsFailed, InputsStaged
from ..results.resend_transitions import was_sent_before

if TYPE_CHECKING:
    from ..inputs.prepare import InputPreparer, PreparedInputs
    from ..results.swap import Swap
    from ..results.transitions import Transition
    from .submit_report import SubmitReport

log = logging.getLogger(__name__)

#: Rows whose pictures are prepared at the same time, at most.
MOST_AT_ONCE = 32
#: Seconds after which a row that is still not sent is prepared again: its link grows old, and its picture may be a new
#: one by now. A row may wait for hours while the account is paused, or other tasks use all its slots.
FRESH_SECONDS = 60.0
#: Seconds that the pictures of a row may take: a store that hangs must not keep the round from its jobs.
LONGEST_SECONDS = 600.0


class InputsAhead:
    """
    Prepares rows, and puts those that can be sent into the queue of a round.

    :param preparer: prepares a pair
    :param rows: the rows, in the order in which they are sent
    :param ready: the queue of the round
    :param commit: commits steps of a row
    :param report: notes the rows that are not sent
    :param stop: ends the round
    :param drop: notes that a row is not sent by this round
    :param concurrency: number of concurrent POSTs
    :param shares_pairs: whether other rows may have paid for a pair
    """

    def __init__(
        self,
        preparer: InputPreparer,
        rows: Iterable[Swap],
        ready: deque[Swap],
        commit: Callable[[list[Transition]], Awaitable[list[bool]]],
        report: SubmitReport,
        stop: Callable[[GoEnhanceError], None],
        drop: Callable[[], None],
        concurrency: int,
        *,
        shares_pairs: bool = True,
    ) -> None:
        self._preparer = preparer
        self._rows = deque(rows)
        self._ready = ready
        self._commit = commit
        self._report = report
        self._stop = stop
        self._drop = drop
        self._shares_pairs = shares_pairs
        self._at_once = max(1, min(concurrency, MOST_AT_ONCE))
        self._prepared: dict[str, PreparedInputs] = {}
        self._prepared_at: dict[str, float] = {}
        self._under_way: dict[str, Swap] = {}
        self._news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._error: BaseException | None = None
        self._closed = False

    @property
    def is_done(self) -> bool:
        """Return whether no further row will be ready."""
        return self._closed or not (self._rows or self._under_way)

    def start(self) -> None:
        """Begin to prepare rows."""
        self._tasks = [asyncio.create_task(self._work()) for _ in range(min(self._at_once, len(self._rows)))]

    async def wait(self) -> None:
        """
        Wait until a row is ready, or none will be.

        :raises BaseException: an error that is not about a picture
        """
        self._news.set()  # A row was taken: there is room for another one.
        await self._wait_until(lambda: bool(self._ready) or self.is_done)
        if self._error is not None:
            raise self._error

    def inputs_of(self, swap: Swap) -> PreparedInputs | None:
        """Return what is sent for a row, ``None`` for one that is sent as it is."""
        return self._prepared.get(swap.swap_id)

    def forget(self, swap: Swap) -> None:
        """Forget the links of a row that was sent."""
        self._prepared.pop(swap.swap_id, None)

    def is_fresh(self, swap: Swap) -> bool:
        """Return whether a row may be sent as it was prepared."""
        prepared_at = self._prepared_at.get(swap.swap_id)
        return prepared_at is None or time.monotonic() - prepared_at < FRESH_SECONDS

    async def prepare_again(self, swap: Swap) -> bool:
        """
        Prepare a row once more whose turn to be claimed has come; return whether it can be sent.

        :raises BaseException: an error that is not about a picture
        """
        try:
            return await self._prepare(swap) and not self._closed
        except InputStoreError as error:
            self._stop(error)
            return False

    def take_left(self) -> list[Swap]:
        """Return the rows that are not prepared, and prepare no more."""
        left, self._rows = [*self._under_way.values(), *self._rows], deque()
        self._under_way.clear()
        self.close()
        return left

    def close(self) -> None:
        """Prepare nothing more."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        self._news.set()

    async def finish(self) -> None:
        """Wait until nothing is being prepared any more."""
        self.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _wait_until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._news.clear()
            await self._news.wait()

    async def _work(self) -> None:
        while True:
            await self._wait_until(lambda: self.is_begun or len(self._ready) < self._at_once)
            if self.is_begun:
                return
            swap = self._rows.popleft()
            self._under_way[swap.swap_id] = swap
            try:
                if await self._prepare(swap):
                    self._ready.append(swap)
                else:
                    self._drop()
            except asyncio.CancelledError:
                if swap.swap_id in self._under_way:
                    self._rows.appendleft(swap)
                raise
            except InputStoreError as error:
                self._stop(error)
            except Exception as error:  # noqa: BLE001  the slots must receive it, or they wait forever
                self._error = error
                self.close()
            finally:
                self._under_way.pop(swap.swap_id, None)
                self._news.set()

    @property
    def is_begun(self) -> bool:
        """Return whether no further row will be begun."""
        return self._closed or not self._rows

    async def _prepare(self, swap: Swap) -> bool:
        """Prepare a row; return whether it can be sent."""
        if not self._preparer.needs(swap):
            return True
        try:
            inputs = await self._in_time(swap)
        except InputError as error:
            await self._fail(swap, error)
            return False
        if (changed := _changed(swap, inputs)) is not None and not await self._note_change(swap, changed):
            return False
        if inputs.notes and inputs.notes != swap.input_notes:
            log.info("%s: %s.", swap.label, inputs.notes)
        if staged := _staged(swap, inputs.staged_uris, inputs.notes):
            await self._commit(staged)
        self._prepared[swap.swap_id] = inputs
        self._prepared_at[swap.swap_id] = time.monotonic()
        return True

    async def _in_time(self, swap: Swap) -> PreparedInputs:
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                return await self._preparer.prepare(swap)
        except TimeoutError:
            raise InputStoreUnavailableError(
                f"The pictures of {swap.label} could not be prepared within {LONGEST_SECONDS:g} s: their store hangs. "
                "Nothing was sent for the pair."
            ) from None

    async def _fail(self, swap: Swap, error: InputError) -> None:
        staged = _staged(swap, error.staged_uris, swap.input_notes)
        if isinstance(error, InputUnavailableError):
            log.warning("%s: %s Nothing was sent or paid; a retry checks again.", swap.label, error)
            self._report.postponed = error
            self._report.left.append(swap)
            if staged:
                await self._commit(staged)
            return
        log.warning("%s: %s Nothing was sent or paid.", swap.label, error)
        self._report.declined += 1
        if was_sent_before(swap):
            self._report.left.append(swap)  # What it has, or may have, stays on record.
            return
        failed = InputsFailed.of(swap, error.error_code, f"{error} Nothing was sent or paid.")
        await self._commit([*staged, failed])

    async def _note_change(self, swap: Swap, changed: InputsChanged) -> bool:
        """Note that a picture is another one now; return whether the row can be sent at once."""
        if was_sent_before(swap):
            log.warning(
                "%s is not sent again: its picture was overwritten since it was submitted, and is another picture now. "
                "Start a new run to swap it.",
                swap.label,
            )
            self._report.left.append(swap)
            return False
        if swap.attempts:
            # Planned again, with a submit left that may have been accepted: of the old picture.
            overwritten = (
                "A picture was overwritten since the pair was submitted. Start a new run to swap it."
            )
            await self._fail(swap, InputError(overwritten, error_code=ErrorCode.INPUT_CHANGED))
            return False
        log.info("%s: its picture was overwritten since it was planned; the new picture is used.", swap.label)
        (noted,) = await self._commit([changed])
        if not noted:
            self._report.taken_elsewhere += 1
            return False
        # Looked at again: another row may have paid for the pair that it is now.
        self._report.changed += self._shares_pairs
        return not self._shares_pairs


def _changed(swap: Swap, inputs: PreparedInputs) -> InputsChanged | None:
    """Return the step for a row whose pictures are not those that it was planned with."""
    now = (inputs.source_version, inputs.reference_version)
    if now == (swap.source_version, swap.reference_version):
        return None
    step = InputsChanged.of(swap, *now)
    # A picture with a key is the one that its author says it is.
    return step if step.pair_fingerprint != swap.pair_fingerprint else None


def _staged(swap: Swap, uris: tuple[str, ...], notes: str | None) -> list[Transition]:
    """Return the step that notes copies beside those of earlier submits, where there is anything to note."""
    all_uris = tuple(dict.fromkeys((*swap.staged_uris, *uris)))
    if (all_uris, notes) == (swap.staged_uris, swap.input_notes):
        return []
    return [InputsStaged(swap.swap_id, all_uris, notes)]
