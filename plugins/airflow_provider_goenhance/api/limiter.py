# SPDX-License-Identifier: Apache-2.0
"""Limit the requests of one client: how many at once, how many per second, and pauses that GoEnhance asks for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager


class Limiter:
    """
    Limits the requests of one client, whoever sends them: submits, status calls and credit calls together.

    :param max_concurrency: requests in flight at once
    :param per_second: paced requests started per second, ``0`` for no limit
    """

    #: Whether the limits are the account's, for all tasks: a POST that was refused is left to the caller then.
    shared = False

    def __init__(self, max_concurrency: int, per_second: float = 0.0) -> None:
        self._slots = asyncio.Semaphore(max(1, max_concurrency))
        self._interval = 1.0 / per_second if per_second > 0 else 0.0
        self._next_turn = 0.0
        self._paused_until = 0.0

    def pause(self, seconds: float) -> None:
        """Start no request for this many seconds from now."""
        self._paused_until = max(self._paused_until, asyncio.get_running_loop().time() + seconds)

    def slot(self, *, paced: bool = False) -> AbstractAsyncContextManager[None]:
        """
        Wait for a slot, and hold it for one request.

        :param paced: count the request towards ``per_second``
        """
        return self._slot(paced)

    @asynccontextmanager
    async def _slot(self, paced: bool) -> AsyncIterator[None]:
        async with self._slots:
            await self._wait_out_pause()
            if paced and self._interval:
                await self._wait_for_turn()
            yield

    async def _wait_out_pause(self) -> None:
        loop = asyncio.get_running_loop()
        # A pause may be extended while this request waits for its end.
        while (wait := self._paused_until - loop.time()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(wait)

    async def _wait_for_turn(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            turn = max(loop.time(), self._next_turn, self._paused_until)
            self._next_turn = turn + self._interval
            await asyncio.sleep(max(0.0, turn - loop.time()))
            if self._paused_until <= loop.time():
                return
            # A pause began meanwhile: take a new turn after it, so that its end is not a burst.
