# SPDX-License-Identifier: Apache-2.0
"""
Collect pictures while other jobs still run.

Rows are added one by one, each as soon as its job has ended. What is known about a row is recorded in groups. A picture
that is kept is looked at once its outcome is on its way to the results table, see :mod:`.inspecting`.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
import traceback
from collections import deque
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from ..api.client import open_client
from ..api.models import Job, JobState
from ..exceptions import AuthenticationError, GoEnhanceError, ResultsTableError
from ..results.inspection_transitions import Inspected
from ..results.ledger import Outcome
from ..results.states import Status
from .messages import pluralize
from .meter import COLLECT_BYTES, COLLECT_SECONDS, count_outcomes, meter, time_job
from .outcomes import failed_job, picture_not_stored
from .recording import OutcomeRecorder

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import aiohttp

    from ..api.account import Account
    from ..api.client import GoEnhanceClient
    from ..pictures.collector import StorageOptions
    from ..pictures.limits import CollectLimits
    from ..pictures.storage import KeptPicture
    from ..results.stores import SwapStore
    from ..results.swap import Swap
    from .inspecting import Inspector

log = logging.getLogger(__name__)

#: Seconds between two lines about the progress.
PROGRESS_EVERY = 15.0
#: Threads that check and store pictures, at most: an object storage takes a while for each.
MOST_THREADS = 32


class Collecting:
    """
    Collects the pictures of jobs that have ended. Open it with :func:`open_collecting`.

    :param client: asks GoEnhance for the links
    :param downloads: the session for pictures
    :param storage_options: how the pictures are downloaded, marked and stored
    :param limits: how much is collected at the same time
    :param tasks: runs the downloads, and ends all of them with the first error
    :param recorder: records the outcomes, and what looks at the pictures have found
    :param inspector: looks at the pictures that are kept; ``None`` if nobody asked for it
    """

    def __init__(
        self,
        client: GoEnhanceClient,
        downloads: aiohttp.ClientSession,
        storage_options: StorageOptions,
        limits: CollectLimits,
        tasks: asyncio.TaskGroup,
        recorder: OutcomeRecorder,
        inspector: Inspector | None = None,
    ) -> None:
        self._inspector = inspector
        self._client = client
        self._downloads = downloads
        self._storage_options = storage_options
        self._limits = limits
        # More than download: so that downloads go on while pictures are checked and stored.
        self._most = limits.downloads.most + limits.downloads.most // 2
        self._tasks = tasks
        self._recorder = recorder
        self._queue: deque[tuple[Swap, Job | None, StorageOptions]] = deque()
        self._workers = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._last_line = time.monotonic()
        self._added = self._done = 0

    def add(
        self, swap: Swap, job: Job | None = None, *, storage_options: StorageOptions | None = None
    ) -> None:
        """
        Have the picture of a row collected, whose job has ended. Returns at once.

        :param swap: the row, with its ``img_uuid``
        :param job: the job as GoEnhance has just described it; without it, GoEnhance is asked
        :param storage_options: for a row of another run
        """
        self._queue.append((swap, job, storage_options or self._storage_options))
        self._added += 1
        if self._workers < self._most:
            self._workers += 1
            self._idle.clear()
            self._tasks.create_task(self._work())

    def record(self, outcome: Outcome) -> None:
        """Have the outcome of a job without a picture recorded. Returns at once."""
        self._recorder.add(outcome)

    async def finish(self) -> None:
        """Wait until every picture that was added is collected and looked at, and all of that is recorded."""
        await self._idle.wait()
        if self._inspector is not None:
            await self._inspector.finish()
        self._recorder.close()

    async def _work(self) -> None:
        while self._queue:
            began = time.monotonic()
            swap, job, options = self._queue.popleft()
            outcome, picture = await self._outcome(swap, job, options)
            if outcome is not None:
                self._recorder.add(outcome)
                meter().time(COLLECT_SECONDS, time.monotonic() - began)
                # After the outcome, so that it never waits for a look.
                if picture is not None and self._inspector is not None:
                    self._inspector.add(swap, options, picture, outcome.img_uuid)
            self._done += 1
            if time.monotonic() - self._last_line >= PROGRESS_EVERY:
                self._last_line = time.monotonic()
                log.info("Collected %d of %d pictures.", self._done, self._added)
            await self._recorder.wait_for_room()
        # Without an await since the queue was empty: no row can have been added that nobody takes.
        self._workers -= 1
        if not self._workers:
            self._idle.set()

    async def _outcome(
        self, swap: Swap, job: Job | None, options: StorageOptions
    ) -> tuple[Outcome | None, KeptPicture | None]:
        """Return what became of a job, and its picture; whatever is wrong with one picture fails that one alone."""
        try:
            job = job or await self._client.get_job(str(swap.img_uuid))
            if job.state is JobState.FAILED:
                return failed_job(swap, job.reason or ""), None
            if job.state is JobState.RUNNING:
                log.warning(
                    "%s: GoEnhance reports job %s as still running; it stays submitted.",
                    swap.label,
                    swap.img_uuid,
                )
                return None, None
            return await self._keep(swap, job, options)
        except AuthenticationError:
            raise
        except GoEnhanceError as error:
            log.warning("%s: %s", swap.label, error)
            return picture_not_stored(swap, error), None
        except Exception as error:  # noqa: BLE001  a defect that one picture reveals must not stop the others
            outcome = picture_not_stored(swap, error)
            # Where it was raised, without its text, which may contain the link.
            where = "".join(traceback.format_tb(error.__traceback__))
            log.warning("%s: %s\n%s", swap.label, outcome.error_message, where)
            return outcome, None

    async def _keep(self, swap: Swap, job: Job, options: StorageOptions) -> tuple[Outcome, KeptPicture]:
        from ..pictures.collector import collect_picture
        from ..pictures.sidecar import SwapFacts

        finished = _moment(job.ended_at)
        first, *others = await collect_picture(
            self._downloads,
            self._links(job),
            options,
            pair_id=swap.pair_id,
            facts=SwapFacts(
                img_uuid=job.img_uuid,
                source_img=swap.source_img,
                reference_img=swap.reference_img,
                consent_ref=swap.consent_ref,
                submitted_at=swap.submitted_at,
                finished_at=finished,
                collected_at=dt.datetime.now(dt.UTC),
            ),
            limits=self._limits,
        )
        meter().count(COLLECT_BYTES, first.size + sum(picture.size for picture in others))
        time_job(swap, finished)
        outcome = Outcome(
            swap.swap_id,
            job.img_uuid,
            Status.SUCCEEDED,
            result_uri=first.uri,
            result_sha256=first.sha256,
            additional_result_uris=tuple(picture.uri for picture in others),
            finished_at=finished,
            result_mark=first.mark if all(picture.mark for picture in others) else None,
        )
        return outcome, first

    def _links(self, job: Job) -> Callable[[bool], Awaitable[list[str]]]:
        async def links(refresh: bool) -> list[str]:
            current = await self._client.get_job(job.img_uuid) if refresh else job
            return list(current.links)

        return links


@asynccontextmanager
async def open_collecting(
    account: Account,
    store: SwapStore,
    storage_options: StorageOptions,
    *,
    client: GoEnhanceClient | None = None,
) -> AsyncIterator[Collecting]:
    """
    Open what collects pictures while other jobs still run.

    Leaving the context waits until everything that was added is collected and recorded. The body is cancelled when the
    collecting has to stop. If it is cancelled from outside, because the task ends, outcomes that are known are still
    recorded; all other rows stay ``submitted``.

    :param client: makes the status calls; default: one of its own
    :raises AuthenticationError: when the token is refused
    :raises ResultsTableError: when the results table stays out of reach, or refuses an outcome
    """
    from ..pictures.limits import CollectLimits
    from ..pictures.session import open_session
    from .inspecting import open_inspector

    threads = ThreadPoolExecutor(min(MOST_THREADS, account.max_downloads), "goenhance-pictures")
    recorder = OutcomeRecorder(partial(_record, store, account))
    try:
        async with AsyncExitStack() as stack:
            if client is None:
                client = await stack.enter_async_context(open_client(account))
            downloads = await stack.enter_async_context(
                open_session(
                    trust_env=account.trust_env,
                    proxy=account.request_options.get("proxy"),
                    # The TLS settings of the connection apply to its pictures too.
                    tls=account.request_options.get("ssl", True),
                )
            )
            inspector = None
            if storage_options.inspects:
                with_files = storage_options.quality_check is not None
                inspector = await stack.enter_async_context(
                    open_inspector(account, with_files=with_files, record=recorder.add)
                )
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            tasks.create_task(recorder.run())
            limits = CollectLimits(account.max_downloads, threads)
            collecting = Collecting(client, downloads, storage_options, limits, tasks, recorder, inspector)
            yield collecting
            await collecting.finish()
    except ExceptionGroup as group:
        # One clear error instead of a tree: preferably not one that a row could have recorded.
        known, others = group.split((GoEnhanceError, ResultsTableError))
        raise (others or known or group).exceptions[0] from None
    finally:
        # Without waiting: what a picture is stored for is not needed by an attempt that ends.
        threads.shutdown(wait=False, cancel_futures=True)
        await recorder.record_last()
    if recorder.refused is not None:
        raise recorder.refused


def _record(store: SwapStore, account: Account, steps: Sequence[Outcome | Inspected]) -> None:
    """Record outcomes, and then what looks have found, without which a row is as good."""
    outcomes = [step for step in steps if isinstance(step, Outcome)]
    store.record_outcomes(outcomes, account.fingerprint)
    count_outcomes(outcomes)
    found = [step for step in steps if isinstance(step, Inspected)]
    try:
        store.record_inspections(found)
    except Exception as error:  # noqa: BLE001  it must not keep an outcome from being recorded
        log.warning(
            "What was found in %s could not be recorded: %s", pluralize(len(found), "kept picture"), error
        )


def _moment(text: str | None) -> dt.datetime | None:
    """Parse the vendor's ISO 8601 time; ``None`` if it is missing or invalid."""
    try:
        moment = dt.datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return moment.replace(tzinfo=dt.UTC) if moment and moment.tzinfo is None else moment
