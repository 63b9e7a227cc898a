# SPDX-License-Identifier: Apache-2.0
"""The event loop's side of a group commit: all slots' steps cross to the writer's thread and back together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future

from .stores import Writer
from .transitions import Claim, Transition

#: Seconds to wait for company before a commit: a tenth of a submit, and several times fewer transactions.
GATHER_SECONDS = 0.001

_Waiting = tuple[list[Transition], "asyncio.Future[list[bool]]"]


class Commits:
    """
    Gathers what slots want to commit, a group at a time.

    A wake-up of the event loop from another thread is a system call and a fight for the interpreter lock; here it is
    one for a group instead of one for a row.

    :param writer: an open writer
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._waiting: list[_Waiting] = []
        self._pump: asyncio.Task[None] | None = None

    async def commit(self, steps: list[Transition]) -> list[bool]:
        """
        Commit steps together; return for each whether its row now stands where the step put it.

        :raises ResultsTableError: when they could not be committed
        """
        done: asyncio.Future[list[bool]] = asyncio.get_running_loop().create_future()
        self._waiting.append((steps, done))
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._run())
        return await done

    async def _run(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(GATHER_SECONDS)
                group, self._waiting = self._waiting, []
                await self._commit(group)
        finally:
            self._hand_over()

    async def _commit(self, group: list[_Waiting]) -> None:
        try:
            futures = self._writer.write_all([steps for steps, _ in group])
        except Exception as error:  # noqa: BLE001  whoever waits must hear of it, or it waits for ever
            for _, done in group:
                if not done.done():
                    done.set_exception(error)
            return
        await _until_done(futures)
        for (_, done), future in zip(group, futures, strict=True):
            _pass_on(future, done)

    def _hand_over(self) -> None:
        """Queue the outcomes that are left when the event loop ends early; nobody will send what is claimed then."""
        left = [[step for step in steps if not isinstance(step, Claim)] for steps, _ in self._waiting]
        self._waiting = []
        if any(left):
            self._writer.write_all([steps for steps in left if steps])


async def _until_done(futures: Sequence[Future[list[bool]]]) -> None:
    # They are done in order: the last one speaks for all.
    await asyncio.wait([asyncio.wrap_future(futures[-1])])


def _pass_on(future: Future[list[bool]], done: asyncio.Future[list[bool]]) -> None:
    if done.done():
        return
    error = future.exception()
    if error is not None:
        done.set_exception(error)
    else:
        done.set_result(future.result())
