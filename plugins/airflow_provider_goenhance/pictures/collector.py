# SPDX-License-Identifier: Apache-2.0
"""Collect the pictures of one finished job: fetch, verify, mark, sign, keep."""

from __future__ import annotations

import asyncio
import dataclasses
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_goenhance.exceptions import CollectError, LinkExpiredError
from airflow_provider_goenhance.pictures.fetch import (
    DEFAULT_MAX_BYTES,
    DEFAULT_TIMEOUT,
    FetchedFile,
    fetch_picture,
)
from airflow_provider_goenhance.pictures.formats.mark import NEEDS_SIDECAR, MarkOutcome, mark_picture
from airflow_provider_goenhance.pictures.sidecar import SwapFacts, sidecar_for
from airflow_provider_goenhance.pictures.storage import KeptPicture, keep_bytes, keep_picture
from airflow_provider_goenhance.pictures.verify import Picture, identify_picture

from ..exceptions import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import aiohttp

    from airflow_provider_goenhance.pictures.c2pa_signing import SigningCredentials

# A repeated GET costs nothing; these outcomes are the ones that a second try can mend.
_WORTH_A_RETRY = frozenset(
    {ErrorCode.DOWNLOAD_FAILED, ErrorCode.DOWNLOAD_TIMED_OUT, ErrorCode.TRUNCATED_IMAGE}
)


@dataclass(frozen=True)
class _Job:
    """What does not change from one picture of a job to the next."""

    storage: str
    run_id: str
    pair_id: str
    conn_id: str | None
    marking: bool
    system: str
    credentials: SigningCredentials | None
    sidecar: bool
    facts: SwapFacts


async def collect_picture(
    session: aiohttp.ClientSession,
    link_of: Callable[[bool], Awaitable[list[str]]],
    *,
    storage: str,
    run_id: str,
    pair_id: str,
    conn_id: str | None = None,
    marking: bool = True,
    system: str = "GoEnhance",
    credentials: SigningCredentials | None = None,
    sidecar: bool = False,
    facts: SwapFacts | None = None,
    max_bytes: int = DEFAULT_MAX_BYTES,
    timeout: float = DEFAULT_TIMEOUT,  # noqa: ASYNC109 - bounds one fetch, not this function
    attempts: int = 3,
    pause: float = 1.0,
) -> list[KeptPicture]:
    """
    Collect every picture of one finished job.

    Repeating it is harmless: what is kept already with the same bytes is left alone.

    :param session: a session without the API token
    :param link_of: gives the links of the job's pictures; called with ``True`` once if a link was refused, and
        must then ask GoEnhance anew
    :param storage: local folder or URL of a store
    :param run_id: run, gives the folder
    :param pair_id: pair, gives the file name
    :param conn_id: Airflow connection of the store
    :param marking: write the provenance mark; a picture that cannot carry it gets a sidecar in its place
    :param system: name of the AI system for mark, claim and sidecar
    :param credentials: sign a C2PA claim with these, after marking
    :param sidecar: write a sidecar beside each picture
    :param facts: what the sidecar tells; its ``img_uuid`` is named by errors
    :param max_bytes: size limit of one picture
    :param timeout: seconds for one fetch
    :param attempts: how often a fetch that broke off is tried
    :param pause: seconds before the second attempt, doubled before each further one
    :return: what was kept, in the order of the links
    :raises CollectError: a picture could not be collected; pictures kept before it stay kept
    """
    facts = facts or SwapFacts()
    job = _Job(storage, run_id, pair_id, conn_id, marking, system, credentials, sidecar, facts)
    fetcher = _Fetcher(session, link_of, max_bytes=max_bytes, timeout=timeout, attempts=attempts, pause=pause)
    try:
        count = await fetcher.count()
        return [await _collect_one(fetcher, job, index) for index in range(count)]
    except CollectError as error:
        error.img_uuid = error.img_uuid or facts.img_uuid
        raise


async def _collect_one(fetcher: _Fetcher, job: _Job, index: int) -> KeptPicture:
    folder = await asyncio.to_thread(
        tempfile.TemporaryDirectory, prefix="goenhance-", ignore_cleanup_errors=True
    )
    try:
        fetched, picture = await fetcher.fetch(index, Path(folder.name, "picture"))
        try:
            return await asyncio.to_thread(_finish, fetched, picture, job, index)
        except OSError as error:
            raise CollectError(
                f"The fetched picture could not be worked on in {folder.name}: {error.strerror or error}.",
                error_code=ErrorCode.NOT_KEPT,
            ) from error
    finally:
        # Not in a thread: a cancelled task must not wait again before it has cleaned up.
        folder.cleanup()


