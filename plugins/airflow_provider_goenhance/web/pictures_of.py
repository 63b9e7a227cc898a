# SPDX-License-Identifier: Apache-2.0
"""
Read the pictures of a row for a browser: only what the row names, within limits, and only what is a picture.

The browser never loads an address of a manifest. This server does, without the user's session and without a referrer,
and passes on nothing but pictures. It does not ask itself, nor the addresses at which clouds hand out credentials.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Collection
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from ..exceptions import CollectError, ErrorCode
from ..pictures.fetch import fetch_picture
from ..pictures.kinds import HEAD, kind_of_bytes
from ..pictures.storage import read_picture
from ..pictures.thumbnail import NoPreviewError, thumbnail_of
from ..results.swap import Swap

log = logging.getLogger(__name__)

INPUTS = ("source", "reference")
#: Ending -> media type of the pictures that every browser shows. SVG is not among them: it may hold scripts.
MEDIA_TYPES = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".avif": "image/avif",
    ".bmp": "image/bmp",
    ".ico": "image/vnd.microsoft.icon",
}
_TYPE_OF_KIND = {
    "jpeg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "gif": "image/gif",
    "avif": "image/avif",
    "bmp": "image/bmp",
    "ico": "image/vnd.microsoft.icon",
}
#: Storages that hold private inputs. A path on this machine is not among them: it may be anybody's file.
_STORES = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "wasb", "wasbs"})
#: Larger inputs are not passed on; the vendor takes at most 5 MB, and inputs are shrunk to that.
INPUT_BYTES = 20 * 1024 * 1024
#: Seconds for one input, and for the connection to its host.
INPUT_SECONDS, CONNECT_SECONDS = 8.0, 2.0
#: Inputs that are fetched, and thumbnails that are made, at the same time.
FETCHES_AT_ONCE, THUMBNAILS_AT_ONCE = 8, 2
#: Thumbnails that are kept in memory, bytes.
MOST_KEPT = 32 * 1024 * 1024

#: Seconds for which a host that did not answer is not asked again.
SILENT_SECONDS = 30.0
MOST_SILENT = 1000
_SILENCE = frozenset({ErrorCode.DOWNLOAD_FAILED, ErrorCode.DOWNLOAD_TIMED_OUT})

_fetches = threading.BoundedSemaphore(FETCHES_AT_ONCE)
_makers = threading.BoundedSemaphore(THUMBNAILS_AT_ONCE)


_silent: dict[str, float] = {}


class NoPictureError(Exception):
    """There is no picture to show; the message says why."""


class _Kept:
    """The thumbnails that were made last, up to a number of bytes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._items: OrderedDict[tuple[str, ...], bytes] = OrderedDict()
        self._size = 0

    def get(self, name: tuple[str, ...]) -> bytes | None:
        with self._lock:
            if name in self._items:
                self._items.move_to_end(name)
            return self._items.get(name)

    def clear(self) -> None:
        with self._lock:
            self._items.clear()
            self._size = 0

    def put(self, name: tuple[str, ...], data: bytes) -> None:
        with self._lock:
            self._size += len(data) - len(self._items.get(name, b""))
            self._items[name] = data
            self._items.move_to_end(name)
            while self._size > MOST_KEPT:
                _, old = self._items.popitem(last=False)
                self._size -= len(old)


_kept = _Kept()


def forget() -> None:
    """Forget all thumbnails, and which hosts did not answer."""
    _kept.clear()
    _silent.clear()


def can_be_fetched(url: str) -> bool:
    """Return whether an address of a manifest is one that this server may read, by its form."""
    if url != url.strip() or not url.isprintable():
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme.lower() in {"http", "https", *_STORES} and bool(parts.netloc)
    except ValueError:
        return False


def has_thumbnail(swap: Swap, of: str) -> bool:
    """Return whether a thumbnail was made when the picture was collected."""
    return bool(_thumbnail_uri(swap, of))


def _thumbnail_uri(swap: Swap, of: str) -> str | None:
    name = "thumbnail_uri" if of == "result" else f"{of}_thumbnail_uri"
    return getattr(swap, name, None)


