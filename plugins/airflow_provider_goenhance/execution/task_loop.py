# SPDX-License-Identifier: Apache-2.0
"""
The event loop of a task, in a thread of its own.

Airflow interrupts a task with exceptions that signal handlers raise in the main thread, for ``execution_timeout`` for
example. Inside an event loop such an exception hits any line of any coroutine: it is swallowed, or it discards the
answer to a POST that was paid for. Here it only interrupts the main thread's wait, which then ends the work in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import queue
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from ..exceptions import TaskEndedError

T = TypeVar("T")

#: Seconds that work which was cancelled may take to end.
CANCEL_SECONDS = 3.0
_LOOK_EVERY = 0.02
#: Further signals that an orderly end survives outside its wait.
_MOST_INTERRUPTIONS = 100


class TaskLoop:
    """
    Runs the coroutines of one task, one after the other, and tells them when the task ends.

    :ivar ended: whether the end was announced; nothing may be sent after that
    """

    def __init__(self) -> None:
        # A plain attribute, not an Event: a signal handler sets it, and the code that it interrupted may be inside
        # the Event and hold its lock.
        self.ended = False
        self._work: _Work[Any] | None = None

    def run(self, main: Callable[[], Coroutine[Any, Any, T]], *, drain_seconds: float = CANCEL_SECONDS) -> T:
        """
        Run a coroutine, and return its result.

        When an exception interrupts the wait for it, the end is announced, and the work may take ``drain_seconds``
        before the exception goes on.

        :param main: makes the coroutine, which sees a copy of the caller's context variables
        :param drain_seconds: how long work may go on after an interruption; a keyboard interrupt waits
            :data:`CANCEL_SECONDS` at most
        :raises TaskEndedError: when the end was announced, and the coroutine was cancelled
        """
        work: _Work[T] = _Work(main, self)
        self._work = work
        try:
            context = contextvars.copy_context()
            threading.Thread(target=context.run, args=(work.run,), name="goenhance-loop", daemon=True).start()
            work.wait()
        except BaseException as interruption:
            hasty = isinstance(interruption, KeyboardInterrupt | SystemExit)
            self._end_in_order(work, min(drain_seconds, CANCEL_SECONDS) if hasty else drain_seconds)
            raise
        return work.result()

    def _end_in_order(self, work: _Work[Any], drain_seconds: float) -> None:
        """Announce the end, and wait for the work. Signals that arrive meanwhile do not shorten the wait."""
        deadline = time.monotonic() + drain_seconds
        for _ in range(_MOST_INTERRUPTIONS):
            # Suppressed, because the first interruption is raised, after this wait.
            with contextlib.suppress(BaseException):
                self.end()
                if not self.wait_until_idle(deadline - time.monotonic()):
                    work.cancel()
                    self.wait_until_idle(CANCEL_SECONDS)
                return

    def end(self) -> None:
        """Announce the end: to the running coroutine, and to all that follow. Signal handlers may call this."""
        self.ended = True
        if self._work is not None:
            self._work.announce_end()

    def when_ending(self, callback: Callable[[], None]) -> None:
        """
        Have the end announced to a callback, in the loop, instead of cancelling the running coroutine.

        :param callback: called at once if the end was announced already
        """
        work = self._work
        assert work is not None  # noqa: S101  called by a coroutine that `run` runs
        work.on_end = callback
        if self.ended:
            callback()

    def wait_until_idle(self, seconds: float) -> bool:
        """
        Wait until nothing runs, and return whether that is so. Signal handlers may call this.

        Signals that arrive meanwhile do not shorten the wait.
        """
        deadline = time.monotonic() + seconds
        while self._work is not None and not self._work.finished:
            try:
                if time.monotonic() > deadline:
                    return False
                # Not on a lock: the main thread may wait for the same one, interrupted by the handler that runs this.
                time.sleep(_LOOK_EVERY)
            except BaseException:  # noqa: BLE001, S112  the first interruption is raised, after this wait
                continue
        return True


class _Work(Generic[T]):
    """One coroutine in one thread."""

    def __init__(self, main: Callable[[], Coroutine[Any, Any, T]], owner: TaskLoop) -> None:
        self._main = main
        self._owner = owner
        self._done: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._result: list[T] = []
        self._error: BaseException | None = None
        self.on_end: Callable[[], None] = self.cancel
        self.finished = False

    def run(self) -> None:
        try:
            asyncio.run(self._run())
        except BaseException as error:  # noqa: BLE001  raised in the waiting thread
            self._finish(error)

    async def _run(self) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        if self._owner.ended:
            self.on_end()
        try:
            self._result.append(await self._main())
        except BaseException as error:  # noqa: BLE001  raised in the waiting thread
            self._finish(error)
        else:
            # Before the loop has closed: closing waits for name lookups that were given up on.
            self._finish(None)

    def _finish(self, error: BaseException | None) -> None:
        if not self.finished:
            self._error = error
            self.finished = True
            self._done.put(None)

    def wait(self) -> None:
        # Not `Thread.join`: on Python 3.11 a join that a signal interrupted returns at once the next time. Not a
        # `Future` either: its lock may stay locked when a handler raises at the wrong moment.
        while not self.finished:
            self._done.get()

    def result(self) -> T:
        if isinstance(self._error, asyncio.CancelledError) and self._owner.ended:
            raise TaskEndedError("The task was stopped. Its jobs continue at GoEnhance.")
        if self._error is not None:
            raise self._error
        return self._result[0]

    def announce_end(self) -> None:
        self._call(self._tell_end)

    def _tell_end(self) -> None:
        self.on_end()  # read in the loop, where it may change

    def cancel(self) -> None:
        if self._task is not None:
            self._call(self._task.cancel)

    def _call(self, callback: Callable[[], object]) -> None:
        if self._loop is None:
            return  # not started yet: it looks for the announcement itself
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:  # closed: it has finished
            return
