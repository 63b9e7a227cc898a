# SPDX-License-Identifier: Apache-2.0
"""The trigger that waits for the jobs of one task."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from ..api.polling import progress_line, wait_for_jobs
from ..api.wait_outcome import WaitOutcome
from ..exceptions import GoEnhanceError, ResultsTableError
from ..execution.events import event_of, event_of_error
from ..execution.messages import pluralize
from ..metrics import WaitingJobs

if TYPE_CHECKING:
    from ..hooks.goenhance import GoEnhanceAsyncHook

log = logging.getLogger(__name__)

#: For how long the results table may be out of reach, in seconds, before the task is told.
UNREADABLE_SECONDS = 120.0
#: Seconds between two attempts to read it.
READ_AGAIN_EVERY = 10.0


class GoEnhanceJobsTrigger(BaseTrigger):
    """
    Poll many jobs over one session, until all are finished or the deadline has passed.

    The arguments are stored in the metadata database and are ids and numbers only: no token, no link. They say where
    the rows are, and not which jobs there are, so that they do not grow with the batch. The trigger sends one event,
    which is as small: when all jobs have ended, at the deadline, or as soon as ``hand_over_after`` seconds have passed
    and some jobs have ended. The task then collects those, and defers again with the same deadline.

    :param goenhance_conn_id: connection of the account
    :param img_uuids: jobs to wait for beside those of the rows; without rows and jobs it waits until the deadline
    :param deadline: end of the wait, seconds since the epoch, so that a restart of the triggerer does not extend it
    :param poll_interval: seconds between two status calls for one new job (default 5, the vendor's advice)
    :param results_conn_id: connection of the results table, whose ``submitted`` rows are waited for
    :param rows: where they are, as :meth:`..results.waiting_jobs.RowsOf.to_dict` returns it
    :param hand_over_after: seconds after which jobs that have ended are handed over; default: never before all have
    :param doubts: ``img_uuid`` -> how often GoEnhance had said "job not found" before, and since when
    :param since: when the wait for the jobs began, seconds since the epoch; default: now
    :param carried: what the task wants to find in the event
    """

    def __init__(
        self,
        goenhance_conn_id: str,
        img_uuids: list[str],
        deadline: float,
        poll_interval: float = 5.0,
        *,
        results_conn_id: str | None = None,
        rows: dict[str, Any] | None = None,
        hand_over_after: float | None = None,
        doubts: dict[str, Any] | None = None,
        since: float | None = None,
        carried: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.goenhance_conn_id = goenhance_conn_id
        self.img_uuids = img_uuids
        self.deadline = deadline
        self.poll_interval = poll_interval
        self.results_conn_id = results_conn_id
        self.rows = rows
        self.hand_over_after = hand_over_after
        self.doubts = doubts
        self.since = since
        self.carried = carried
        self._jobs: list[str] = list(img_uuids)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments that recreate this trigger."""
        arguments = {
            "goenhance_conn_id": self.goenhance_conn_id,
            "img_uuids": self.img_uuids,
            "deadline": self.deadline,
            "poll_interval": self.poll_interval,
        }
        optional = {
            "results_conn_id": self.results_conn_id,
            "rows": self.rows,
            "hand_over_after": self.hand_over_after,
            "doubts": self.doubts,
            "since": self.since,
            "carried": self.carried,
        }
        # Without those that are not set, a triggerer of an earlier release can run it too.
        arguments |= {name: value for name, value in optional.items() if value is not None}
        return "airflow_provider_goenhance.triggers.face_swap.GoEnhanceJobsTrigger", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, then send one event; an error that ends the wait is sent too, never raised."""
        try:
            event = await self._wait()
        except ResultsTableError as error:
            log.error("%s", error)  # noqa: TRY400  the message says it all; a traceback adds nothing
            event = event_of_error(error, self.carried, unreadable=True)
        except (GoEnhanceError, ValueError) as error:
            log.error("%s", error)  # noqa: TRY400  as above
            event = event_of_error(error, self.carried)
        except Exception as error:
            log.exception("Waiting for %d jobs failed.", len(self._jobs))
            event = event_of_error(error, self.carried)
        yield TriggerEvent(event)

    async def _wait(self) -> dict[str, Any]:
        if not self.img_uuids and self.rows is None:
            # The task has no job yet, and looks at the deadline whether the account has room for one.
            await asyncio.sleep(self.deadline - time.time())
            return event_of(WaitOutcome(), self.carried)
        if self.rows is not None:
            self._jobs = list(dict.fromkeys([*await self._jobs_of_rows(), *self.img_uuids]))
        # The first import takes most of a second, so it must not block the thread of all triggers.
        hook_class = await asyncio.to_thread(_hook_class)
        with WaitingJobs(self._dag_id()) as waiting:
            return event_of(await self._outcome(hook_class, waiting), self.carried)

    async def _outcome(self, hook_class: type[GoEnhanceAsyncHook], waiting: WaitingJobs) -> WaitOutcome:
        def progress(done: int, failed: int, total: int, seconds: float) -> str:
            waiting.show(total - done)
            return progress_line(done, failed, total, seconds)

        waiting.show(len(self._jobs))
        async with hook_class(self.goenhance_conn_id).client() as client:
            outcome = await wait_for_jobs(
                client.get_job,
                self._jobs,
                deadline=self.deadline,
                poll_interval=self.poll_interval,
                max_concurrency=client.account.max_concurrency,
                host=client.account.base_url,
                progress=progress,
                hand_over_after=self.hand_over_after,
                since=self.since,
                doubts={uuid: (int(said[0]), float(said[1])) for uuid, said in (self.doubts or {}).items()},
            )
        log.info(
            "Waited for %s: %s.%s",
            pluralize(len(self._jobs), "job"),
            outcome,
            " The task collects what has ended, and then waits for the others."
            if outcome.handed_over
            else "",
        )
        return outcome

    def _dag_id(self) -> str | None:
        found = (self.rows or {}).get("dag_id") or getattr(
            getattr(self, "task_instance", None), "dag_id", None
        )
        return str(found) if found else None

    async def _jobs_of_rows(self) -> list[str]:
        """Read the jobs of the rows, again for a while if the database is out of reach."""
        give_up = min(time.time() + UNREADABLE_SECONDS, self.deadline)
        while True:
            try:
                # Not `asyncio.to_thread`: before Airflow 3.3 a connection could not be read in its threads.
                return await sync_to_async(read_jobs, thread_sensitive=False)(
                    str(self.results_conn_id), self.rows or {}
                )
            except ResultsTableError as error:
                if time.time() + READ_AGAIN_EVERY >= give_up or not is_out_of_reach(error):
                    raise
                log.warning("%s It is read again in %.0f s.", error, READ_AGAIN_EVERY)
                await asyncio.sleep(READ_AGAIN_EVERY)

    async def on_kill(self) -> None:
        """Log that the jobs keep running: GoEnhance has no call to cancel one."""
        if not self._jobs:
            return
        log.warning(
            "The task was stopped by a user while %d jobs were running. They keep running, and billing, at GoEnhance: "
            "%s. Their rows keep each img_uuid; clearing the task re-attaches to them and pays nothing.",
            len(self._jobs),
            ", ".join(self._jobs[:20]) + (", ..." if len(self._jobs) > 20 else ""),
        )


def is_out_of_reach(error: ResultsTableError) -> bool:
    """Return whether the results table may be readable again soon."""
    from ..results.transient_errors import OutOfReachError

    return isinstance(error, OutOfReachError)


def read_jobs(results_conn_id: str, rows: dict[str, Any]) -> list[str]:
    """
    Read the jobs of rows from the results table.

    :raises ResultsTableError: when it cannot be read, or is not the one that the worker writes to
    """
    from ..hooks.results import open_ledger
    from ..results.waiting_jobs import RowsOf, read_waiting_jobs

    with open_ledger(results_conn_id, must_exist=True) as ledger:
        found = read_waiting_jobs(ledger.database, RowsOf(**rows))
    if not found.known:
        raise ResultsTableError(
            f"The results table of connection {results_conn_id!r}, as the triggerer reads it, has no rows of this "
            "task: it is not the one that the worker writes to. An SQLite file must be on a volume that workers and "
            "triggerers share; with several machines use PostgreSQL."
        )
    return found.img_uuids


def _hook_class() -> type[GoEnhanceAsyncHook]:
    from ..hooks.goenhance import GoEnhanceAsyncHook

    return GoEnhanceAsyncHook
