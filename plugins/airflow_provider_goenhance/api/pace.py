# SPDX-License-Identifier: Apache-2.0
"""
Being a good neighbour in an event loop: poll less while the loop runs late.

All triggers of a triggerer share one thread. Thousands of jobs asked about every few seconds can fill it, and then
everybody's trigger wakes late. How late is measured once per loop, and every wait in it slows down by the same factor.
And no matter how many waits there are, only so many calls to one host are under way: a host that stood still and then
answers them all at once must not fill the loop for longer than its neighbours can bear.
"""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary

#: Seconds between two looks at the loop.
TICK = 0.1
#: A loop that runs this many seconds late is busy: slow down at once ...
LATE = 0.03
_SLOWER = 1.5
#: ... and speed up again little by little while it runs on time.
_FASTER = 0.99
#: No slower than this many times the normal pace.
SLOWEST = 12.0
#: Status calls under way at once to one host, from all waits of a loop. An answer takes about half a millisecond.
MOST_CALLS = 64

_paces: WeakKeyDictionary[asyncio.AbstractEventLoop, Pace] = WeakKeyDictionary()


class Pace:
    """
    How much slower than normal the waits of one event loop go. Use it as a context.

    :ivar factor: 1 for the normal pace, up to :data:`SLOWEST`
    """

    def __init__(self) -> None:
        self.factor = 1.0
        self._users = 0
        self._timer: asyncio.TimerHandle | None = None
        self._calls: dict[str, asyncio.Semaphore] = {}

    def calls_to(self, host: str) -> asyncio.Semaphore:
        """
        Return what each status call holds while it is under way.

        :param host: hosts do not wait for one another: one that hangs would hold up the jobs of all
        """
        return self._calls.setdefault(host, asyncio.Semaphore(MOST_CALLS))

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
        Take note of how late the loop runs.

        :param late: seconds between when something was due and when it ran
        """
        if late > LATE:
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
    """Return the pace that all waits of the running event loop share."""
    return _paces.setdefault(asyncio.get_running_loop(), Pace())