def thumbnail(swap: Swap, of: str, own_hosts: Collection[str]) -> bytes:
    """
    Return the thumbnail of a picture of a row: the one that was made when it was collected, or else one made now.

    :param of: ``source``, ``reference`` or ``result``
    :param own_hosts: hosts of this server, which are not asked
    :raises NoPictureError: there is none
    """
    uri = _thumbnail_uri(swap, of)
    address = swap.result_uri if of == "result" else _url_of(swap, of)
    name = (uri or "", address or "", swap.result_sha256 or "" if of == "result" else "")
    if (known := _kept.get(name)) is not None:
        return known
    if uri:
        data = _stored(uri)
    else:
        picture = result(swap) if of == "result" else input_picture(swap, of, own_hosts)
        with _makers:
            try:
                data = thumbnail_of(picture)
            except NoPreviewError as error:
                raise NoPictureError(str(error)) from None
            except Exception as error:  # noqa: BLE001  whatever a damaged picture makes of Pillow
                log.info("No thumbnail of the %s of swap %s: %s", of, swap.swap_id, error)
                raise NoPictureError("The picture is damaged.") from None
    _kept.put(name, data)
    return data


def result(swap: Swap) -> bytes:
    """Return the kept picture of a row."""
    if not swap.result_uri:
        raise NoPictureError("The picture does not exist.")
    return _stored(swap.result_uri)


def _stored(uri: str) -> bytes:
    try:
        return read_picture(uri)
    except CollectError as error:
        log.warning("A picture could not be read: %s", error)
        raise NoPictureError("The picture is no longer in the storage.") from None


def input_picture(swap: Swap, of: str, own_hosts: Collection[str]) -> bytes:
    """
    Return an input of a row, as its address has it now.

    :param own_hosts: hosts of this server, which are not asked
    :raises NoPictureError: it is not a picture, or cannot be read
    """
    url = _url_of(swap, of)
    if not can_be_fetched(url):
        raise NoPictureError("The address is not one that this page reads.")
    parts = urlsplit(url)
    if parts.scheme.lower() in _STORES:
        data = _stored(url)
        if len(data) > INPUT_BYTES:
            raise NoPictureError("The picture is too large to show.")
    else:
        data = _fetched(url, parts.hostname or "", parts.netloc, own_hosts)
    if kind_of_bytes(data[:HEAD]) is None:
        raise NoPictureError("What is at the address is not a picture.")
    return data


def _fetched(url: str, host: str, netloc: str, own_hosts: Collection[str]) -> bytes:
    """Return what is at a web address. A host that does not answer holds up one request, not all of a page."""
    cannot = NoPictureError("The picture cannot be fetched from its address.")
    # Acquired only for a while: requests that wait occupy threads of the API server.
    if _silent.get(netloc, 0.0) > time.monotonic() or not _fetches.acquire(timeout=INPUT_SECONDS):
        raise cannot
    try:
        if _silent.get(netloc, 0.0) > time.monotonic():
            raise cannot
        _refuse(host, netloc, own_hosts)
        return asyncio.run(fetch(url))
    except CollectError as error:
        log.info("An input picture could not be fetched: %s", error)
        if error.http_status is None and error.error_code in _SILENCE:
            if len(_silent) > MOST_SILENT:
                _silent.clear()
            _silent[netloc] = time.monotonic() + SILENT_SECONDS
        raise cannot from None
    finally:
        _fetches.release()


async def fetch(url: str) -> bytes:
    """Fetch an input by its address, with limits on its size and time."""
    from ..pictures.session import open_session

    async with open_session(connect_seconds=CONNECT_SECONDS) as session:
        return await fetch_picture(session, url, max_bytes=INPUT_BYTES, timeout=INPUT_SECONDS)


def _refuse(host: str, netloc: str, own_hosts: Collection[str]) -> None:
    """Raise if an address leads back to this server, or to where a cloud hands out credentials."""
    if netloc.rpartition("@")[2].lower() in {own.lower() for own in own_hosts}:
        raise NoPictureError("The address is this Airflow's own.")
    try:
        found = [str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]
    except (OSError, ValueError):
        raise NoPictureError("The host of the picture is not known.") from None
    if any(ipaddress.ip_address(address.partition("%")[0]).is_link_local for address in found):
        raise NoPictureError("The address is not one that this page reads.")


def _url_of(swap: Swap, of: str) -> str:
    return swap.source_img if of == "source" else swap.reference_img


def media_type_of(data: bytes) -> str | None:
    """Return the media type of a picture that every browser shows; ``None`` for another one, and for what is none."""
    return _TYPE_OF_KIND.get(kind_of_bytes(data[:HEAD]) or "")


def ending_of(uri: str) -> str:
    """Return the ending of a file's name, in small letters."""
    suffix = PurePosixPath(uri).suffix.lower()
    return suffix if suffix.isascii() else ""
