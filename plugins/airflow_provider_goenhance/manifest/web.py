# SPDX-License-Identifier: Apache-2.0
"""Download a manifest from a web address, and decide whether the answer is one."""

from __future__ import annotations

import base64
import gzip
import re
import socket
import string
import time
import urllib.request
import zlib
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPMessage, HTTPSConnection, IncompleteRead
from typing import IO, TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.parse import quote, unquote, urljoin, urlsplit

from ..addresses import InternalAddressError, Trail, current_trail
from ..exceptions import ManifestError
from .faults import Cause, cause_of, status_cause
from .spool import new_file, opener_of
from .web_formats import refuse_other_content, sheet_export, suffix_of

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds that the server may stay silent, and seconds for the whole file.
SILENCE_TIMEOUT = 30.0
TOTAL_TIMEOUT = 600.0
MAX_REDIRECTS = 10
MAX_BYTES = 1 << 30

_BLOCK = 1 << 18
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_WITH_CONTENT = frozenset({200, 203})
_SENT_AS_IT_IS = string.ascii_letters + string.digits + string.punctuation
_GZIP = b"\x1f\x8b"
_OTHER_PACKING = re.compile(r"\b(br|deflate|zstd|compress)\b", re.IGNORECASE)
_HEADERS = {"User-Agent": "airflow-provider-goenhance", "Accept": "text/csv, */*;q=0.5"}


@dataclass(frozen=True, slots=True)
class Download:
    """
    A manifest that was downloaded.

    :param open: opens it for reading bytes; may be called repeatedly
    :param suffix: the file name extension that stands for its format, e.g. ``.csv``
    """

    open: Callable[[], IO[bytes]]
    suffix: str


def download(url: str, location: str) -> Download:
    """
    Download the file at a web address; it is deleted with the returned object.

    :param url: the address as the user entered it
    :param location: its name in messages
    :raises ManifestUnavailableError: for a fault that passes by itself
    :raises ManifestError: for one that does not, and for a web page instead of a file
    """
    try:
        file, headers = _fetch(sheet_export(url), location)
    except HTTPError as error:
        raise status_cause(error.code).error(location) from None
    except ManifestError:
        raise
    except (OSError, EOFError, HTTPException, ValueError, zlib.error) as error:
        # Not chained: the library's text may contain the signed address.
        raise cause_of(error).error(location) from None
    opener = opener_of(file)
    suffix = suffix_of(url, headers)
    with opener() as stream:
        refuse_other_content(stream.read(_BLOCK), suffix, headers, location)
    return Download(opener, suffix)


def _fetch(url: str, location: str) -> tuple[Any, HTTPMessage]:
    deadline = time.monotonic() + TOTAL_TIMEOUT
    trail = Trail()
    current_trail.set(trail)
    url, login = _without_login(url)
    target = _sendable(url)
    for _ in range(MAX_REDIRECTS + 1):
        request = urllib.request.Request(target, headers={**_HEADERS, **login})  # noqa: S310 - http(s) handlers only
        try:
            with _opener().open(request, timeout=SILENCE_TIMEOUT) as response:
                if response.status not in _WITH_CONTENT:
                    raise Cause(f"HTTP status {response.status}, the answer has no file", passes=True).error(
                        location
                    )
                return _save(response, deadline, location), response.headers
        except InternalAddressError as error:
            raise _refused(str(error), location) from None
        except HTTPError as error:
            with error:
                to = error.headers.get("Location")
            if error.code not in _REDIRECTS or not to:
                raise
        try:
            hop = _sendable(urljoin(target, quote(to.encode("latin-1"), safe=_SENT_AS_IT_IS)))
        except ValueError:
            raise _refused("to an address that cannot be read", location) from None
        if reason := trail.refused_hop(target, hop):
            raise _refused(reason, location)
        if urlsplit(hop).netloc != urlsplit(target).netloc:
            login = {}
        target = hop
    raise Cause(f"it redirects more than {MAX_REDIRECTS} times, in a loop", passes=True).error(location)


def _refused(reason: str, location: str) -> ManifestError:
    return ManifestError(
        f"manifest {location} cannot be read: it redirects {reason}, which is not followed. Use the address of the "
        "file itself"
    )


def _opener() -> urllib.request.OpenerDirector:
    """Return an opener that honours proxies and follows no redirect by itself."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        _Handler(),
        _TlsHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


class _Connection(HTTPConnection):
    def connect(self) -> None:
        super().connect()
        _check_peer(self.sock)


class _TlsConnection(HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        _check_peer(self.sock)


class _Handler(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(HTTPConnection if _by_proxy(req) else _Connection, req)


class _TlsHandler(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(HTTPSConnection if _by_proxy(req) else _TlsConnection, req)


def _check_peer(connection: socket.socket) -> None:
    if trail := current_trail.get():
        trail.connected(str(connection.getpeername()[0]))


def _by_proxy(request: urllib.request.Request) -> bool:
    """Return whether a proxy makes the connection: it resolves the name, and may be internal itself."""
    return request.host != urlsplit(request.full_url).netloc


def _save(response: Any, deadline: float, location: str) -> Any:
    file = new_file()
    # Not `read`, which waits until the whole block has arrived, however slowly.
    while block := response.read1(_BLOCK):
        file.write(block)
        _refuse_too_large(file, location)
        if time.monotonic() > deadline:
            raise TimeoutError
    promised = response.headers.get("Content-Length", "")
    if promised.isdecimal() and "Transfer-Encoding" not in response.headers and file.tell() < int(promised):
        raise IncompleteRead(b"", int(promised) - file.tell())
    file.flush()
    packing = response.headers.get("Content-Encoding", "")
    if found := _OTHER_PACKING.search(packing):
        raise ManifestError(
            f"manifest {location} cannot be read: the server packs it with {found[1].lower()} although nothing but "
            "plain text was asked for. Have it served without Content-Encoding"
        )
    return _unpacked(file, location) if "gzip" in packing.lower() else file


def _refuse_too_large(file: Any, location: str) -> None:
    if file.tell() > MAX_BYTES:
        raise ManifestError(f"manifest {location} is larger than {MAX_BYTES >> 20} MB: split it")


def _unpacked(file: Any, location: str) -> Any:
    """Return the content of a packed answer; some servers call one packed that is not."""
    file.seek(0)
    if file.read(len(_GZIP)) != _GZIP:
        return file
    file.seek(0)
    unpacked = new_file()
    with file, gzip.open(file) as content:
        while block := content.read(_BLOCK):
            unpacked.write(block)
            _refuse_too_large(unpacked, location)
    unpacked.flush()
    return unpacked


def _without_login(url: str) -> tuple[str, dict[str, str]]:
    """Return the URL without its user part, and the header that carries that part."""
    scheme, _, rest = url.partition("://")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    user, at, host = authority.rpartition("@")
    if not at:
        return url, {}
    token = base64.b64encode(unquote(user).encode()).decode()
    return f"{scheme}://{host}{rest[len(authority) :]}", {"Authorization": f"Basic {token}"}


def _sendable(url: str) -> str:
    """Quote the characters of a URL that cannot be sent, and leave all others as they are."""
    parts = urlsplit(url)
    netloc = parts.netloc
    if not netloc.isascii():
        netloc = netloc.encode("idna").decode("ascii")
    return quote(url.replace(parts.netloc, netloc, 1), safe=_SENT_AS_IT_IS)
