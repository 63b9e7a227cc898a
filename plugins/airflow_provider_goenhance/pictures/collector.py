# SPDX-License-Identifier: Apache-2.0
"""
Collect the pictures of one finished job: download, verify, mark, sign, store.

A picture stays in memory from the download to the storage: verification decodes all of it in any case, and every
further step works on the same bytes.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from ..exceptions import CollectError, ErrorCode, LinkExpiredError
from .fetch import DEFAULT_MAX_BYTES, DEFAULT_TIMEOUT, fetch_picture
from .formats.mark import NEEDS_SIDECAR, MarkOutcome, mark_picture
from .kinds import without_junk
from .limits import PROCESSORS, CollectLimits, is_overload
from .sidecar import SwapFacts, sidecar_for
from .storage import KeptPicture, keep_bytes, keep_picture
from .verify import Picture, identify_picture

if TYPE_CHECKING:
    import aiohttp

    from .c2pa_signing import SigningCredentials
    from .quality_check import QualityCheck

#: Returns the links of a job's pictures; called with ``True``, it must ask GoEnhance for new ones.
Links = Callable[[bool], Awaitable[list[str]]]

# A repeated GET costs nothing, and these errors may be transient.
_TRANSIENT = frozenset({ErrorCode.DOWNLOAD_FAILED, ErrorCode.DOWNLOAD_TIMED_OUT, ErrorCode.TRUNCATED_IMAGE})
# Refusals that an object storage also sends for an object that it does not serve yet.
_NOT_YET = frozenset({403, 404})
#: How often the newest link to a picture is asked, with growing pauses, while it answers 403 or 404.
NOT_YET_ATTEMPTS = 5
#: Attempts that do not count, because many downloads fail and their number is being reduced.
MOST_SPARED = 5
#: Age of a finished job from which a refused link is not expected to be served soon.
SETTLED = timedelta(hours=1)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StorageOptions:
    """
    How the pictures of a run are downloaded, marked and stored.

    :param storage: local folder or URL of an object storage
    :param run_id: names the folder below it
    :param conn_id: Airflow connection of the storage
    :param marking: write the provenance mark; a picture that cannot carry it gets a sidecar instead
    :param sidecar: store a JSON file beside each picture
    :param thumbnails: store thumbnails of result and inputs
    :param quality: look at each result beside its reference, see :mod:`.quality`
    :param quality_check: a check of the team's own, see :mod:`.quality_check`
    :param credentials: sign a C2PA claim with these, after marking; a picture that cannot carry it gets a sidecar
    :param system: name of the AI system in mark, claim and sidecar
    :param max_bytes: maximum size of one picture
    :param fetch_timeout: seconds for one download
    :param fetch_attempts: how often a download that fails for a transient reason is tried
    :param retry_pause: seconds before the second attempt, doubled before each further one
    :param sleep: waits the seconds of a pause
    """

    storage: str
    run_id: str
    conn_id: str | None = None
    marking: bool = True
    sidecar: bool = False
    thumbnails: bool = False
    quality: bool = False
    quality_check: QualityCheck | None = None
    credentials: SigningCredentials | None = None
    system: str = "GoEnhance"
    max_bytes: int = DEFAULT_MAX_BYTES
    fetch_timeout: float = DEFAULT_TIMEOUT
    fetch_attempts: int = 3
    retry_pause: float = 1.0
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep

    @property
    def inspects(self) -> bool:
        """Return whether kept pictures are looked at."""
        return self.thumbnails or self.quality or self.quality_check is not None


async def collect_picture(
    session: aiohttp.ClientSession,
    links: Links,
    options: StorageOptions,
    *,
    pair_id: str,
    facts: SwapFacts | None = None,
    limits: CollectLimits | None = None,
) -> list[KeptPicture]:
    """
    Collect every picture of one finished job.

    A job may have other links beside those of its pictures, to a video or to nothing: they are left out with a warning
    where at least one picture is there. Repeating it is harmless: identical bytes in storage are left alone.

    :param session: a session without the API token
    :param links: called once for the links, and once more with ``True`` if a link was refused; the new link is then
        asked again with growing pauses, because an object storage may announce a picture before it serves it
    :param options: how to download, mark and store
    :param pair_id: names the files
    :param facts: content of the sidecar; errors carry its ``img_uuid``
    :param limits: shared by all pictures that are collected at the same time; default: for this job alone
    :return: all pictures, in the order of the links
    :raises CollectError: no picture could be collected, or one could not be stored
    """
    facts = facts or SwapFacts()
    fetcher = _Fetcher(session, links, options, pair_id, facts, limits or CollectLimits())
    kept: list[KeptPicture] = []
    failures: list[CollectError] = []
    try:
        count = await fetcher.count()
        for index in range(count):
            try:
                kept.append(await fetcher.keep(index, len(kept)))
            except CollectError as error:
                failures.append(error)
        if not kept:
            raise _most_telling(failures)
    except _NotStoredError as not_stored:
        failure = not_stored.error
    except CollectError as error:
        failure = error
    else:
        for left_out in failures:
            log.warning(
                "%s: collected %d of %d links of the job; left out: %s", pair_id, len(kept), count, left_out
            )
        return kept
    failure.img_uuid = failure.img_uuid or facts.img_uuid
    raise failure


def _most_telling(failures: Sequence[CollectError]) -> CollectError:
    """Return the error that names the job's failure: one that a retry may solve, before one that it cannot."""
    return next((error for error in failures if error.error_code != ErrorCode.NOT_AN_IMAGE), failures[0])


