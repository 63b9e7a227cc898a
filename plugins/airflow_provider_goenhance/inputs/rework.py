# SPDX-License-Identifier: Apache-2.0
"""Shrink or convert the pictures of a pair while it is prepared: only those that GoEnhance would refuse."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..exceptions import CollectError, InputError
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
#: Pictures that are read and changed at the same time: each holds its file, its pixels and its result.
AT_ONCE = 2
_USUAL = frozenset({"jpeg", "png", "webp"})
_ODD_EXTENSIONS = frozenset({".heic", ".heif", ".avif", ".tif", ".tiff", ".bmp", ".gif", ".jp2", ".jxl"})


class FitRework:
    """
    Makes pictures fit, see :mod:`.shrink`. What is too large and may not be shrunk is sent as it is.

    :param shrink: which pictures may be made smaller
    :param follows_links: whether pictures that GoEnhance could fetch by itself are looked at too
    """

    def __init__(self, shrink: Shrink = "source", *, follows_links: bool = False) -> None:
        self._shrink = shrink
        self._follows_links = follows_links
        self._made: OrderedDict[tuple[str, Role, str | None], Reworked] = OrderedDict()
        self._fit: set[tuple[str, Role, str | None]] = set()
        # Of the event loop that runs: a task has one for each of its rounds.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._locks: dict[tuple[str, Role, str | None], asyncio.Lock] = {}

    def applies_to(self, url: str, role: Role, *, warned: bool) -> bool:
        """
        Return whether a picture that GoEnhance could fetch by itself has to be looked at.

        Only one that the check before paying has warned of, or whose name says so: a look at each would cost more than
        its submit.
        """
        return self._follows_links and ((warned and may_shrink(role, self._shrink)) or _is_odd(url))

    async def __call__(self, picture: Picture) -> Reworked | None:
        """
        Return what is sent instead of a picture, ``None`` to send it as it is.

        :raises InputError: when it has to be changed, and cannot be
        """
        key = (picture.url, picture.role, picture.found.version if picture.found else None)
        self._begin()
        # The same picture is looked at once, however many pairs are prepared at the same time.
        async with self._locks.setdefault(key, asyncio.Lock()):
            if key in self._fit:
                return None
            made = self._made.get(key)
            if made is None:
                made = await self._changed(picture)
            if made is None:
                self._fit.add(key)
                return None
            self._made[key] = made
            self._made.move_to_end(key)
            while len(self._made) > REMEMBERED:
                self._made.popitem(last=False)
            return made

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
        raise _unfit(picture, f"it has to be changed, and could not be fetched ({failure.error_code})")

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


def _is_odd(url: str) -> bool:
    """Return whether the name of a picture says that it has to be converted."""
    path = url if "://" not in url else urlsplit(url).path
    return PurePosixPath(path).suffix.lower() in _ODD_EXTENSIONS


def _unfit(picture: Picture, what: str, code: str = "") -> InputError:
    from ..error_codes import ErrorCode

    address = read_address(picture.url)
    name = str(address) if address is not None else link_name(picture.url)
    return InputError(
        f"The {picture.role} image {name} cannot be sent: {what}.",
        error_code=code or ErrorCode.INPUT_TOO_LARGE,
    )
