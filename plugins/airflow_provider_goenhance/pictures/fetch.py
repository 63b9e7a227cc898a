# SPDX-License-Identifier: Apache-2.0
"""Stream one picture from its signed link into a file, without ever telling anybody the link."""

from __future__ import annotations

import asyncio
import hashlib
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urlsplit

from airflow_provider_goenhance.exceptions import CollectError, LinkExpiredError

from ..exceptions import ErrorCode

if TYPE_CHECKING:
    from pathlib import Path

    import aiohttp
    import yarl

DEFAULT_MAX_BYTES = 30 * 1024 * 1024
DEFAULT_TIMEOUT = 60.0
MAX_REDIRECTS = 5

_CHUNK = 256 * 1024
_REFUSED = frozenset({401, 403, 404, 410})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PLAIN_LINK = frozenset(string.ascii_letters + string.digits + "-._~:/?#[]@!$&'()*+,;=%")


@dataclass(frozen=True)
class FetchedFile:
    """
    One picture as the server delivered it.

    :param path: where it was written
    :param size: bytes
    :param sha256: hex digest of the delivered bytes
    :param content_type: what the server called it; not to be trusted
    """

    path: Path
    size: int
    sha256: str
    content_type: str | None = None


async def fetch_picture(
    session: aiohttp.ClientSession,
    link: str,
    into: Path,
    *,
    max_bytes: int = DEFAULT_MAX_BYTES,
    timeout: float = DEFAULT_TIMEOUT,  # noqa: ASYNC109 - one bound for connection, redirects and body together
) -> FetchedFile:
    """
    Fetch the picture behind a signed link.

    Whoever holds the link holds the picture, so no error of this function carries its query string: errors
    are raised outside the handlers, and thus chain to nothing that knows the address.

    :param session: a session **without** the API token among its headers; the link's host must not see it
    :param link: the signed link, http or https
    :param into: the file to write; removed again if the fetch fails
    :param max_bytes: stop as soon as more than this many bytes have come
    :param timeout: seconds for everything together
    :raises LinkExpiredError: the link was refused (HTTP 401, 403, 404 or 410)
    :raises CollectError: ``bad_link``, ``too_large``, ``redirect_loop``, ``unsafe_redirect``,
        ``download_timed_out`` or ``download_failed``
    """
    if "Authorization" in session.headers:
        raise ValueError("fetch_picture needs a session of its own: this one would send the API token along.")
    failure: CollectError
    try:
        async with asyncio.timeout(timeout):
            return await _follow(session, link, into, max_bytes)
    except CollectError as error:
        failure = error
    except TimeoutError:
        failure = CollectError(
            f"The picture at {name_of_link(link)} was not complete within {timeout:g} s.",
            error_code=ErrorCode.DOWNLOAD_TIMED_OUT,
        )
    except _client_errors() as error:
        failure = CollectError(
            f"The picture at {name_of_link(link)} could not be fetched: {_what_broke(error)}.",
            error_code=ErrorCode.DOWNLOAD_FAILED,
        )
    await asyncio.to_thread(into.unlink, missing_ok=True)
    raise failure


def name_of_link(link: str) -> str:
    """Name a link for people: host and file name, never the query, the user part or the whole path."""
    try:
        parts = urlsplit(link)
        host = parts.hostname or "an unnamed host"
    except ValueError:
        return "an address that cannot be read"
    last = parts.path.rsplit("/", 1)[-1][:80]
    return f"{host}/…/{last}" if last else host


async def _follow(session: aiohttp.ClientSession, link: str, into: Path, max_bytes: int) -> FetchedFile:
    """Walk the redirects by hand, so that each hop is checked and none is logged."""
    url = _address(link)
    for _ in range(MAX_REDIRECTS + 1):
        async with session.get(
            url, allow_redirects=False, headers={"Accept-Encoding": "identity"}
        ) as response:
            if response.status not in _REDIRECTS:
                _check_status(response, link)
                return await _stream(response, link, into, max_bytes)
            url = _next_hop(url, response.headers.get("Location"), link)
    raise CollectError(
        f"The picture at {name_of_link(link)} was redirected more than {MAX_REDIRECTS} times.",
        error_code=ErrorCode.REDIRECT_LOOP,
    )


def _address(link: str, base: yarl.URL | None = None) -> yarl.URL:
    """Take the link byte for byte where possible: re-quoting can break what was signed."""
    import yarl

    url: yarl.URL | None = None
    try:
        url = yarl.URL(link, encoded=set(link) <= _PLAIN_LINK)
        url = base.join(url) if base is not None else url
    except (ValueError, TypeError):
        url = None
    if url is None or url.scheme not in {"http", "https"} or not url.host:
        raise CollectError(
            "The link to the picture is not an http(s) address.", error_code=ErrorCode.BAD_LINK
        )
    return url


def _next_hop(url: yarl.URL, location: str | None, link: str) -> yarl.URL:
    if not location:
        raise CollectError(
            f"The picture at {name_of_link(link)} was redirected to nowhere.",
            error_code=ErrorCode.DOWNLOAD_FAILED,
        )
    hop = _address(location, base=url)
    if url.scheme == "https" and hop.scheme == "http":
        raise CollectError(
            f"The picture at {name_of_link(link)} was redirected from https to http; not followed.",
            error_code=ErrorCode.UNSAFE_REDIRECT,
        )
    return hop


def _check_status(response: aiohttp.ClientResponse, link: str) -> None:
    if response.status == 200:
        return
    if response.status in _REFUSED:
        raise LinkExpiredError(
            f"The link to the picture at {name_of_link(link)} was refused (HTTP {response.status}): "
            "it has expired or was withdrawn.",
            http_status=response.status,
        )
    raise CollectError(
        f"The picture at {name_of_link(link)} could not be fetched: HTTP {response.status}.",
        error_code=ErrorCode.DOWNLOAD_FAILED,
        http_status=response.status,
    )


async def _stream(response: aiohttp.ClientResponse, link: str, into: Path, max_bytes: int) -> FetchedFile:
    announced = response.content_length
    if announced is not None and announced > max_bytes:
        raise _too_large(link, max_bytes)
    digest = hashlib.sha256()
    size = 0
    file: BinaryIO = await asyncio.to_thread(into.open, "wb")
    try:
        async for chunk in response.content.iter_chunked(_CHUNK):
            size += len(chunk)
            if size > max_bytes:
                raise _too_large(link, max_bytes)
            digest.update(chunk)
            await asyncio.to_thread(file.write, chunk)
    finally:
        await asyncio.to_thread(file.close)
    return FetchedFile(into, size, digest.hexdigest(), response.headers.get("Content-Type"))


def _too_large(link: str, max_bytes: int) -> CollectError:
    return CollectError(
        f"The picture at {name_of_link(link)} is larger than the {max_bytes / 2**20:g} MB allowed.",
        error_code=ErrorCode.TOO_LARGE,
    )


def _client_errors() -> tuple[type[Exception], ...]:
    import aiohttp

    return (aiohttp.ClientError, OSError)


def _what_broke(error: Any) -> str:
    """Say what happened in our own words: the library's text may hold the address."""
    import aiohttp

    if isinstance(error, aiohttp.ClientPayloadError):
        return "the connection ended before the picture did"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"no connection ({error.os_error.strerror or type(error.os_error).__name__})"
    if isinstance(error, OSError) and not isinstance(error, aiohttp.ClientError):
        return f"{error.strerror or type(error).__name__}"
    return f"the connection failed ({type(error).__name__})"
