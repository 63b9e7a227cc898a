# SPDX-License-Identifier: Apache-2.0
"""Download one picture from its signed link, without exposing the link in an error or a log."""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urljoin

from ..addresses import InternalAddressError, Trail, current_trail
from ..exceptions import CollectError, ErrorCode, LinkExpiredError
from ..redaction import link_name
from .kinds import HEAD, kind_of_bytes
from .unpack import unpack
from .verify import identify_picture

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    import aiohttp
    import yarl

    from .limits import Room

T = TypeVar("T")

DEFAULT_MAX_BYTES = 30 * 1024 * 1024
DEFAULT_TIMEOUT = 60.0
MAX_REDIRECTS = 5

_CHUNK = 256 * 1024
#: 203: a proxy has passed the picture on.
WHOLE = frozenset({200, 203})
_REFUSED = frozenset({401, 403, 404, 410})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HAS_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_UNSENDABLE = re.compile(r"[^\x21-\x7e]+")


async def fetch_picture(
    session: aiohttp.ClientSession,
    link: str,
    *,
    max_bytes: int = DEFAULT_MAX_BYTES,
    timeout: float = DEFAULT_TIMEOUT,  # noqa: ASYNC109 - bounds connection, redirects and body together
    room: Room | None = None,
    connect_seconds: float | None = None,
) -> bytes:
    """
    Return the picture behind a signed link.

    The link gives access to the picture, so no error of this function contains its query: errors are raised outside
    the handlers, and thus chain to nothing that contains the link.

    The link goes out byte for byte. The picture is returned unpacked if it was packed, whatever the headers say; one
    that is complete is returned although the server announced more bytes.

    :param session: from :func:`.session.open_session`, **without** the API token among its headers
    :param link: the signed link, http or https
    :param max_bytes: maximum size; the download stops as soon as it is exceeded
    :param timeout: seconds for connection, redirects and body together; waits for room do not count
    :param room: the picture's room in memory
    :param connect_seconds: for each connection, including the look-up of the name; default: the session's
    :raises LinkExpiredError: the link was refused (HTTP 401, 403, 404 or 410)
    :raises CollectError: ``bad_link``, ``too_large``, ``redirect_loop``, ``unsafe_redirect``,
        ``download_timed_out`` or ``download_failed``
    """
    if "Authorization" in session.headers:
        raise ValueError("fetch_picture needs a session of its own: this one would send the API token along.")
    failure: CollectError
    body = _Body(max_bytes, room)
    try:
        async with asyncio.timeout(timeout) as body.clock, _not_unpacking(session) as downloads:
            return await follow(downloads, link, body.read, connect_seconds=connect_seconds)
    except CollectError as error:
        failure = error
    except InternalAddressError as error:
        failure = _unsafe(link, str(error))
    except TimeoutError:
        # A server that announces too many bytes keeps the connection open behind a complete picture.
        received = bytes(body.received)
        if await asyncio.to_thread(_is_whole, received):
            return received
        failure = CollectError(
            f"The picture at {link_name(link)} was not complete within {timeout:g} s.",
            error_code=ErrorCode.DOWNLOAD_TIMED_OUT,
        )
    except client_errors() as error:
        failure = CollectError(
            f"The picture at {link_name(link)} could not be fetched: {what_broke(error)}.",
            error_code=ErrorCode.DOWNLOAD_FAILED,
        )
    raise failure


@contextlib.asynccontextmanager
async def _not_unpacking(session: aiohttp.ClientSession) -> AsyncIterator[aiohttp.ClientSession]:
    """Return a session that leaves bodies as they are: a picture under a false Content-Encoding breaks the others."""
    import aiohttp

    from .session import SESSION_OPTIONS

    if not session.auto_decompress:
        yield session
        return
    async with aiohttp.ClientSession(
        connector=session.connector,
        connector_owner=False,
        headers=session.headers,
        trust_env=session.trust_env,
        **SESSION_OPTIONS,
    ) as other:
        yield other


