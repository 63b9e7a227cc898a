# SPDX-License-Identifier: Apache-2.0
"""
How much is collected at the same time: downloads, bytes in memory, and processors.

One object holds for all pictures of a task. All of it but the processors belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import os
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

from ..exceptions import CollectError, ErrorCode

if TYPE_CHECKING:
    from concurrent.futures import Executor

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Bytes that the pictures between download and storage may take together. A larger one is collected alone.
MOST_BYTES = 192 * 2**20
#: Copies of a picture at the same time: as it arrives, as it is checked, and with its mark.
COPIES = 3
#: A round in which a larger share of the downloads fails has too many of them at the same time ...
FAILED_SHARE = 1 / 8
#: ... and at least this many failures halve their number at once.
_LEAST_FAILED = 2
# What fewer downloads at the same time may avoid.
_OVERLOAD = frozenset({ErrorCode.DOWNLOAD_TIMED_OUT, ErrorCode.DOWNLOAD_FAILED})
_TOO_MANY_REQUESTS = 429

#: Held while a picture is decoded or marked: more threads than processors would only delay the event loop.
PROCESSORS = threading.BoundedSemaphore(
    len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
)


class DownloadLimit:
    """
    The number of downloads at the same time: halved when many fail, one more after each round that goes well.

    A round is as many downloads as may run at the same time.

    :param most: where it begins, and which it never exceeds
    :ivar limit: the number at present
    """

    def __init__(self, most: int) -> None:
        self.most = self.limit = max(1, most)
        self._halvings = 0
        self._running = self._ended = self._failed = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def is_reduced(self) -> bool:
        """Return whether many downloads have failed, and fewer run at the same time than may."""
        return self.limit < self.most

    @contextlib.asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a slot, and hold it for one download; the error that it ends with is counted."""
        await self._acquire()
        halvings = self._halvings
        try:
            yield
        except CollectError as error:
            self._count(halvings, failed=is_overload(error))
            raise
        else:
            self._count(halvings, failed=False)
        finally:
            self._running -= 1
            self._wake()

    async def _acquire(self) -> None:
        while self._running >= self.limit:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if not turn.cancelled():
                    self._wake()  # it was this one's turn
                raise
        self._running += 1

    def _wake(self) -> None:
        free = self.limit - self._running
        while free > 0 and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                free -= 1

    def _count(self, halvings: int, *, failed: bool) -> None:
        if halvings != self._halvings:
            return  # it began when more were allowed, and says nothing of the present number
        self._ended += 1
        self._failed += failed
        if self._failed >= max(_LEAST_FAILED, self.limit * FAILED_SHARE):
            if self.limit > 1:
                self._halvings += 1
                self.limit //= 2
                log.warning("Many downloads fail: at most %d at the same time for now.", self.limit)
        elif self._ended < self.limit:
            return  # the round is not over
        elif self._failed <= self.limit * FAILED_SHARE:
            self.limit = min(self.most, self.limit + 1)
        else:
            self.limit = max(1, self.limit - 1)
        self._ended = self._failed = 0


def is_overload(error: CollectError) -> bool:
    """Return whether fewer downloads at the same time may avoid an error."""
    status = error.http_status
    return error.error_code in _OVERLOAD and (status is None or status == _TOO_MANY_REQUESTS or status >= 500)


class ByteBudget:
    """Bounds the bytes of the pictures that are in memory at the same time."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self.most = most
        self.free = most
        self._line: deque[Room] = deque()
        self._growing: list[Room] = []
        self._changed = asyncio.Event()

    @contextlib.contextmanager
    def room(self) -> Iterator[Room]:
        """Yield the room of one picture, which has no bytes yet, and release it afterwards."""
        room = Room(self)
        try:
            yield room
        finally:
            self._release(room)

    async def take(self, room: Room, size: int) -> None:
        """Take room for a picture whose size is known, in the order of the calls."""
        share = min(size * COPIES, self.most)
        self._line.append(room)
        try:
            await self._until(lambda: self._line[0] is room and self.free >= share)
            self._hold(room, share)
        finally:
            self._line.remove(room)
            self._changed.set()

    async def grow(self, room: Room, size: int) -> None:
        """
        Take more room for a picture whose size is not known.

        The oldest of these pictures gets it in any case: if all waited for the others, none would ever be complete.
        """
        if room not in self._growing:
            self._growing.append(room)
        share = size * COPIES
        await self._until(lambda: self.free >= share or self._growing[0] is room)
        self._hold(room, share)

    def _hold(self, room: Room, share: int) -> None:
        self.free -= share
        room.held += share

    def _release(self, room: Room) -> None:
        self.free += room.held
        room.held = 0
        if room in self._growing:
            self._growing.remove(room)
        self._changed.set()

    async def _until(self, ready: Callable[[], bool]) -> None:
        while not ready():
            self._changed.clear()
            await self._changed.wait()


class Room:
    """
    The bytes that one picture holds of a budget.

    :ivar held: bytes, all copies together
    :ivar is_known: whether there is room for all of the picture
    """

    def __init__(self, budget: ByteBudget) -> None:
        self.held = 0
        self._budget = budget
        self.is_known = False

    async def expect(self, size: int | None) -> None:
        """Wait for room for a picture of this size; ``None`` if the size is not known yet."""
        self.is_known = size is not None
        if size is not None:
            await self._budget.take(self, size)

    async def grow(self, size: int) -> None:
        """Wait for room for some more bytes of a picture whose size is not known."""
        await self._budget.grow(self, size)


class CollectLimits:
    """
    The limits of one task.

    :param most: downloads at the same time, at most
    :param threads: where pictures are checked, marked and stored; default: the event loop's own threads
    """

    def __init__(self, most: int = 1, threads: Executor | None = None) -> None:
        self.downloads = DownloadLimit(most)
        self.memory = ByteBudget()
        self._threads = threads

    async def run(self, work: Callable[[], T]) -> T:
        """Run blocking work in a thread, with the context variables of the caller."""
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._threads, context.run, work)
