# SPDX-License-Identifier: Apache-2.0
"""Download one picture from its signed link, without exposing the link in an error or a log."""

from __future__ import annotations

import asyncio
import string
from typing import TYPE_CHECKING, Any

from ..exceptions import CollectError, ErrorCode, LinkExpiredError
from ..redaction import link_name

if TYPE_CHECKING:
    import aiohttp
    import yarl

DEFAULT_MAX_BYTES = 30 * 1024 * 1024
DEFAULT_TIMEOUT = 60.0
MAX_REDIRECTS = 5

_CHUNK = 256 * 1024
_REFUSED = frozenset({401, 403, 404, 410})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PLAIN_LINK = frozenset(string.ascii_letters + string.digits + "-._~:/?#[]@!$&'()*+,;=%")


async def fetch_picture(
    session: aiohttp.ClientSession,
    link: str,
    *,
    max_bytes: int = DEFAULT_MAX_BYTES,
    timeout: float = DEFAULT_TIMEOUT,  # noqa: ASYNC109 - bounds connection, redirects and body together
) -> bytes:
    """
    Return the picture behind a signed link.

    The link gives access to the picture, so no error of this function contains its query: errors are raised outside
    the handlers, and thus chain to nothing that contains the link.

    :param session: a session **without** the API token among its headers; the link's host must not see it
    :param link: the signed link, http or https
    :param max_bytes: maximum size; the download stops as soon as it is exceeded
    :param timeout: seconds for connection, redirects and body together
    :raises LinkExpiredError: the link was refused (HTTP 401, 403, 404 or 410)
    :raises CollectError: ``bad_link``, ``too_large``, ``redirect_loop``, ``unsafe_redirect``,
        ``download_timed_out`` or ``download_failed``
    """
    if "Authorization" in session.headers:
        raise ValueError("fetch_picture needs a session of its own: this one would send the API token along.")
    failure: CollectError
    try:
        async with asyncio.timeout(timeout):
            return await _follow(session, link, max_bytes)
    except CollectError as error:
        failure = error
    except TimeoutError:
        failure = CollectError(
            f"The picture at {link_name(link)} was not complete within {timeout:g} s.",
            error_code=ErrorCode.DOWNLOAD_TIMED_OUT,
        )
    except _client_errors() as error:
        failure = CollectError(
            f"The picture at {link_name(link)} could not be fetched: {_what_broke(error)}.",
            error_code=ErrorCode.DOWNLOAD_FAILED,
        )
    raise failure


async def _follow(session: aiohttp.ClientSession, link: str, max_bytes: int) -> bytes:
    """Follow redirects one by one, so that each hop is checked and none is logged."""
    url = _address(link)
    for _ in range(MAX_REDIRECTS + 1):
        async with session.get(
            url, allow_redirects=False, headers={"Accept-Encoding": "identity"}
        ) as response:
            if response.status not in _REDIRECTS:
                _check_status(response, link)
                return await _read(response, link, max_bytes)
            url = next_hop(url, response.headers.get("Location"), link)
    raise CollectError(
        f"The picture at {link_name(link)} was redirected more than {MAX_REDIRECTS} times.",
        error_code=ErrorCode.REDIRECT_LOOP,
    )


def _address(link: str, base: yarl.URL | None = None) -> yarl.URL:
    """Parse a link without re-quoting it where possible: re-quoting can invalidate the signature."""
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


def next_hop(url: yarl.URL, location: str | None, link: str) -> yarl.URL:
    """Return the target of a redirect, checked; ``link`` is the one that errors name."""
    if not location:
        raise CollectError(
            f"The picture at {link_name(link)} was redirected without a target.",
            error_code=ErrorCode.DOWNLOAD_FAILED,
        )
    hop = _address(location, base=url)
    if url.scheme == "https" and hop.scheme == "http":
        raise CollectError(
            f"The picture at {link_name(link)} was redirected from https to http; not followed.",
            error_code=ErrorCode.UNSAFE_REDIRECT,
        )
    return hop


def _check_status(response: aiohttp.ClientResponse, link: str) -> None:
    if response.status == 200:
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


async def _read(response: aiohttp.ClientResponse, link: str, max_bytes: int) -> bytes:
    announced = response.content_length
    if announced is not None and announced > max_bytes:
        raise _too_large(link, max_bytes)
    data = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK):
        data += chunk
        if len(data) > max_bytes:
            raise _too_large(link, max_bytes)
    return bytes(data)


def _too_large(link: str, max_bytes: int) -> CollectError:
    return CollectError(
        f"The picture at {link_name(link)} is larger than the {max_bytes / 2**20:g} MB allowed.",
        error_code=ErrorCode.TOO_LARGE,
    )


def _client_errors() -> tuple[type[Exception], ...]:
    import aiohttp

    return (aiohttp.ClientError, OSError)


def _what_broke(error: Any) -> str:
    """Describe the error in our own words: the library's text may contain the link."""
    import aiohttp

    if isinstance(error, aiohttp.ClientPayloadError):
        return "the connection ended before the picture did"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"no connection ({error.os_error.strerror or type(error.os_error).__name__})"
    if isinstance(error, OSError) and not isinstance(error, aiohttp.ClientError):
        return f"{error.strerror or type(error).__name__}"
    return f"the connection failed ({type(error).__name__})"
