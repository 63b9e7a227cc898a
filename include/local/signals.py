# SPDX-License-Identifier: Apache-2.0
"""Turn Ctrl-C, SIGTERM and SIGHUP into one exception, raised only where nothing can be left running."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from include.local.errors import Interrupted

_HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _State:
    """How many shields are up, and which signal is pending."""

    def __init__(self) -> None:
        self.shields = 0
        self.pending: int | None = None
        self.raised = False


_state = _State()


def install() -> None:
    """Make SIGINT, SIGTERM and SIGHUP raise :class:`Interrupted` once; later signals are ignored."""
    for number in _HANDLED:
        signal.signal(number, _handle)


def _handle(number: int, _frame: FrameType | None) -> None:
    if _state.pending is not None or _state.raised:
        return
    os.write(2, b"\nStopping; this takes a few seconds ...\n")
    _state.pending = number
    if not _state.shields:
        _raise()


def _raise() -> None:
    number, _state.pending = _state.pending, None
    if number is not None:
        _state.raised = True
        raise Interrupted(number)


def is_pending() -> bool:
    """Return whether a signal has arrived that is still delayed."""
    return _state.pending is not None


@contextmanager
def shielded() -> Iterator[None]:
    """
    Delay signals, e.g. between starting a process and recording it.

    Blocking them in the kernel is no alternative: a process started meanwhile would inherit the block.
    """
    _state.shields += 1
    try:
        yield
    finally:
        _state.shields -= 1
    if not _state.shields:
        _raise()
