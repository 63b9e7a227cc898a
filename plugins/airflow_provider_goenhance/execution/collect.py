# SPDX-License-Identifier: Apache-2.0
"""Record what a wait found on the rows, and collect the pictures of finished jobs."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..api.client import GoEnhanceClient, open_client
from ..api.models import Job, JobState
from ..api.polling import WaitOutcome
from ..exceptions import (
    AuthenticationError,
    CollectError,
    ErrorCode,
    GoEnhanceError,
    JobFailedError,
    JobTimedOutError,
    ResultsTableError,
)
from ..results.ledger import Outcome
from ..results.recovery import JOB_NOT_FOUND
from ..results.states import Status
from .task_loop import TaskLoop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import aiohttp

    from ..api.account import Account
    from ..pictures.collector import StorageOptions
    from ..results.stores import SwapStore
    from ..results.swap import Swap

log = logging.getLogger(__name__)

#: Seconds between two lines about the progress.
PROGRESS_EVERY = 15.0


def collect_jobs(
    account: Account,
    store: SwapStore,
    swaps: Sequence[Swap],
    waited: WaitOutcome,
    storage_options: StorageOptions,
    *,
    loop: TaskLoop | None = None,
) -> None:
    """
    Record what the wait found, and collect the pictures of the finished jobs.

    :param swaps: the rows waited for, each with its ``img_uuid``
    :param waited: the jobs that are not finished; all others of ``swaps`` are
    :param loop: the task's loop; default: one of its own
    :raises AuthenticationError: when the token is refused; rows not collected yet stay ``submitted``
    :raises TaskEndedError: when the task ends; rows not collected yet stay ``submitted``
    """
    done: list[Swap] = []
    outcomes: list[Outcome] = []
    for swap in swaps:
        outcome = _outcome_of_wait(swap, waited)
        if outcome is None:
            done.append(swap)
        else:
            outcomes.append(outcome)
    store.record_outcomes(outcomes, account.fingerprint)
    if done:
        (loop or TaskLoop()).run(lambda: collect_all(account, store, done, storage_options))


def _outcome_of_wait(swap: Swap, waited: WaitOutcome) -> Outcome | None:
    img_uuid = str(swap.img_uuid)
    if img_uuid in waited.failed:
        return _failed_job(swap, waited.failed[img_uuid])
    if img_uuid in waited.declined:
        return Outcome(
            swap.swap_id,
            img_uuid,
            Status.FAILED,
            error_code=JOB_NOT_FOUND,
            error_message=f"GoEnhance does not know the job, although it was paid for: {waited.declined[img_uuid]}",
        )
    if img_uuid in waited.running:
        trouble = f" The last poll failed: {waited.last_error}" if waited.last_error else ""
        if doubt := waited.doubt(img_uuid):
            trouble += f" {doubt}"
        return Outcome(
            swap.swap_id,
            img_uuid,
            Status.FAILED,
            error_code=JobTimedOutError.error_code,
            error_message="Still running at GoEnhance when the timeout was reached; it continues there and has "
            f"been paid for.{trouble}",
        )
    return None


def failures_of_wait(swaps: Sequence[Swap], waited: WaitOutcome) -> list[Outcome]:
    """Return the outcomes of jobs that GoEnhance has failed, or does not know; not of those that still run."""
    ended = (swap for swap in swaps if swap.img_uuid not in waited.running)
    return [outcome for swap in ended if (outcome := _outcome_of_wait(swap, waited))]


def _failed_job(swap: Swap, reason: str) -> Outcome:
    said = (
        f"GoEnhance reports that the job failed: {reason}"
        if reason
        else "GoEnhance reports that the job failed."
    )
    return Outcome(
        swap.swap_id,
        str(swap.img_uuid),
        Status.FAILED,
        error_code=JobFailedError.error_code,
        error_message=said,
    )


class _Collector:
    """Collects the pictures of many jobs, and records each outcome as soon as it is known."""

    def __init__(
        self,
        client: GoEnhanceClient,
        downloads: aiohttp.ClientSession,
        store: SwapStore,
        storage_options: StorageOptions,
        asked_by: str,
    ) -> None:
        self._client = client
        self._downloads = downloads
        self._store = store
        self._storage_options = storage_options
        self._asked_by = asked_by
        self._slots = asyncio.Semaphore(storage_options.concurrency)
        self._recording = asyncio.Lock()
        self._last_line = time.monotonic()
        self._done = 0

    async def all(self, swaps: Sequence[Swap]) -> None:
        """Collect them. A picture that cannot be collected fails alone; a refused token ends the round."""
        async with asyncio.TaskGroup() as tasks:
            for swap in swaps:
                tasks.create_task(self._one(swap, len(swaps)))

    async def _one(self, swap: Swap, total: int) -> None:
        async with self._slots:
            outcome = await self._outcome(swap)
        if outcome is not None:
            async with self._recording:
                # In another thread: a locked database must not hold up the downloads.
                await asyncio.to_thread(self._store.record_outcomes, [outcome], self._asked_by)
        self._done += 1
        if time.monotonic() - self._last_line >= PROGRESS_EVERY:
            self._last_line = time.monotonic()
            log.info("Collected %d of %d pictures.", self._done, total)

    async def _outcome(self, swap: Swap) -> Outcome | None:
        img_uuid = str(swap.img_uuid)
        try:
            job = await self._client.get_job(img_uuid)
            if job.state is JobState.FAILED:
                return _failed_job(swap, job.reason or "")
            if job.state is JobState.RUNNING:
                log.warning(
                    "%s: GoEnhance reports job %s as still running; it stays submitted.", swap.label, img_uuid
                )
                return None
            return await self._keep(swap, job)
        except AuthenticationError:
            raise
        except GoEnhanceError as error:
            code = error.error_code if isinstance(error, CollectError) else ErrorCode.COLLECT_FAILED
            log.warning("%s: %s", swap.label, error)
            return Outcome(
                swap.swap_id,
                img_uuid,
                Status.FAILED,
                error_code=code,
                error_message="The job succeeded at GoEnhance and was paid for, but its picture was not stored: "
                f"{error}",
            )

    async def _keep(self, swap: Swap, job: Job) -> Outcome:
        from ..pictures.collector import collect_picture
        from ..pictures.sidecar import SwapFacts

        finished = _moment(job.ended_at)
        first, *others = await collect_picture(
            self._downloads,
            self._links(job),
            self._storage_options,
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
        )
        return Outcome(
            swap.swap_id,
            job.img_uuid,
            Status.SUCCEEDED,
            result_uri=first.uri,
            result_sha256=first.sha256,
            additional_result_uris=tuple(picture.uri for picture in others),
            finished_at=finished,
        )

    def _links(self, job: Job) -> Callable[[bool], Awaitable[list[str]]]:
        async def links(refresh: bool) -> list[str]:
            current = await self._client.get_job(job.img_uuid) if refresh else job
            return list(current.links)

        return links


async def collect_all(
    account: Account, store: SwapStore, swaps: Sequence[Swap], storage_options: StorageOptions
) -> None:
    """Collect the pictures of rows whose jobs have ended, and record what became of them."""
    from ..pictures.session import open_session

    async with (
        open_client(account) as client,
        open_session(
            trust_env=account.trust_env,
            proxy=account.request_options.get("proxy"),
            # The TLS settings of the connection apply to its pictures too.
            tls=account.request_options.get("ssl", True),
        ) as downloads,
    ):
        try:
            await _Collector(client, downloads, store, storage_options, account.fingerprint).all(swaps)
        except ExceptionGroup as group:
            # One clear error instead of a tree: preferably not one that a row could have recorded.
            known, others = group.split((GoEnhanceError, ResultsTableError))
            raise (others or known or group).exceptions[0] from None


def _moment(text: str | None) -> dt.datetime | None:
    """Parse the vendor's ISO 8601 time; ``None`` if it is missing or invalid."""
    try:
        moment = dt.datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return moment.replace(tzinfo=dt.UTC) if moment and moment.tzinfo is None else moment
