# SPDX-License-Identifier: Apache-2.0
"""Shrink or convert the pictures of a pair while it is prepared: only those that GoEnhance would refuse."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal, TypeVar
from urllib.parse import urlsplit

from ..error_codes import ErrorCode
from ..exceptions import CollectError, InputError, InputUnavailableError
from ..picture_address import read_address
from ..pictures.fetch import fetch_picture
from ..pictures.session import open_session
from ..redaction import link_name
from .look import LookError, look_at_link
from .prepare import Reworked
from .shrink import MAX_INPUT_BYTES, MAX_READ_BYTES, Shrink, UnfitPictureError, fit_picture, may_shrink

if TYPE_CHECKING:
    from .prepare import Picture, Role

#: Seconds for the download of a picture that has to be changed.
FETCH_SECONDS = 120.0
#: Changed pictures that are remembered: one face on many scenes is shrunk once.
REMEMBERED = 4
#: Pictures that are remembered as fit, and so not looked at again.
FIT_REMEMBERED = 10_000
#: Pictures that are read and changed at the same time: each holds its file, its pixels and its result.
AT_ONCE = 2
#: What a repetition of the download may not meet again.
_PASSING = frozenset({ErrorCode.DOWNLOAD_FAILED, ErrorCode.DOWNLOAD_TIMED_OUT, ErrorCode.TRUNCATED_IMAGE})
#: Which pictures are looked at that GoEnhance could fetch by itself.
FollowsLinks = Literal["no", "noted", "all"]

#: A picture in its place: its address, what it is in its pair, and which content it has.
_Key = tuple[str, "Role", str | None]
T = TypeVar("T")
_USUAL = frozenset({"jpeg", "png", "webp"})
_ODD_EXTENSIONS = frozenset({".heic", ".heif", ".avif", ".tif", ".tiff", ".bmp", ".gif", ".jp2", ".jxl"})


class FitRework:
    """
    Makes pictures fit, see :mod:`.shrink`. What is too large and may not be shrunk is sent as it is.

    :param shrink: which pictures may be made smaller
    :param follows_links: which pictures are looked at that GoEnhance could fetch by itself: ``no`` one, ``noted`` ones,
        which the check before paying has noted or whose name says that they have to be converted, or ``all``
    """

    def __init__(self, shrink: Shrink = "source", *, follows_links: FollowsLinks = "no") -> None:
        self._shrink = shrink
        self._follows_links = follows_links
        self._made: OrderedDict[_Key, Reworked] = OrderedDict()
        self._fit: OrderedDict[_Key, None] = OrderedDict()
        # Of the event loop that runs: a task has one for each of its rounds.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turns = asyncio.Semaphore(AT_ONCE)
        # While a picture is looked at: its lock, and how many want it.
        self._locks: dict[_Key, tuple[asyncio.Lock, int]] = {}

    def applies_to(self, url: str, role: Role, *, warned: bool) -> bool:
        """
        Return whether a picture that GoEnhance could fetch by itself has to be looked at.

        In a batch only one that the check before paying has noted, or whose name says so: a look at each would cost
        more than its submit.
        """
        match self._follows_links:
            case "no":
                return False
            case "all":
                return True
        return warned or _is_odd(url)

    async def __call__(self, picture: Picture) -> Reworked | None:
        """
        Return what is sent instead of a picture, ``None`` to send it as it is.

        :raises InputError: when it has to be changed, and cannot be
        """
        key = (picture.url, picture.role, picture.found.version if picture.found else None)
        self._begin()
        # The same picture is looked at once, however many pairs are prepared at the same time.
        async with self._alone(key):
            if key in self._fit:
                return None
            made = self._made.get(key) or await self._changed(picture)
            if made is None:
                _remember(self._fit, key, None, FIT_REMEMBERED)
            else:
                _remember(self._made, key, made, REMEMBERED)
            return made

    @asynccontextmanager
    async def _alone(self, key: _Key) -> AsyncIterator[None]:
        lock, waiting = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = lock, waiting + 1
        try:
            async with lock:
                yield
        finally:
            _, waiting = self._locks[key]
            if waiting > 1:
                self._locks[key] = lock, waiting - 1
            else:
                del self._locks[key]

    def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._turns, self._locks = loop, asyncio.Semaphore(AT_ONCE), {}

    async def _changed(self, picture: Picture) -> Reworked | None:
        if picture.read is None:
            return await self._changed_link(picture)
        size = picture.found.size if picture.found else None
        address = read_address(picture.url)
        is_local = address is not None and address.kind == "local"
        # Of a picture in a store only its size and name are known, unless it is read.
        if not (is_local or _is_odd(picture.url) or self._is_to_be_shrunk(size, picture.role)):
            return None
        if self._stays_too_large(size, picture.role):
            return None
        if size is not None and size > MAX_READ_BYTES:
            raise _unfit(picture, f"it has {size:,} bytes, too many to be shrunk here")
        async with self._turns:
            return await self._made_fit(picture, await picture.read())

    async def _changed_link(self, picture: Picture) -> Reworked | None:
        """Return what is sent instead of a picture that GoEnhance could fetch by itself."""
        async with open_session() as session:
            try:
                look = await look_at_link(session, picture.url)
            except LookError:
                # GoEnhance may be able to reach it.
                return None
            odd = look.kind not in _USUAL
            if not (odd or self._is_to_be_shrunk(look.size, picture.role)):
                return None
            if self._stays_too_large(look.size, picture.role):
                return None
            async with self._turns:
                try:
                    data = await fetch_picture(
                        session, picture.url, max_bytes=MAX_READ_BYTES, timeout=FETCH_SECONDS
                    )
                except CollectError as error:
                    failure = error
                else:
                    return await self._made_fit(picture, data)
        what = f"it has to be changed, and could not be fetched ({failure.error_code})"
        if failure.error_code in _PASSING:
            # Its server has answered a moment ago.
            raise InputUnavailableError(_sentence(picture, what))
        raise _unfit(picture, what)

    def _is_to_be_shrunk(self, size: int | None, role: Role) -> bool:
        return size is not None and size > MAX_INPUT_BYTES and may_shrink(role, self._shrink)

    def _stays_too_large(self, size: int | None, role: Role) -> bool:
        return size is not None and size > MAX_INPUT_BYTES and not may_shrink(role, self._shrink)

    async def _made_fit(self, picture: Picture, data: bytes) -> Reworked | None:
        if self._stays_too_large(len(data), picture.role):
            return None
        failure: UnfitPictureError
        try:
            fit = await asyncio.to_thread(fit_picture, data, picture.role, self._shrink)
        except UnfitPictureError as error:
            failure = error
        else:
            return Reworked(fit.data, f"{picture.role}_img {fit.note}") if fit is not None else None
        raise _unfit(picture, str(failure), failure.code)


def _remember(memory: OrderedDict[_Key, T], key: _Key, value: T, most: int) -> None:
    memory[key] = value
    memory.move_to_end(key)
    while len(memory) > most:
        memory.popitem(last=False)


def _is_odd(url: str) -> bool:
    """Return whether the name of a picture says that it has to be converted."""
    path = url if "://" not in url else urlsplit(url).path
    return PurePosixPath(path).suffix.lower() in _ODD_EXTENSIONS


def _unfit(picture: Picture, what: str, code: str = "") -> InputError:
    return InputError(_sentence(picture, what), error_code=code or ErrorCode.INPUT_TOO_LARGE)


def _sentence(picture: Picture, what: str) -> str:
    address = read_address(picture.url)
    name = str(address) if address is not None else link_name(picture.url)
    return f"The {picture.role} image {name} cannot be sent: {what}."
