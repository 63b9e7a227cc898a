# SPDX-License-Identifier: Apache-2.0
"""A thread that makes the transactions of a lease, one after the other, beside the writer of the rows."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from .leases import AccountLeases

if TYPE_CHECKING:
    from .database import ResultsDatabase

T = TypeVar("T")
_Call = tuple[Callable[[AccountLeases], Any], "Future[Any]"]


class LeaseThread:
    """
    Calls the leases of an account, one call after the other.

    It is a daemon, and nobody waits for its end: a database that does not reply must not keep a task from ending.

    :param database: the database of the results table
    :param account: fingerprint of the account
    :param post_seconds: the longest time that a POST can be under way
    """

    def __init__(self, database: ResultsDatabase, account: str, post_seconds: float) -> None:
        self._database = database
        self._account = account
        self._post_seconds = post_seconds
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="goenhance-lease", daemon=True).start()

    def call(self, work: Callable[[AccountLeases], T]) -> Future[T]:
        """Queue a call; the future fails with ``ResultsTableError`` when the database stays out of reach."""
        future: Future[T] = Future()
        self._calls.put((work, future))
        return future

    def close(self) -> None:
        """End the thread after the calls that are queued."""
        self._calls.put(None)

    def _work(self) -> None:
        leases = AccountLeases(self._database, self._account, post_seconds=self._post_seconds)
        while (call := self._calls.get()) is not None:
            work, future = call
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(work(leases))
            except BaseException as error:  # noqa: BLE001  raised where the result is awaited
                future.set_exception(error)