class _NotStoredError(Exception):
    """A picture that arrived whole could not be stored; downloading it again would not help."""

    def __init__(self, error: CollectError) -> None:
        super().__init__(str(error))
        self.error = error


def _check_and_store(
    data: bytes, options: StorageOptions, pair_id: str, facts: SwapFacts, index: int
) -> KeptPicture:
    """Do everything that blocks, in one thread: check, mark, sign, store, and write the sidecar."""
    with PROCESSORS:
        data = without_junk(data)
        picture = identify_picture(data)
    try:
        return _store(data, picture, options, pair_id, facts, index)
    except CollectError as error:
        raise _NotStoredError(error) from error


def _store(
    delivered: bytes, picture: Picture, options: StorageOptions, pair_id: str, facts: SwapFacts, index: int
) -> KeptPicture:
    mark: MarkOutcome | None = None
    data = delivered
    if options.marking:
        with PROCESSORS:
            mark, data = mark_picture(data, system=options.system)
    signed = False
    if options.credentials is not None:
        from .c2pa_signing import SIGNABLE, sign_picture

        signed = picture.kind in SIGNABLE
        data = sign_picture(data, options.credentials, system=options.system) if signed else data
    kept = keep_picture(
        data,
        options.storage,
        options.run_id,
        pair_id,
        picture.extension,
        index=index,
        conn_id=options.conn_id,
        img_uuid=facts.img_uuid,
    )
    kept = dataclasses.replace(kept, mark=mark, content=data if options.inspects and not index else None)
    unsigned = options.credentials is not None and not signed
    if not options.sidecar and mark not in NEEDS_SIDECAR and not unsigned:
        return kept
    content = sidecar_for(
        dataclasses.replace(facts, collected_at=facts.collected_at or datetime.now(UTC)),
        picture,
        run_id=options.run_id,
        pair_id=pair_id,
        sha256=kept.sha256,
        size=kept.size,
        delivered_sha256=hashlib.sha256(delivered).hexdigest(),
        mark=mark,
        claim=signed,
        system=options.system,
    )
    uri = keep_bytes(content, options.storage, f"{kept.name}.json", conn_id=options.conn_id)
    return dataclasses.replace(kept, sidecar_uri=uri)


class _Fetcher:
    """Collects the pictures of a job by their index, and asks for new links at most once."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        links: Links,
        options: StorageOptions,
        pair_id: str,
        facts: SwapFacts,
        limits: CollectLimits,
    ) -> None:
        self._session = session
        self._pair_id = pair_id
        self._limits = limits
        self._get_links = links
        self._options = options
        self._facts = facts
        self._links: list[str] = []
        self._refreshed = False

    async def count(self) -> int:
        """Ask for the links, and return how many there are."""
        self._links = await self._get_links(False)
        if not self._links:
            raise CollectError(
                "GoEnhance reports the job as succeeded but returns no link to a picture; ask GoEnhance about the job.",
                error_code=ErrorCode.NO_LINK,
            )
        return len(self._links)

    async def keep(self, index: int, number: int) -> KeptPicture:
        """
        Download, verify and store one picture, through a new link if the first one is refused.

        :param number: how many pictures of the job were stored before it
        """
        try:
            return await self._with_retries(self._links[index], number, attempts=1)
        except LinkExpiredError:
            pass
        if not self._refreshed:
            self._refreshed = True
            renewed = await self._get_links(True)
            self._links = [*renewed, *self._links[len(renewed) :]]
        refused: LinkExpiredError
        try:
            return await self._with_retries(self._links[index], number, attempts=self._not_yet_attempts())
        except LinkExpiredError as error:
            refused = error
        raise LinkExpiredError(
            f"GoEnhance issued a new link to the picture, which was refused as well. {refused.message}",
            http_status=refused.http_status,
        )

    def _not_yet_attempts(self) -> int:
        """Return how often a refused link is asked: often while the job has only just finished."""
        finished = self._facts.finished_at
        if finished is not None and datetime.now(UTC) - finished > SETTLED:
            return 2
        return NOT_YET_ATTEMPTS

    async def _with_retries(self, link: str, number: int, *, attempts: int) -> KeptPicture:
        """Collect a link: ``attempts`` times if it is refused, ``fetch_attempts`` times if the download fails."""
        failed = refused = spared = 0
        while True:
            try:
                return await self._once(link, number)
            except LinkExpiredError as error:
                refused += 1
                if refused >= attempts or error.http_status not in _NOT_YET:
                    raise
            except CollectError as error:
                if spared < MOST_SPARED and is_overload(error) and self._limits.downloads.is_reduced:
                    # There are too many downloads at the same time; the next attempt may have fewer beside it.
                    spared += 1
                else:
                    failed += 1
                if failed >= self._options.fetch_attempts or error.error_code not in _TRANSIENT:
                    raise
            await self._options.sleep(self._options.retry_pause * 2 ** max(0, failed + refused - 1))

    async def _once(self, link: str, number: int) -> KeptPicture:
        options, limits = self._options, self._limits
        with limits.memory.room() as room:
            async with limits.downloads.slot():
                data = await fetch_picture(
                    self._session,
                    link,
                    max_bytes=options.max_bytes,
                    timeout=options.fetch_timeout,
                    room=room,
                )
            work = partial(_check_and_store, data, options, self._pair_id, self._facts, number)
            return await limits.run(work)
