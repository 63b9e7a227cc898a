# SPDX-License-Identifier: Apache-2.0
"""The line about progress: how much is done, what it costs, how fast it goes and how long it takes."""

from __future__ import annotations

import time

from .messages import pluralize

#: Seconds between two lines about progress in a worker.
PROGRESS_EVERY = 5.0
#: A rate over less time than this says nothing yet, seconds.
SHORTEST_MEASURE = 1.0


class SubmitProgress:
    """
    Says every few seconds how far a round of submits is.

    :param total: pairs of the round
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._began = self._last_line = time.monotonic()

    def line(self, done: int, *, paid: int, cost: int | None, price: int | None) -> str | None:
        """Return the line if it is time for one; the arguments are those of :func:`submit_line`."""
        now = time.monotonic()
        if now - self._last_line < PROGRESS_EVERY:
            return None
        self._last_line = now
        return submit_line(done, self._total, paid=paid, cost=cost, price=price, seconds=now - self._began)


def submit_line(
    done: int, total: int, *, paid: int, cost: int | None, price: int | None, seconds: float
) -> str:
    """
    Return the line about a round of submits.

    :param done: pairs whose submit has been answered
    :param total: pairs of the round
    :param paid: pairs that GoEnhance accepted
    :param cost: credits for them, ``None`` if nobody knows
    :param price: credits for one more, ``None`` if nobody knows
    :param seconds: how long the round has taken
    """
    money = pluralize(paid, "pair") + " paid for"
    if cost is not None:
        money += f" ({pluralize(cost, 'credit')})"
        if price is not None:
            money += f", {pluralize(cost + price * (total - done), 'credit')} projected"
    return f"{done} of {pluralize(total, 'pair')} submitted: {money}; {pace(done, total, seconds)}."


def wait_line(done: int, total: int, *, failed: int, cost: int | None, seconds: float) -> str:
    """
    Return the line about a wait for jobs, which are all paid for.

    :param done: jobs that have ended
    :param failed: how many of them failed
    :param cost: credits for all of them, ``None`` if nobody knows
    """
    money = f", {pluralize(cost, 'credit')}" if cost is not None else ""
    jobs = pluralize(total, "job")
    return f"{done} of {jobs} finished ({failed} failed); all paid for{money}; {pace(done, total, seconds)}."


def pace(done: int, total: int, seconds: float) -> str:
    """Return the rate so far, and how long the rest takes at that rate."""
    if not done or seconds < SHORTEST_MEASURE:
        return "rate not known yet"
    rate = done / seconds
    each = f"{rate:.1f} per second" if rate >= 1 else f"{rate * 60:.1f} per minute"
    return f"{each}, {duration((total - done) / rate)} left"


def duration(seconds: float) -> str:
    """Return a duration as a person says it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"