async def follow(
    session: aiohttp.ClientSession,
    link: str,
    read: Callable[[aiohttp.ClientResponse, str], Awaitable[T]],
    headers: Mapping[str, str] | None = None,
    *,
    connect_seconds: float | None = None,
) -> T:
    """
    Follow redirects one by one, so that each hop is checked and none is logged, and read what the last one answers.

    :param read: reads the response to the link, or raises an error that names no more of the link than its place
    :param headers: further headers of the request
    :param connect_seconds: limit on each connection, default: the session's
    :raises CollectError: ``bad_link``, ``redirect_loop`` or ``unsafe_redirect``
    """
    import aiohttp

    timeout = session.timeout
    if connect_seconds is not None:
        timeout = aiohttp.ClientTimeout(total=None, connect=connect_seconds)
    url = _address(link)
    trail = Trail()
    current_trail.set(trail)
    for _ in range(MAX_REDIRECTS + 1):
        async with session.get(
            url,
            allow_redirects=False,
            headers={"Accept-Encoding": "identity", **(headers or {})},
            timeout=timeout,
        ) as response:
            if response.status not in _REDIRECTS:
                return await read(response, link)
            hop = next_hop(url, response.headers.get("Location"), link)
        await check_hop(url, hop, link, trail)
        url = hop
    raise CollectError(
        f"The picture at {link_name(link)} was redirected more than {MAX_REDIRECTS} times.",
        error_code=ErrorCode.REDIRECT_LOOP,
    )


def _address(link: str) -> yarl.URL:
    """Parse a link byte for byte: quoting it again would invalidate its signature."""
    import yarl

    url: yarl.URL | None = None
    with contextlib.suppress(ValueError, TypeError):
        scheme, separator, rest = link.strip().partition("://")
        host, *path = re.split(r"(?=[/?#])", rest, maxsplit=1)
        # Only the host has an encoding of its own (IDNA).
        host = host if host.isascii() else yarl.URL(f"http://{host}").raw_authority
        parsed = yarl.URL(scheme + separator + _sendable("".join([host, *path])), encoded=True)
        # yarl reads the port late, and the resolver encodes the name.
        if parsed.port is not None and (parsed.host or "").encode("idna"):
            url = parsed
    if url is None or url.scheme not in {"http", "https"} or not url.host:
        raise CollectError(
            "The link to the picture is not an http(s) address.", error_code=ErrorCode.BAD_LINK
        )
    return url


def _sendable(text: str) -> str:
    """Quote what a request line cannot hold, and nothing else; a header's bytes arrive as surrogates."""
    return _UNSENDABLE.sub(
        lambda found: quote(found.group().encode("utf-8", "surrogateescape"), safe=""), text
    )


def next_hop(url: yarl.URL, location: str | None, link: str) -> yarl.URL:
    """Return the target of a redirect; ``link`` is the one that errors name."""
    location = (location or "").strip()
    if not location:
        raise CollectError(
            f"The picture at {link_name(link)} was redirected without a target.",
            error_code=ErrorCode.DOWNLOAD_FAILED,
        )
    return _address(_joined(url, location))


def _joined(url: yarl.URL, location: str) -> str:
    if _HAS_SCHEME.match(location):
        return location
    if location.startswith("//"):
        return f"{url.scheme}:{location}"
    if location.startswith("/"):
        return f"{url.scheme}://{url.raw_authority}{location}"
    return urljoin(str(url.with_fragment(None)), location)


async def check_hop(url: yarl.URL, hop: yarl.URL, link: str, trail: Trail) -> None:
    """
    Refuse a redirect that is not followed anywhere in this package; ``link`` is the one that errors name.

    :raises CollectError: ``unsafe_redirect``
    """
    # In a thread: it asks the resolver.
    reason = await asyncio.to_thread(trail.refused_hop, str(url), str(hop))
    if reason:
        raise _unsafe(link, reason)


