# SPDX-License-Identifier: Apache-2.0
"""The turns on the wire of one task, reserved a few at a time by the database's clock."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress

#: Turns for this many seconds are reserved at a time, and no farther ahead.
TURNS_SECONDS = 0.25
#: Seconds in which requests for a turn are gathered.
GATHER_SECONDS = 0.002
#: Seconds that the commit of a claim takes, until it was measured, and at most.
FIRST_LEAD, LONGEST_LEAD = 0.02, 0.15

#: Reserves turns: how many, and the seconds before the first; returns when they are, by ``time.monotonic``.
Reserve = Callable[[int, float], Awaitable[list[float]]]


class Turns:
    """
    The turns on the wire of one execution.

    :param reserve: reserves turns in the database
    :param rate: returns the POSTs per second that the account has now
    """

    def __init__(self, reserve: Reserve, rate: Callable[[], float]) -> None:
        self._take = reserve
        self._rate = rate
        self._waiting: deque[asyncio.Future[float]] = deque()
        self._pump: asyncio.Task[None] | None = None
        self._ended: asyncio.Event = asyncio.Event()
        self._lead = FIRST_LEAD

    def note_commit(self, seconds: float) -> None:
        """Note how long a commit took: a turn that is sooner than that could not be used."""
        self._lead = min(LONGEST_LEAD, max(seconds * 1.5, self._lead * 0.95, FIRST_LEAD))

    async def take(self, *, claimed: bool = False) -> float:
        """
        Return when the next POST may start, by ``time.monotonic``.

        :param claimed: for a row that is claimed already, which goes first
        """
        turn: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        if claimed:
            self._waiting.appendleft(turn)
        elif self._ended.is_set():
            return 0.0
        else:
            self._waiting.append(turn)
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._reserve())
        return await turn

    async def sleep_until(self, moment: float) -> None:
        """Wait, unless the round ends before."""
        seconds = moment - time.monotonic()
        if seconds > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), seconds)

    def close(self) -> None:
        """Reserve no turns for rows that are not claimed yet."""
        self._ended.set()
        waiting, self._waiting = self._waiting, deque()
        for turn in waiting:
            if not turn.done():
                turn.set_result(0.0)

    async def _reserve(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(GATHER_SECONDS)
                self._waiting = deque(turn for turn in self._waiting if not turn.done())
                if self._waiting:
                    await self._reserve_some()
        except Exception as error:  # noqa: BLE001  those who wait must receive it, or they wait forever
            for turn in self._waiting:
                if not turn.done():
                    turn.set_exception(error)
            self._waiting.clear()

    async def _reserve_some(self) -> None:
        count = min(len(self._waiting), max(1, int(self._rate() * TURNS_SECONDS)))
        turns = await self._take(count, self._lead)
        for moment in turns:
            while self._waiting:
                turn = self._waiting.popleft()
                if not turn.done():
                    turn.set_result(moment)
                    break
        # Not too far ahead, or one task would keep those of another from their turns.
        await self.sleep_until(turns[-1] - TURNS_SECONDS)
