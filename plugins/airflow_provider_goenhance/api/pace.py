# SPDX-License-Identifier: Apache-2.0
"""
Poll less while the event loop runs late.

All triggers of a triggerer share one thread. Thousands of jobs that are polled every few seconds can fill it, and then
every trigger wakes late. The lateness is measured once per loop, and every wait in it slows down by the same factor.
The number of calls in flight to one host is limited for the whole loop: a host that hangs and then answers them all at
once must not block the loop for long.
"""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary

#: Seconds between two measurements of the loop.
TICK = 0.1
#: A loop that runs this many seconds late is busy: slow down at once ...
LATE = 0.03
_SLOWER = 1.5
#: ... and speed up again gradually while it runs on time.
_FASTER = 0.99
#: No slower than this many times the normal pace.
SLOWEST = 12.0
#: Status calls in flight to one host, from all waits of a loop. A response takes about half a millisecond.
MOST_CALLS = 64

_paces: WeakKeyDictionary[asyncio.AbstractEventLoop, Pace] = WeakKeyDictionary()


class Pace:
    """
    Slow down the waits of one event loop while it runs late. Use it as a context manager.

    :param late: seconds of lateness from which the loop counts as busy
    :ivar factor: 1 for the normal pace, up to :data:`SLOWEST`
    """

    def __init__(self, late: float = LATE) -> None:
        self._late = late
        self.factor = 1.0
        self._users = 0
        self._timer: asyncio.TimerHandle | None = None
        self._calls: dict[str, asyncio.Semaphore] = {}

    def calls_to(self, host: str, at_most: int = MOST_CALLS) -> asyncio.Semaphore:
        """
        Return the semaphore that each status call to a host holds while it is in flight.

        :param host: each host has its own, so that one that hangs does not delay the jobs of the others
        :param at_most: calls in flight at once, set by the first wait that polls the host
        """
        return self._calls.setdefault(host, asyncio.Semaphore(at_most))

    def __enter__(self) -> Pace:
        self._users += 1
        if self._timer is None:
            self._watch(asyncio.get_running_loop())
        return self

    def __exit__(self, *_: object) -> None:
        self._users -= 1
        if not self._users and self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._calls.clear()

    def adjust(self, late: float) -> None:
        """
        Adjust the factor to the lateness of the loop.

        :param late: seconds between when a callback was due and when it ran
        """
        if late > self._late:
            self.factor = min(SLOWEST, self.factor * _SLOWER)
        else:
            self.factor = max(1.0, self.factor * _FASTER)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        due = loop.time() + TICK

        def look() -> None:
            self.adjust(loop.time() - due)
            self._watch(loop)

        self._timer = loop.call_at(due, look)


def pace_of_loop() -> Pace:
    """Return the pace shared by all waits of the running event loop."""
    return _paces.setdefault(asyncio.get_running_loop(), Pace())
