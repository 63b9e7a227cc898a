# SPDX-License-Identifier: Apache-2.0
"""Turn Ctrl-C and its kin into one exception, at moments when nothing can be left behind by it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from include.local.errors import Interrupted

_HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Moment:
    """Whether a signal may act now, and which one is waiting for that."""

    def __init__(self) -> None:
        self.shields = 0
        self.waiting: int | None = None
        self.raised = False


_moment = _Moment()


def install() -> None:
    """Let SIGINT, SIGTERM and SIGHUP raise :class:`Interrupted`, once; more of them change nothing."""
    for number in _HANDLED:
        signal.signal(number, _handle)


def _handle(number: int, _frame: FrameType | None) -> None:
    if _moment.waiting is not None or _moment.raised:
        return
    os.write(2, b"\nStopping; this takes a few seconds ...\n")
    _moment.waiting = number
    if not _moment.shields:
        _raise()


def _raise() -> None:
    number, _moment.waiting = _moment.waiting, None
    if number is not None:
        _moment.raised = True
        raise Interrupted(number)


@contextmanager
def shielded() -> Iterator[None]:
    """
    Hold signals back, e.g. between starting a process and noting it down.

    Blocking them in the kernel would not do: a process started meanwhile would inherit the block.
    """
    _moment.shields += 1
    try:
        yield
    finally:
        _moment.shields -= 1
    if not _moment.shields:
        _raise()
