# SPDX-License-Identifier: Apache-2.0
"""
Stop a submit that has not been written yet.

A submit waits in many places before its request leaves: for a slot, for its turn, for the end of a pause, between two
attempts, for a connection. Its gate knows whether the request has been written, and is asked for the last time when
there is a connection and the next step writes to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING

import aiohttp

if TYPE_CHECKING:
    from aiohttp.connector import Connection


class SendGate:
    """
    The gate of one submit.

    :param is_closed: returns whether nothing may be sent any more
    :ivar written: whether the request has been written, and may be accepted
    :ivar stopped: whether the submit was stopped before that; it then ends with ``CancelledError``
    """

    __slots__ = ("_is_closed", "stopped", "written")

    def __init__(self, is_closed: Callable[[], bool]) -> None:
        self._is_closed = is_closed
        self.written = False
        self.stopped = False

    def write(self) -> None:
        """
        Note that the request is being written.

        :raises asyncio.CancelledError: when nothing may be sent any more
        """
        self._pass()
        self.written = True

    def wait_again(self) -> None:
        """
        Note that the request was certainly not accepted, and waits for its next attempt.

        :raises asyncio.CancelledError: when nothing may be sent any more
        """
        self.written = False
        self._pass()

    def _pass(self) -> None:
        if self._is_closed():
            self.stopped = True
            raise asyncio.CancelledError

    def stop(self, task: asyncio.Task[object]) -> None:
        """Cancel the task that submits, unless its request has been written."""
        if not self.written:
            self.stopped = True
            task.cancel()


#: The gate of the submit that the running asyncio task makes.
current_gate: ContextVar[SendGate | None] = ContextVar("current_gate", default=None)


class GatedRequest(aiohttp.ClientRequest):
    """A request that asks its gate before it is written."""

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        """Write the request."""
        if gate := current_gate.get():
            gate.write()
        return await super().send(conn)


async def sleep(seconds: float) -> None:
    """Wait between two attempts of a call. The one before was certainly not accepted, or it would not be repeated."""
    if gate := current_gate.get():
        gate.wait_again()
    await asyncio.sleep(seconds)
