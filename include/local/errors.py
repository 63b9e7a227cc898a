# SPDX-License-Identifier: Apache-2.0
"""Errors of the local commands. They are printed as messages, without a traceback."""

from __future__ import annotations


class LocalStackError(Exception):
    """A problem that the user can fix; the message says how."""


class Interrupted(BaseException):
    """
    A signal asked the command to stop; everything it started must be stopped on the way out.

    Not an ``Exception``, so that handlers for ordinary failures do not catch it.

    :param signal_number: the signal that arrived
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"stopped by signal {signal_number}")
        self.signal_number = signal_number
