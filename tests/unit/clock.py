# SPDX-License-Identifier: Apache-2.0
"""Time for tests of time-outs: a clock that is put forward, and a wait for what must come first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Clock:
    """
    The clock of the running event loop, for a test that lets a time-out run out.

    With real connections a short time-out is a bet on the machine: all that comes before the step that is to time out
    must be quick enough. So give a long one, wait for that step, then put the clock forward.
    """

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        true_time, self._ahead = loop.time, 0.0
        loop.time = lambda: true_time() + self._ahead  # type: ignore[method-assign]

    def forward(self, seconds: float) -> None:
        """Let time pass. A second more than the time-out: aiohttp rounds the end of a long one up."""
        self._ahead += seconds


async def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until the condition is true; only a hang takes so long."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  what is waited for has no event to tell of it
            await asyncio.sleep(0.001)
