# SPDX-License-Identifier: Apache-2.0
"""
Fetch input pictures once more, to look at them beside their result.

They come from any host, and are not worth waiting for: nothing depends on them.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..exceptions import CollectError, ErrorCode
from .fetch import fetch_picture
from .storage import read_at_most

if TYPE_CHECKING:
    import aiohttp

    from .limits import ByteBudget

#: Larger inputs are not fetched. The vendor takes at most 5 MB, but one may have been shrunk for it.
INPUT_BYTES = 32 * 2**20
#: Seconds for the download of one input.
INPUT_SECONDS = 15.0
#: Seconds for the connections to all hosts that have never answered, together.
PATIENCE_SECONDS = 2.0
#: Downloads in a row from which a host that has answered before did not answer at all, until it is asked no more.
MOST_SILENCES = 3

_SILENT = frozenset({ErrorCode.DOWNLOAD_FAILED, ErrorCode.DOWNLOAD_TIMED_OUT})


class NotAskedError(Exception):
    """The input was not asked for: its host does not answer."""


class InputPictures:
    """
    Fetches inputs by their addresses, and asks a host no more that does not answer.

    :param session: from :func:`.session.open_session`
    :param max_bytes: maximum size of an input
    :param memory: bounds the bytes of all inputs that are being fetched
    :param conn_id: Airflow connection of the storage, for inputs that are not on the web
    :param patience: seconds for the connections to all hosts that have never answered, together
    :param first_silences: downloads that a host does not answer until it is asked no more, if it has never answered
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        max_bytes: int = INPUT_BYTES,
        memory: ByteBudget | None = None,
        conn_id: str | None = None,
        patience: float = PATIENCE_SECONDS,
        first_silences: int = 1,
    ) -> None:
        self._session = session
        self._max_bytes = max_bytes
        self._memory = memory
        self._conn_id = conn_id
        self._patience = patience
        self._first_silences = first_silences
        self._counted_until = 0.0
        self._silences: dict[str, int] = {}
        self._answered: set[str] = set()

    async def fetch(self, uri: str) -> bytes:
        """
        Return an input.

        :param uri: http(s); else what :func:`.storage.read_at_most` reads
        :raises NotAskedError: its host does not answer
        :raises CollectError: it cannot be fetched
        """
        if not uri.lower().startswith(("http://", "https://")):
            return await asyncio.to_thread(read_at_most, uri, self._max_bytes, self._conn_id)
        host = _host_of(uri)
        known = host in self._answered
        most = MOST_SILENCES if known else self._first_silences
        if self._silences.get(host, 0) >= most or not (known or self._patience > 0):
            raise NotAskedError("its host was not asked, because it, or too many others, did not respond")
        started = time.monotonic()
        try:
            data = await self._download(uri, None if known else self._patience)
        except CollectError as error:
            if error.error_code not in _SILENT or error.http_status is not None:
                self._note_answer(host)
                raise
            self._silences[host] = self._silences.get(host, 0) + 1
            if not known:
                self._spend_patience(started)
            raise
        self._note_answer(host)
        return data

    async def _download(self, uri: str, connect_seconds: float | None) -> bytes:
        with contextlib.ExitStack() as stack:
            return await fetch_picture(
                self._session,
                uri,
                max_bytes=self._max_bytes,
                timeout=INPUT_SECONDS,
                room=stack.enter_context(self._memory.room()) if self._memory else None,
                connect_seconds=connect_seconds,
            )

    def _note_answer(self, host: str) -> None:
        self._answered.add(host)
        self._silences.pop(host, None)

    def _spend_patience(self, started: float) -> None:
        """Count the time that has passed in vain; what several hosts took at the same time counts once."""
        now = time.monotonic()
        self._patience -= now - max(started, self._counted_until)
        self._counted_until = now


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).netloc
    except ValueError:
        return ""
