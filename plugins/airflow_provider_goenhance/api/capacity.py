# SPDX-License-Identifier: Apache-2.0
"""A semaphore whose size changes while it is in use."""

from __future__ import annotations

import asyncio
from collections import deque


class Capacity:
    """
    Lets through as many holders as its size says, first come, first served.

    A smaller size takes nothing from those who are through: it only lets nobody else through until enough have left.

    :ivar used: how many are through now
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.used = 0
        self._waiting: deque[asyncio.Future[bool]] = deque()

    def enter_now(self) -> bool:
        """Go through if that needs no waiting; return whether it did."""
        if self.used >= self.size or self._waiting:
            return False
        self.used += 1
        return True

    async def enter(self) -> bool:
        """Wait until there is room, and go through; return false, without going through, when told to give up."""
        if self.enter_now():
            return True
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.result():
                self.leave()
            raise

    def leave(self) -> None:
        """Make room for another one."""
        self.used -= 1
        self._let_through()

    def resize(self, size: int) -> None:
        """Change the size."""
        self.size = size
        self._let_through()

    def give_up(self) -> None:
        """Tell those who wait to give up."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(False)

    def _let_through(self) -> None:
        while self._waiting and self.used < self.size:
            turn = self._waiting.popleft()
            if not turn.done():
                self.used += 1
                turn.set_result(True)
