# SPDX-License-Identifier: Apache-2.0
"""
Prepare the two pictures of a pair, before its row is claimed: nothing is paid for while this may fail.

Each picture is looked at once more, reworked if it has to be, staged if its store makes no links, and signed. The links
are secrets: they are in the result and in the POST, and nowhere else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar
from urllib.parse import quote, quote_plus

from ..exceptions import InputError
from ..picture_address import PictureAddress, is_private, read_address
from ..pictures.decode_budget import DecodeBudget
from ..pictures.kinds import EXTENSIONS, HEAD, describe_content, kind_of_bytes
from .stores import Found, OpenStore, PictureStore

if TYPE_CHECKING:
    from ..results.swap import Swap
    from .sign import LinkSigner
    from .staging import StagedCopy, Staging

T = TypeVar("T")
#: Bytes of pictures that are copied at the same time in this process. A larger one is copied alone.
MOST_COPIED = 128 * 2**20
COPYING = DecodeBudget(MOST_COPIED)
Role = Literal["source", "reference"]


@dataclass(slots=True)
class Picture:
    """
    One input picture while it is prepared.

    :param role: ``source`` has the face, ``reference`` receives it
    :param url: the address as the row has it
    :param found: what its store says; ``None`` for a picture that GoEnhance fetches by itself
    :param read: returns its content; ``None`` for a picture that GoEnhance fetches by itself
    """

    role: Role
    url: str
    found: Found | None = None
    read: Callable[[], Awaitable[bytes]] | None = None


@dataclass(frozen=True, slots=True)
class Reworked:
    """
    A picture that is sent in place of another one.

    :param data: its content, which is staged
    :param note: what was done, for the row
    """

    data: bytes
    note: str


class Rework(Protocol):
    """Changes pictures that GoEnhance would refuse."""

    def applies_to(self, url: str, role: Role, *, warned: bool) -> bool:
        """
        Return whether a picture that GoEnhance fetches by itself has to be looked at.

        :param warned: whether the check before paying has warned of a picture of its pair
        """

    async def __call__(self, picture: Picture) -> Reworked | None:
        """Return what is sent instead, ``None`` to send the picture as it is."""


@dataclass(frozen=True, slots=True)
class PreparedInputs:
    """
    What is sent for a pair.

    :param source_url: link to the picture with the face; a secret, so kept out of ``repr``
    :param reference_url: link to the picture that receives it; the same
    :param source_version: which content the picture has, ``None`` for one that GoEnhance fetches by itself
    :param reference_version: the same
    :param notes: what was done to the pictures, for the row
    :param staged_uris: copies to be removed once the job's outcome is known
    """

    source_url: str = field(repr=False)
    reference_url: str = field(repr=False)
    source_version: str | None = None
    reference_version: str | None = None
    notes: str | None = None
    staged_uris: tuple[str, ...] = ()

    def without_links(self, text: str) -> str:
        """Return a text without the links, in whatever way it quotes them."""
        for link in (self.source_url, self.reference_url):
            query = link.partition("?")[2]
            if not query:
                continue
            for secret in (query, *(value for part in query.split("&") if (value := _secret(part)))):
                for spelling in {
                    secret,
                    quote(secret, safe=""),
                    quote_plus(secret),
                    secret.replace("&", "\\u0026"),
                }:
                    text = text.replace(spelling, "***")
        return text


def _is_noted(swap: Swap) -> bool:
    """Return whether the check before paying has noted something about a picture of a pair, or a submit has."""
    return bool(swap.input_warnings or swap.input_notes)


def _secret(part: str) -> str:
    """Return the value of a parameter that signs, empty for one that is too short to be replaced everywhere."""
    value = part.partition("=")[2]
    return value if len(value) >= 16 else ""


@dataclass(slots=True)
class InputPreparer:
    """
    Prepares pairs.

    :param open_store: returns the store of an address
    :param signer: signs links
    :param staging: where pictures are staged
    :param rework: changes pictures that GoEnhance would refuse; ``None`` changes none
    :param threads: runs what waits for a store
    """

    open_store: OpenStore
    signer: LinkSigner
    staging: Staging
    rework: Rework | None = None
    threads: Executor | None = None

    def needs(self, swap: Swap) -> bool:
        """Return whether anything has to be done for a pair: most are sent as they are."""
        warned = _is_noted(swap)
        return self._needs(swap.source_img, "source", warned) or self._needs(
            swap.reference_img, "reference", warned
        )

    def _needs(self, url: str, role: Role, warned: bool) -> bool:
        return is_private(url) or (
            self.rework is not None and self.rework.applies_to(url, role, warned=warned)
        )

    async def prepare(self, swap: Swap) -> PreparedInputs:
        """
        Return what is sent for a pair.

        :raises InputError: when it cannot be sent: its row fails
        :raises InputStoreError: when a store cannot be used: no row is sent
        """
        warned = _is_noted(swap)
        source, reference = await _both(
            self._prepare(swap.source_img, "source", warned),
            self._prepare(swap.reference_img, "reference", warned),
        )
        return PreparedInputs(
            source.link,
            reference.link,
            source.version,
            reference.version,
            "; ".join(note for note in (source.note, reference.note) if note) or None,
            tuple(uri for uri in (source.staged_uri, reference.staged_uri) if uri),
        )

    async def _prepare(self, url: str, role: Role, warned: bool) -> _Prepared:
        address = read_address(url)
        if address is None:
            if not self._needs(url, role, warned):
                return _Prepared(url)
            reworked = await self._reworked(Picture(role, url))
            return await self._staged(reworked.data, None, reworked.note) if reworked else _Prepared(url)
        store = await self._run(self.open_store, address)
        found = await self._run(store.look, address)

        async def read() -> bytes:
            return await self._run(store.read, address, found)

        reworked = await self._reworked(Picture(role, url, found, read))
        if reworked is not None:
            return await self._staged(reworked.data, found.version, reworked.note)
        if store.can_sign:
            return _Prepared(await self._run(self.signer.sign, store, address, found), found.version)
        return await self._copied(store, address, found)

    async def _reworked(self, picture: Picture) -> Reworked | None:
        return await self.rework(picture) if self.rework is not None else None

    async def _copied(self, store: PictureStore, address: PictureAddress, found: Found) -> _Prepared:
        """Stage a picture whose store makes no links; only a picture: a manifest may name any file."""
        self.staging.require(f"{address} has no link that GoEnhance could fetch")
        return await self._linked(await self._run(self._copy, store, address, found), found.version)

    def _copy(self, store: PictureStore, address: PictureAddress, found: Found) -> StagedCopy:
        # A file may be large, and as many are copied at the same time as there are threads.
        with COPYING.of(MOST_COPIED if found.size is None else found.size):
            data = store.read(address, found)
            if kind_of_bytes(data[:HEAD]) is None:
                raise InputError(f"{address} is not a picture: {describe_content(data)}.")
            return self._put(data)

    def _put(self, data: bytes) -> StagedCopy:
        kind = kind_of_bytes(data[:HEAD])
        return self.staging.put(data, EXTENSIONS[kind] if kind is not None else "")

    async def _staged(self, data: bytes, version: str | None, note: str | None = None) -> _Prepared:
        self.staging.require("A picture has to be changed before it is sent")
        return await self._linked(await self._run(self._put, data), version, note)

    async def _linked(self, staged: StagedCopy, version: str | None, note: str | None = None) -> _Prepared:
        link = await self._run(self.staging.link, staged, self.signer)
        return _Prepared(link, version, note, staged.uri if self.staging.removes else None)

    async def _run(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.threads, work, *arguments)


@dataclass(frozen=True, slots=True)
class _Prepared:
    link: str = field(repr=False)
    version: str | None = None
    note: str | None = None
    staged_uri: str | None = None


async def _both(source: Awaitable[_Prepared], reference: Awaitable[_Prepared]) -> tuple[_Prepared, _Prepared]:
    """
    Await both, and raise the first error once both have ended: nothing may be left running.

    An error about one picture names the copy that was made of the other one.
    """
    results = await asyncio.gather(source, reference, return_exceptions=True)
    copies = [one.staged_uri for one in results if isinstance(one, _Prepared) and one.staged_uri]
    for result in results:
        if isinstance(result, InputError):
            result.staged_uris = tuple(copies)
        if isinstance(result, BaseException):
            raise result
    first, second = results
    assert isinstance(first, _Prepared)  # noqa: S101  not an exception, as was just checked
    assert isinstance(second, _Prepared)  # noqa: S101
    return first, second
