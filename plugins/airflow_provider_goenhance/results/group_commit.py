# SPDX-License-Identifier: Apache-2.0
"""One writer thread that puts the steps of many concurrent submits into few transactions."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import TYPE_CHECKING

from ..exceptions import ResultsTableError
from .applying import apply
from .passing import OutOfReachError
from .transitions import Claimant, Transition

if TYPE_CHECKING:
    from .database import ResultsDatabase

log = logging.getLogger(__name__)

#: Steps in one transaction at most.
GROUP_LIMIT = 1000
#: A paid job's name is worth waiting for: some four minutes of trying before a write is given up.
ATTEMPTS = 60

_Request = tuple[Sequence[Transition], "Future[list[bool]]"]


class GroupCommit:
    """
    Commits steps in the order they come, as many at once as have gathered during the last commit.

    Safety costs throughput one commit per group, not one per row: that is what lets every row be committed before
    and after its POST. Use it as a context manager; leaving it commits what is queued.

    :param database: where the results table is
    :param who: in whose name the steps are taken
    """

    def __init__(self, database: ResultsDatabase, who: Claimant) -> None:
        self._database = database
        self.who = who
        self._requests: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
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
        future: Future[list[bool]] = Future()
        # Not to be cancelled from here on: what is queued is committed, whether somebody still waits for it or not.
        future.set_running_or_notify_cancel()
        self._requests.put((steps, future))
        return future

    def _work(self) -> None:
        open_ = True
        while open_:
            first = self._requests.get()
            if first is None:
                return
            group = [first]
            size = len(first[0])
            while size < GROUP_LIMIT:
                try:
                    request = self._requests.get_nowait()
                except queue.Empty:
                    break
                if request is None:
                    open_ = False
                    break
                group.append(request)
                size += len(request[0])
            self._commit(group)

    def _commit(self, group: list[_Request]) -> None:
        try:
            results = self._apply([step for request, _ in group for step in request])
        except ResultsTableError as error:
            self._commit_alone(group, error)
        except Exception as error:  # whoever waits must hear of it, or it waits for ever
            log.exception("The writer of the results table failed.")
            self._commit_alone(group, error)
        else:
            start = 0
            for request, future in group:
                future.set_result(results[start : start + len(request)])
                start += len(request)

    def _commit_alone(self, group: list[_Request], error: Exception) -> None:
        """Take requests one by one, so that only the one that the database refuses fails; a lone one has failed."""
        if len(group) == 1 or isinstance(error, OutOfReachError):
            for _, future in group:
                future.set_exception(error)
            return
        for request in group:
            self._commit([request])

    def _apply(self, steps: Sequence[Transition]) -> list[bool]:
        database = self._database
        return database.run(
            lambda connection: apply(connection, database.swaps, self.who, steps), attempts=ATTEMPTS
        )
