# SPDX-License-Identifier: Apache-2.0
"""Check pictures before anything is paid: each one once, many at the same time, within a bounded time."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..exceptions import CollectError
from ..pictures.fetch import fetch_picture
from .checked import CheckedPictures, key_of_address, key_of_content
from .look import Look, LookError, look_at_link

if TYPE_CHECKING:
    import aiohttp

#: Looks at the same time, and whole pictures that are fetched for their faces.
LOOKS_AT_ONCE = 64
FETCHES_AT_ONCE = 4
#: Seconds for all pictures together; the others stay unchecked.
MOST_SECONDS = 60.0
MOST_SECONDS_WITH_FACES = 900.0
#: Seconds to connect, and for a whole picture.
CONNECT_SECONDS = 5.0
FETCH_SECONDS = 30.0
#: A host that fails so often in a row is not asked again.
MOST_FAILURES = 3


@dataclass(slots=True)
class Checks:
    """
    What was found out about pictures.

    :ivar known: pictures that an earlier check had looked at
    :ivar unchecked: pictures that there was no time for, or whose host had failed for others
    """

    seen: dict[str, Look | LookError] = field(default_factory=dict)
    known: int = 0
    unchecked: int = 0

    def of(self, address: str) -> Look | LookError | None:
        """Return what is known about the picture at an address."""
        return self.seen.get(key_of_address(address))


class PictureCheck:
    """
    Checks pictures.

    :param cache: what earlier checks have found out
    :param faces: whether faces are looked for
    :param most_seconds: for all of them; default by ``faces``
    """

    def __init__(
        self, cache: CheckedPictures, *, faces: bool = False, most_seconds: float | None = None
    ) -> None:
        self._cache = cache
        self._faces = faces
        self._seconds = most_seconds or (MOST_SECONDS_WITH_FACES if faces else MOST_SECONDS)
        self._known: dict[str, tuple[Look, bool]] = {}
        self._failures: Counter[str] = Counter()
        self._new: dict[str, Look] = {}
        self._checks = Checks()
        self._fetches = asyncio.Semaphore(FETCHES_AT_ONCE)
        self._processors = asyncio.Semaphore(os.cpu_count() or 1)

    async def check(self, addresses: Iterable[str]) -> Checks:
        """
        Look at pictures.

        :param addresses: any order, with repetitions
        """
        wanted = {key_of_address(address): address for address in addresses}
        self._known = await asyncio.to_thread(self._cache.read, wanted)
        left = {key: address for key, address in wanted.items() if not self._is_known(key)}
        queue = iter(left.items())
        try:
            async with asyncio.timeout(self._seconds), _session() as session, asyncio.TaskGroup() as group:
                for _ in range(min(LOOKS_AT_ONCE, len(left))):
                    group.create_task(self._work(session, queue))
        except TimeoutError:
            pass
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            await asyncio.to_thread(self._cache.write, self._new)
        self._checks.unchecked = len(wanted) - len(self._checks.seen)
        return self._checks

    def _is_known(self, key: str) -> bool:
        look, fresh = self._known.get(key, (None, False))
        if look is None or not fresh or (self._faces and look.faces is None):
            return False
        self._checks.seen[key] = look
        self._checks.known += 1
        return True

    async def _work(self, session: aiohttp.ClientSession, queue: Iterator[tuple[str, str]]) -> None:
        for key, address in queue:
            host = urlsplit(address).netloc
            if self._failures[host] >= MOST_FAILURES:
                continue
            try:
                look = await self._look(session, key, address)
            except LookError as error:
                self._failures[host] = 0 if error.lasting else self._failures[host] + 1
                self._checks.seen[key] = error
            else:
                self._failures[host] = 0
                self._checks.seen[key] = self._new[key] = look

    async def _look(self, session: aiohttp.ClientSession, key: str, address: str) -> Look:
        look = await look_at_link(session, address)
        known, _ = self._known.get(key, (None, False))
        if (
            known is not None
            and known.faces is not None
            and look.validator
            and look.validator == known.validator
        ):
            return dataclasses.replace(look, faces=known.faces, face_size=known.face_size)
        return await self._with_faces(session, look, address) if self._faces else look

    async def _with_faces(self, session: aiohttp.ClientSession, look: Look, address: str) -> Look:
        """Return what is known about a picture with its faces, unless the picture cannot be fetched as a whole."""
        async with self._fetches:
            try:
                data = await fetch_picture(session, address, timeout=FETCH_SECONDS)
            except CollectError:
                return look
            content = key_of_content(data)
            if content not in self._new:
                self._new[content] = await self._faces_of(data, content, look)
        same = self._new[content]
        width, height = (look.width, look.height) if look.width else (same.width, same.height)
        return dataclasses.replace(
            look, width=width, height=height, faces=same.faces, face_size=same.face_size
        )

    async def _faces_of(self, data: bytes, content: str, look: Look) -> Look:
        from .face_check import faces_in

        known, _ = (await asyncio.to_thread(self._cache.read, [content])).get(content, (None, False))
        if known is not None and known.faces is not None:
            return known
        async with self._processors:
            found = await asyncio.to_thread(faces_in, data)
        if found is None:
            return look
        return dataclasses.replace(look, faces=found.count, face_size=found.size)


@asynccontextmanager
async def _session() -> AsyncIterator[aiohttp.ClientSession]:
    from ..pictures.session import open_session

    async with open_session(connect_seconds=CONNECT_SECONDS) as session:
        yield session
