# SPDX-License-Identifier: Apache-2.0
"""A writer thread that puts the steps of many concurrent submits into few transactions."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import TYPE_CHECKING

from ..exceptions import ResultsTableError
from .transient_errors import OutOfReachError
from .transition_sql import apply
from .transitions import ClaimOwner, Transition

if TYPE_CHECKING:
    from .database import ResultsDatabase, RunInTransaction

log = logging.getLogger(__name__)

#: Steps in one transaction at most.
GROUP_LIMIT = 1000
#: A paid job's name is worth waiting for: some four minutes of trying before a write is given up.
ATTEMPTS = 60

_Request = tuple[Sequence[Transition], "Future[list[bool]]"]


class GroupCommit:
    """
    Commits steps as many at once as have gathered during the last commit.

    Safety costs throughput one commit per group, not one per row: that is what lets every row be committed before
    and after its POST. A row's next step is to be queued only when its last one is done. Use it as a context manager;
    leaving it commits what is queued.

    :param database: where the results table is
    :param owner: in whose name the steps are taken
    """

    def __init__(self, database: ResultsDatabase, owner: ClaimOwner) -> None:
        self._database = database
        self.owner = owner
        self._requests: queue.SimpleQueue[list[_Request] | None] = queue.SimpleQueue()
        # One: a second was measured, on a server too, and takes more processor than it saves waiting.
        self._thread = threading.Thread(target=self._work, name="goenhance-group-commit", daemon=True)

    def __enter__(self) -> GroupCommit:
        # The table is made here, so that a database that cannot be used fails before anything is claimed.
        _ = self._database.engine
        self._thread.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._requests.put(None)
        self._thread.join()

    def write(self, steps: Sequence[Transition]) -> Future[list[bool]]:
        """
        Queue steps that are committed together.

        :return: a future of the results of :func:`.applying.apply`; it fails with ``ResultsTableError`` when the
            database stayed out of reach
        """
        return self.write_all([steps])[0]

    def write_all(self, requests: Sequence[Sequence[Transition]]) -> list[Future[list[bool]]]:
        """
        Queue several slots' steps at once; each slot's are committed together.

        :return: a future for each, as of :meth:`write`; they are done in this order
        """
        group: list[_Request] = []
        for steps in requests:
            future: Future[list[bool]] = Future()
            # Not to be cancelled from here on: what is queued is committed, whether somebody still waits or not.
            future.set_running_or_notify_cancel()
            group.append((steps, future))
        self._requests.put(group)
        return [future for _, future in group]

    def _work(self) -> None:
        with self._database.held() as run:
            while (group := self._next_group()) is not None:
                self._commit(run, group)

    def _next_group(self) -> list[_Request] | None:
        """Wait for requests, and take along what has gathered; ``None`` at the end."""
        group = self._requests.get()
        if group is None:
            return None
        size = sum(len(steps) for steps, _ in group)
        while size < GROUP_LIMIT:
            try:
                further = self._requests.get_nowait()
            except queue.Empty:
                break
            if further is None:
                # The end is for the next look.
                self._requests.put(None)
                break
            group = group + further
            size += sum(len(steps) for steps, _ in further)
        return group

    def _commit(self, run: RunInTransaction, group: list[_Request]) -> None:
        steps = [step for request, _ in group for step in request]
        swaps = self._database.swaps
        try:
            results = run(lambda connection: apply(connection, swaps, self.owner, steps), attempts=ATTEMPTS)
        except ResultsTableError as error:
            self._commit_alone(run, group, error)
        except BaseException as error:  # whoever waits must hear of it, or it waits for ever
            log.exception("The writer of the results table failed.")
            self._commit_alone(run, group, error)
        else:
            start = 0
            for request, future in group:
                future.set_result(results[start : start + len(request)])
                start += len(request)

    def _commit_alone(self, run: RunInTransaction, group: list[_Request], error: BaseException) -> None:
        """Take requests one by one, so that only the one that the database refuses fails; a lone one has failed."""
        if len(group) == 1 or isinstance(error, OutOfReachError):
            for _, future in group:
                future.set_exception(error)
            return
        for request in group:
            self._commit(run, [request])