def _unsafe(link: str, reason: str) -> CollectError:
    return CollectError(
        f"The picture at {link_name(link)} was redirected {reason}; not followed.",
        error_code=ErrorCode.UNSAFE_REDIRECT,
    )


def check_status(response: aiohttp.ClientResponse, link: str, good: frozenset[int] = WHOLE) -> None:
    """
    Refuse a response that is not the picture.

    :raises LinkExpiredError: HTTP 401, 403, 404 or 410
    :raises CollectError: ``download_failed``
    """
    if response.status in good:
        return
    if response.status in _REFUSED:
        raise LinkExpiredError(
            f"The link to the picture at {link_name(link)} was refused (HTTP {response.status}): "
            "it has expired or was withdrawn.",
            http_status=response.status,
        )
    raise CollectError(
        f"The picture at {link_name(link)} could not be fetched: HTTP {response.status}.",
        error_code=ErrorCode.DOWNLOAD_FAILED,
        http_status=response.status,
    )


class _Body:
    """
    Reads the body of one picture.

    :ivar received: what has arrived so far
    :ivar clock: ends the download; it stands still while this waits for room in memory
    """

    def __init__(self, max_bytes: int, room: Room | None) -> None:
        self.received = bytearray()
        self.clock: asyncio.Timeout | None = None
        self._max_bytes = max_bytes
        self._room = room

    async def read(self, response: aiohttp.ClientResponse, link: str) -> bytes:
        import aiohttp

        check_status(response, link)
        announced = response.content_length
        if announced is not None and announced > self._max_bytes:
            raise _too_large(link, self._max_bytes)
        packing = response.headers.get("Content-Encoding", "")
        broken: aiohttp.ClientPayloadError | None = None
        if self._room is not None:
            await self._without_the_clock(self._room.expect(None if packing else announced))
        try:
            async for chunk in response.content.iter_chunked(_CHUNK):
                self.received += chunk
                if len(self.received) > self._max_bytes:
                    raise _too_large(link, self._max_bytes)
                if self._room is not None and not self._room.is_known:
                    await self._without_the_clock(self._room.grow(len(chunk)))
        except aiohttp.ClientPayloadError as error:
            broken = error
        content = await self._unpacked(packing)
        if content is None:
            raise _too_large(link, self._max_bytes)
        # The length may be wrong and the picture whole.
        if broken is not None and not await asyncio.to_thread(_is_whole, content):
            raise broken
        return content

    async def _unpacked(self, packing: str) -> bytes | None:
        content = bytes(self.received)
        if kind_of_bytes(content[:HEAD]) is not None:
            return content
        return await asyncio.to_thread(unpack, content, packing, self._max_bytes)

    async def _without_the_clock(self, waiting: Awaitable[None]) -> None:
        if self.clock is None or (end := self.clock.when()) is None:
            await waiting
            return
        loop = asyncio.get_running_loop()
        since = loop.time()
        self.clock.reschedule(None)
        await waiting
        self.clock.reschedule(end + loop.time() - since)


def _is_whole(data: bytes) -> bool:
    try:
        identify_picture(data)
    except CollectError:
        return False
    return True


def _too_large(link: str, max_bytes: int) -> CollectError:
    return CollectError(
        f"The picture at {link_name(link)} is larger than the {max_bytes / 2**20:g} MB allowed.",
        error_code=ErrorCode.TOO_LARGE,
    )


def client_errors() -> tuple[type[Exception], ...]:
    """Return the errors of a download that broke off."""
    import aiohttp

    return (aiohttp.ClientError, OSError)


def what_broke(error: Any) -> str:
    """Describe the error in our own words: the library's text may contain the link."""
    import aiohttp

    if isinstance(error, aiohttp.ClientPayloadError):
        return "the connection ended before the picture did"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"no connection ({error.os_error.strerror or type(error.os_error).__name__})"
    if isinstance(error, OSError) and not isinstance(error, aiohttp.ClientError):
        return f"{error.strerror or type(error).__name__}"
    return f"the connection failed ({type(error).__name__})"
