# SPDX-License-Identifier: Apache-2.0
"""Bringing jobs home: what a wait came to goes on the rows, and pictures that are done are collected."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
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

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import aiohttp

    from ..api.account import Account
    from ..pictures.c2pa_signing import SigningCredentials
    from ..results.stores import SwapStore
    from ..results.swap import Swap

log = logging.getLogger(__name__)

#: Pictures fetched at once.
COLLECT_CONCURRENCY = 8
PROGRESS_EVERY = 15.0


@dataclass(frozen=True, slots=True)
class StorageOptions:
    """
    Where pictures go, and how.

    :param storage: local folder or URL of a store
    :param run_id: the folder below it
    :param conn_id: Airflow connection of the store
    :param marking: write the provenance mark
    :param sidecar: keep a JSON file beside each picture
    :param credentials: sign a C2PA claim with these
    """

    storage: str
    run_id: str
    conn_id: str | None = None
    marking: bool = True
    sidecar: bool = False
    credentials: SigningCredentials | None = None


def bring_home(
    account: Account,
    store: SwapStore,
    swaps: Sequence[Swap],
    waited: WaitOutcome,
    storage_options: StorageOptions,
) -> None:
    """
    Record what the wait found, and collect the pictures of the jobs that are done.

    :param swaps: the rows waited for, each with its ``img_uuid``
    :param waited: what is not listed there as failed, declined or running is done
    :raises AuthenticationError: when the token is refused; rows not collected yet stay ``submitted``
    """
    done: list[Swap] = []
    outcomes: list[Outcome] = []
    for swap in swaps:
        outcome = _outcome_of_wait(swap, waited)
        if outcome is None:
            done.append(swap)
        else:
            outcomes.append(outcome)
    store.record_outcomes(outcomes)
    if done:
        asyncio.run(_collect_all(account, store, done, storage_options))


def _outcome_of_wait(swap: Swap, waited: WaitOutcome) -> Outcome | None:
    uuid = str(swap.img_uuid)
    if uuid in waited.failed:
        return _failed_job(swap, waited.failed[uuid])
    if uuid in waited.declined:
        return Outcome(
            swap.swap_id,
            uuid,
            Status.FAILED,
            error_code=JOB_NOT_FOUND,
            error_message=f"GoEnhance does not know the job, though it was paid for: {waited.declined[uuid]}",
        )
    if uuid in waited.running:
        trouble = f" The last time it was asked: {waited.last_error}" if waited.last_error else ""
        return Outcome(
            swap.swap_id,
            uuid,
            Status.FAILED,
            error_code=JobTimedOutError.error_code,
            error_message="Still running at GoEnhance when the time to wait was over; it goes on there, and is paid "
            f"for.{trouble}",
        )
    return None


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
    """Collects the pictures of many jobs, and records each as soon as it is kept."""

    def __init__(
        self,
        client: GoEnhanceClient,
        downloads: aiohttp.ClientSession,
        store: SwapStore,
        storage_options: StorageOptions,
    ) -> None:
        self._client = client
        self._downloads = downloads
        self._store = store
        self._storage_options = storage_options
        self._slots = asyncio.Semaphore(COLLECT_CONCURRENCY)
        self._recording = asyncio.Lock()
        self._last_line = time.monotonic()
        self._done = 0

    async def all(self, swaps: Sequence[Swap]) -> None:
        """Collect them; a picture that cannot be had fails alone, a refused token ends the round."""
        async with asyncio.TaskGroup() as tasks:
            for swap in swaps:
                tasks.create_task(self._one(swap, len(swaps)))

    async def _one(self, swap: Swap, total: int) -> None:
        async with self._slots:
            outcome = await self._outcome(swap)
        if outcome is not None:
            async with self._recording:
                # In this thread: Airflow's task state store may not be used from another one.
                self._store.record_outcomes([outcome])
        self._done += 1
        if time.monotonic() - self._last_line >= PROGRESS_EVERY:
            self._last_line = time.monotonic()
            log.info("Collected %d of %d pictures.", self._done, total)

    async def _outcome(self, swap: Swap) -> Outcome | None:
        uuid = str(swap.img_uuid)
        try:
            job = await self._client.get_job(uuid)
            if job.state is JobState.FAILED:
                return _failed_job(swap, job.reason or "")
            if job.state is JobState.RUNNING:
                log.warning("%s: job %s is still running, says GoEnhance; left submitted.", swap.label, uuid)
                return None
            return await self._keep(swap, job)
        except AuthenticationError:
            raise
        except GoEnhanceError as error:
            code = error.error_code if isinstance(error, CollectError) else ErrorCode.COLLECT_FAILED
            log.warning("%s: %s", swap.label, error)
            return Outcome(
                swap.swap_id,
                uuid,
                Status.FAILED,
                error_code=code,
                error_message=f"The job succeeded at GoEnhance and was paid for, but its picture was not kept: {error}",
            )

    async def _keep(self, swap: Swap, job: Job) -> Outcome:
        from ..pictures.collector import collect_picture
        from ..pictures.sidecar import SwapFacts

        finished = _moment(job.ended_at)
        kept = await collect_picture(
            self._downloads,
            self._links(job),
            storage=self._storage_options.storage,
            run_id=self._storage_options.run_id,
            pair_id=swap.pair_id,
            conn_id=self._storage_options.conn_id,
            marking=self._storage_options.marking,
            sidecar=self._storage_options.sidecar,
            credentials=self._storage_options.credentials,
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
            result_uri=kept[0].uri,
            result_sha256=kept[0].sha256,
            finished_at=finished,
        )

    def _links(self, job: Job) -> Callable[[bool], Awaitable[list[str]]]:
        async def links(anew: bool) -> list[str]:
            current = await self._client.get_job(job.img_uuid) if anew else job
            return list(current.links)

        return links


async def _collect_all(
    account: Account, store: SwapStore, swaps: Sequence[Swap], storage_options: StorageOptions
) -> None:
    import aiohttp

    async with (
        open_client(account) as client,
        # A session of its own: the token is GoEnhance's, not for the host that serves the pictures.
        aiohttp.ClientSession(
            trust_env=account.trust_env,
            proxy=account.request_options.get("proxy"),
            connector=_connector(account),
        ) as downloads,
    ):
        try:
            await _Collector(client, downloads, store, storage_options).all(swaps)
        except ExceptionGroup as group:
            # One clear error instead of a tree of them: the first that says what is wrong.
            known, others = group.split((GoEnhanceError, ResultsTableError))
            raise (others or known or group).exceptions[0] from None


def _connector(account: Account) -> aiohttp.TCPConnector:
    import aiohttp

    # The TLS settings of the connection count for its pictures too; ``True`` is aiohttp's own default.
    return aiohttp.TCPConnector(ssl=account.request_options.get("ssl", True))


def _moment(text: str | None) -> dt.datetime | None:
    """Read the vendor's ISO 8601 time; ``None`` where there is none that makes sense."""
    try:
        moment = dt.datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return moment.replace(tzinfo=dt.UTC) if moment and moment.tzinfo is None else moment