def _finish(fetched: FetchedFile, picture: Picture, job: _Job, index: int) -> KeptPicture:
    """Do all that blocks, in one thread: mark, sign, keep, and write the sidecar."""
    mark: MarkOutcome | None = mark_picture(fetched.path, system=job.system) if job.marking else None
    if job.credentials is not None:
        from airflow_provider_goenhance.pictures.c2pa_signing import sign_picture

        sign_picture(fetched.path, job.credentials, system=job.system)
    kept = keep_picture(
        fetched.path,
        job.storage,
        job.run_id,
        job.pair_id,
        picture.extension,
        index=index,
        conn_id=job.conn_id,
        img_uuid=job.facts.img_uuid,
    )
    kept = dataclasses.replace(kept, mark=mark)
    if not job.sidecar and mark not in NEEDS_SIDECAR:
        return kept
    return dataclasses.replace(kept, sidecar_uri=_keep_sidecar(kept, fetched, picture, job))


def _keep_sidecar(kept: KeptPicture, fetched: FetchedFile, picture: Picture, job: _Job) -> str:
    content = sidecar_for(
        dataclasses.replace(job.facts, collected_at=job.facts.collected_at or datetime.now(UTC)),
        picture,
        run_id=job.run_id,
        pair_id=job.pair_id,
        sha256=kept.sha256,
        size=kept.size,
        delivered_sha256=fetched.sha256,
        mark=kept.mark,
        claim=job.credentials is not None,
        system=job.system,
    )
    return keep_bytes(content, job.storage, f"{kept.name}.json", conn_id=job.conn_id)


class _Fetcher:
    """Fetches pictures by their number, and asks for new links at most once."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        link_of: Callable[[bool], Awaitable[list[str]]],
        *,
        max_bytes: int,
        timeout: float,
        attempts: int,
        pause: float,
    ) -> None:
        self._session = session
        self._link_of = link_of
        self._max_bytes = max_bytes
        self._timeout = timeout
        self._attempts = attempts
        self._pause = pause
        self._links: list[str] = []
        self._asked_anew = False

    async def count(self) -> int:
        """Ask for the links, and say how many pictures there are."""
        self._links = await self._link_of(False)
        if not self._links:
            raise CollectError(
                "GoEnhance says the swap is done but names no picture; ask GoEnhance about the job.",
                error_code=ErrorCode.NO_LINK,
            )
        return len(self._links)

    async def fetch(self, index: int, into: Path) -> tuple[FetchedFile, Picture]:
        """Fetch and verify one picture, through a new link if the first one is refused."""
        refused: LinkExpiredError
        try:
            return await self._fetch_patiently(self._links[index], into)
        except LinkExpiredError as error:
            refused = error
        if not self._asked_anew:
            self._asked_anew = True
            self._links = await self._link_of(True)
            if index < len(self._links):
                return await self._fetch_last(index, into)
        raise _lost(refused)

    async def _fetch_last(self, index: int, into: Path) -> tuple[FetchedFile, Picture]:
        refused: LinkExpiredError
        try:
            return await self._fetch_patiently(self._links[index], into)
        except LinkExpiredError as error:
            refused = error
        raise _lost(refused)

    async def _fetch_patiently(self, link: str, into: Path) -> tuple[FetchedFile, Picture]:
        """Try again where the network, or the server for a moment, was at fault."""
        pause = self._pause
        for _ in range(self._attempts - 1):
            try:
                return await self._fetch_once(link, into)
            except CollectError as error:
                if error.error_code not in _WORTH_A_RETRY:
                    raise
            await asyncio.sleep(pause)
            pause *= 2
        return await self._fetch_once(link, into)

    async def _fetch_once(self, link: str, into: Path) -> tuple[FetchedFile, Picture]:
        fetched = await fetch_picture(
            self._session, link, into, max_bytes=self._max_bytes, timeout=self._timeout
        )
        return fetched, await asyncio.to_thread(identify_picture, into)


def _lost(refused: LinkExpiredError) -> LinkExpiredError:
    return LinkExpiredError(
        f"The swap succeeded at GoEnhance, but its picture is lost: a new link was asked for, and {refused.message}",
        http_status=refused.http_status,
    )
