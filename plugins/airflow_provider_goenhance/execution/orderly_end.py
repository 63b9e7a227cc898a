# SPDX-License-Identifier: Apache-2.0
"""End an execution of a task before Airflow kills it."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from ..results.states import Status
from .messages import pluralize

if TYPE_CHECKING:
    from ..results.stores import SwapStore
    from ..results.transitions import ClaimOwner
    from .task_loop import TaskLoop

log = logging.getLogger(__name__)

#: Seconds that a task which is being ended waits for the answers to its POSTs. Airflow sends SIGKILL after five ...
KILL_GRACE = 3.0
#: ... so this many are left for marking the rows whose answer has not come.
MARK_SECONDS = 1.0


class OrderlyEnd:
    """
    The end of an execution that was told to end.

    :param store: the rows of the task
    :param owner: the execution
    :param loop: runs its submits and waits
    """

    def __init__(self, store: SwapStore, owner: ClaimOwner, loop: TaskLoop) -> None:
        self._store = store
        self._owner = owner
        self._loop = loop
        self._marked = False

    def begin(self) -> None:
        """
        Send nothing more, wait a little for the answers to the POSTs on the wire, and mark those without one.

        It may be called again, and while an earlier call is interrupted. The marking runs in a separate thread: Airflow
        calls this in a signal handler, and the code that the signal interrupted may hold the lock that the database or
        the task state store needs.
        """
        self._loop.end()
        self._loop.wait_until_idle(KILL_GRACE)
        if self._marked:
            return
        self._marked = True
        marking = threading.Thread(target=self._mark_killed, daemon=True)
        marking.start()
        marking.join(MARK_SECONDS)

    def _mark_killed(self) -> None:
        killed = self._store.mark_killed(self._owner)
        running = sum(swap.status is Status.SUBMITTED for swap in self._store.load())
        log.warning(
            "Stopping. %s without a response: marked unknown, because each may have been accepted and paid for. %s "
            "at GoEnhance: a retry or clear re-attaches and pays nothing.",
            pluralize(killed, "submit is", "submits are"),
            pluralize(running, "job is paid for and continues", "jobs are paid for and continue"),
        )
