# SPDX-License-Identifier: Apache-2.0
"""Put the steps of many concurrent submits into few transactions: a writer thread, and its event-loop side."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING

from ..exceptions import ResultsTableError
from .clock import WRITER_ATTEMPTS
from .stores import Writer, Written
from .transient_errors import OutOfReachError
from .transition_sql import apply
from .transitions import Claim, ClaimOwner, Transition, without_side_values

if TYPE_CHECKING:
    from .database import ResultsDatabase, RunInTransaction

log = logging.getLogger(__name__)

#: Steps in one transaction at most.
GROUP_LIMIT = 1000
#: Steps are gathered before a commit for this share of the time that a POST takes, and for at least and at most these
#: seconds, unless this many slots wait by then. Several times fewer transactions; and while spare slots have rows that
#: are claimed already, the wire does not wait for it.
GATHER_SHARE = 0.1
SHORTEST_GATHER, LONGEST_GATHER = 0.001, 0.02
ENOUGH_SLOTS = 24

_AsyncRequest = tuple[list[Transition], "asyncio.Future[list[bool]]"]


@dataclass(slots=True)
class _Batch:
    """The requests of one call of ``write_all``: a future for all, because one for each costs more than its row."""

    requests: Sequence[Sequence[Transition]]
    done: Future[list[Written]]

    @property
    def size(self) -> int:
        """Return how many steps the requests have."""
        return sum(map(len, self.requests))


class GroupCommit:
    """
    Commits in one transaction the steps that were queued during the last commit.

    Safety costs one commit per group, not one per row: that is what makes it affordable to commit every row before
    and after its POST. Queue a row's next step only when its last one is done. Use it as a context manager; leaving it
    commits what is queued.

    :param database: the database of the results table
    :param owner: the execution that takes the steps
    """

    def __init__(self, database: ResultsDatabase, owner: ClaimOwner) -> None:
        self._database = database
        self.owner = owner
        self._batches: queue.SimpleQueue[_Batch | None] = queue.SimpleQueue()
        self._ended: queue.SimpleQueue[None] = queue.SimpleQueue()
        # One thread: a second one was measured, on a server too; it costs more processor time than it saves waiting.
        self._thread = threading.Thread(target=self._work, name="goenhance-group-commit", daemon=True)

    def __enter__(self) -> GroupCommit:
        # Creates the table, so that a database that cannot be used fails before anything is claimed.
        _ = self._database.engine
        self._thread.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._batches.put(None)
        # Not `Thread.join`: on Python 3.11 a join that a signal interrupted returns at once the next time, while the
        # thread still writes.
        self._ended.get()

    def write_all(self, requests: Sequence[Sequence[Transition]]) -> Future[list[Written]]:
        """
        Queue the steps of several slots; each slot's steps are committed together.

        :return: for each slot the results of :func:`.transition_sql.apply`, or the error that its steps ended in:
            ``ResultsTableError`` when the database stays out of reach
        """
        batch = _Batch(requests, Future())
        # Queued steps are committed whether or not anyone still waits: the future can no longer be cancelled.
        batch.done.set_running_or_notify_cancel()
        self._batches.put(batch)
        return batch.done

    def _work(self) -> None:
        try:
            with self._database.persistent_connection() as run:
                while (batches := self._next_group()) is not None:
                    self._commit(run, batches)
        finally:
            self._ended.put(None)

    def _next_group(self) -> list[_Batch] | None:
        """Wait for requests, and return all that are queued; ``None`` after the last one."""
        batch = self._batches.get()
        if batch is None:
            return None
        batches = [batch]
        size = batch.size
        while size < GROUP_LIMIT:
            try:
                further = self._batches.get_nowait()
            except queue.Empty:
                break
            if further is None:
                # The next call returns the end.
                self._batches.put(None)
                break
            batches.append(further)
            size += further.size
        return batches

    def _commit(self, run: RunInTransaction, batches: list[_Batch]) -> None:
        written = iter(self._write(run, [request for batch in batches for request in batch.requests]))
        for batch in batches:
            batch.done.set_result(list(islice(written, len(batch.requests))))

    def _write(self, run: RunInTransaction, requests: Sequence[Sequence[Transition]]) -> list[Written]:
        """Commit requests in one transaction."""
        steps = [step for request in requests for step in request]
        swaps = self._database.swaps
        try:
            results = iter(
                run(lambda connection: apply(connection, swaps, self.owner, steps), attempts=WRITER_ATTEMPTS)
            )
        except ResultsTableError as error:
            return self._write_alone(run, requests, error)
        except BaseException as error:  # the waiting slots must receive it, or they wait forever
            log.exception("The writer of the results table failed.")
            return self._write_alone(run, requests, error)
        return [list(islice(results, len(request))) for request in requests]

    def _write_alone(
        self, run: RunInTransaction, requests: Sequence[Sequence[Transition]], error: BaseException
    ) -> list[Written]:
        """Commit requests one by one, so that only the one that the database refuses fails."""
        if isinstance(error, OutOfReachError):
            return [error] * len(requests)
        if len(requests) > 1:
            return [self._write(run, [request])[0] for request in requests]
        bare = [without_side_values(step) for step in requests[0]]
        if bare == list(requests[0]):
            return [error]
        log.warning("%s Writing the state and the job of the row alone.", error)
        return self._write(run, [bare])


class AsyncGroupCommit:
    """
    The event loop's side of a writer: it passes the steps of all slots to the writer, a group at a time.

    Waking the event loop from another thread costs a system call and contention for the interpreter lock; here it
    happens once per group instead of once per row.

    :param writer: an open writer
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._waiting: list[_AsyncRequest] = []
        self._pump: asyncio.Task[None] | None = None
        self._gathering: asyncio.Future[None] | None = None
        self._gather_seconds = SHORTEST_GATHER

    def note_post(self, seconds: float) -> None:
        """Note how long a POST took."""
        gather = min(max(GATHER_SHARE * seconds, SHORTEST_GATHER), LONGEST_GATHER)
        self._gather_seconds += (gather - self._gather_seconds) / 16

    async def commit(self, steps: list[Transition]) -> list[bool]:
        """
        Commit steps together; return for each whether its row is now where the step puts it.

        :raises ResultsTableError: when they could not be committed
        """
        done: asyncio.Future[list[bool]] = asyncio.get_running_loop().create_future()
        self._waiting.append((steps, done))
        if self._gathering is not None and len(self._waiting) >= ENOUGH_SLOTS:
            _end(self._gathering)
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._run())
        return await done

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._gather()
                group, self._waiting = self._waiting, []
                await self._commit(group)
        finally:
            self._queue_remaining_results()

    async def _gather(self) -> None:
        """Wait for the steps of further slots."""
        loop = asyncio.get_running_loop()
        enough: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(self._gather_seconds, _end, enough)
        if len(self._waiting) >= ENOUGH_SLOTS:
            _end(enough)
        self._gathering = enough
        try:
            await enough
        finally:
            self._gathering = None
            timer.cancel()

    async def _commit(self, group: list[_AsyncRequest]) -> None:
        try:
            written = await asyncio.wrap_future(self._writer.write_all([steps for steps, _ in group]))
        except Exception as error:  # noqa: BLE001  the waiting slots must receive it, or they wait forever
            failed: Written = error
            written = [failed] * len(group)
        for (_, done), results in zip(group, written, strict=True):
            if done.done():
                continue
            if isinstance(results, BaseException):
                done.set_exception(results)
            else:
                done.set_result(results)

    def _queue_remaining_results(self) -> None:
        """Queue the results of POSTs when the event loop ends early, but no claims: their POSTs will not be sent."""
        left = [[step for step in steps if not isinstance(step, Claim)] for steps, _ in self._waiting]
        self._waiting = []
        if any(left):
            self._writer.write_all([steps for steps in left if steps])


def _end(wait: asyncio.Future[None]) -> None:
    if not wait.done():
        wait.set_result(None)
