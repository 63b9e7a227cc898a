# SPDX-License-Identifier: Apache-2.0
"""What the local commands raise: messages for a person at a terminal, never a traceback."""

from __future__ import annotations


class LocalStackError(Exception):
    """A fault that a person can fix; the message names it and says what to do."""


class Interrupted(BaseException):
    """
    A signal asked us to stop; everything that was started must be stopped on the way out.

    Not an ``Exception``, so that no handler for ordinary failures swallows it.

    :param signal_number: the signal that arrived
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"stopped by signal {signal_number}")
        self.signal_number = signal_number
