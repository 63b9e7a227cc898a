# SPDX-License-Identifier: Apache-2.0
"""Record what is found in groups: a transaction for all that has accumulated, in another thread than the downloads."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..exceptions import ResultsTableError
from ..results.transient_errors import OutOfReachError

if TYPE_CHECKING:
    from ..results.inspection_transitions import Inspected
    from ..results.ledger import Outcome

log = logging.getLogger(__name__)

#: Seconds to gather outcomes before a transaction.
GATHER_SECONDS = 0.02
#: Outcomes that may wait to be recorded; then the downloads wait too.
MOST_WAITING = 1000
#: Seconds for which a database that is out of reach is tried, and between two tries.
OUT_OF_REACH_SECONDS, OUT_OF_REACH_PAUSE = 300.0, 5.0
#: Seconds that the outcomes of a task that is told to end may take. Airflow kills it after five.
LAST_SECONDS = 1.5


class OutcomeRecorder:
    """
    Records the outcomes of jobs, in the order in which they were added.

    What cannot be recorded is not lost: its row stays as it was, and collecting it again costs nothing.

    :param record: records outcomes in one transaction; called in another thread
    :ivar refused: the first error of an outcome that the database does not accept, recorded alone
    """

    def __init__(self, record: Callable[[Sequence[Outcome | Inspected]], None]) -> None:
        self._record = record
        self._waiting: list[Outcome | Inspected] = []
        self._added = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._closed = False
        self.refused: ResultsTableError | None = None

    def add(self, outcome: Outcome | Inspected) -> None:
        """Have an outcome recorded, or what was found in a picture whose outcome was added before."""
        self._waiting.append(outcome)
        self._added.set()
        if len(self._waiting) >= MOST_WAITING:
            self._has_room.clear()

    async def wait_for_room(self) -> None:
        """Wait while too many outcomes wait to be recorded."""
        await self._has_room.wait()

    def close(self) -> None:
        """Let :meth:`run` return once everything is recorded."""
        self._closed = True
        self._added.set()

    async def run(self) -> None:
        """
        Record what is added, until :meth:`close`.

        :raises ResultsTableError: when the database stays out of reach
        """
        while self._waiting or not self._closed:
            await self._added.wait()
            if not self._closed:
                await asyncio.sleep(GATHER_SECONDS)
            group, self._waiting = self._waiting, []
            if not self._closed:
                self._added.clear()
            self._has_room.set()
            if group:
                await self._write(group)

    async def _write(self, group: list[Outcome | Inspected]) -> None:
        try:
            await self._while_out_of_reach(group)
        except OutOfReachError:
            raise
        except ResultsTableError as error:
            if len(group) == 1:
                log.warning("The outcome of job %s was not recorded: %s", group[0].img_uuid, error)
                self.refused = self.refused or error
                return
            # Halves, so that only the outcome that the database does not accept fails.
            middle = len(group) // 2
            await self._write(group[:middle])
            await self._write(group[middle:])

    async def _while_out_of_reach(self, group: list[Outcome | Inspected]) -> None:
        deadline = time.monotonic() + OUT_OF_REACH_SECONDS
        while True:
            try:
                return await asyncio.to_thread(self._record, group)
            except OutOfReachError as error:
                if time.monotonic() >= deadline:
                    raise
                log.warning("%s Collected pictures are kept, and recorded once it answers.", error)
            await asyncio.sleep(OUT_OF_REACH_PAUSE)

    async def record_last(self) -> None:
        """Record what is left when the task ends early, as far as that takes no more than a moment."""
        group, self._waiting = self._waiting, []
        if group:
            with contextlib.suppress(Exception):
                # wait, not wait_for: it would wait for the thread, which cannot be interrupted.
                await asyncio.wait(
                    {asyncio.ensure_future(asyncio.to_thread(self._record, group))}, timeout=LAST_SECONDS
                )
