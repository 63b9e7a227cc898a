# SPDX-License-Identifier: Apache-2.0
"""Download the pictures of a job over HTTP, with the limits of a real service."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import aiohttp

MAX_REDIRECTS = 3
_CHUNK = 64 * 1024


class FetchError(Exception):
    """A picture could not be downloaded; the message says which and why."""


def open_session() -> aiohttp.ClientSession:
    """Open the HTTP session for downloads. Imports aiohttp here, because load mode does not need it."""
    import aiohttp

    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit_per_host=8))


async def fetch_picture(
    session: aiohttp.ClientSession, role: str, url: str, *, limit: int, timeout_seconds: float
) -> bytes:
    """
    Download one picture.

    :param role: `source_img` or `reference_img`, for messages.
    :param limit: maximum size in bytes.
    :param timeout_seconds: for the whole download.
    :raises FetchError: the response is not a complete 200 within the limits.
    """
    import aiohttp

    try:
        async with asyncio.timeout(timeout_seconds):
            return await _download(session, role, url, limit)
    except TimeoutError:
        raise FetchError(f"fetch_timeout: {role} did not arrive within {timeout_seconds:g} s") from None
    except aiohttp.TooManyRedirects:
        raise FetchError(f"fetch_failed: {role} redirects more than {MAX_REDIRECTS} times") from None
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError, ValueError):
        raise FetchError(f"fetch_failed: {role} is not a URL that can be fetched") from None
    except (aiohttp.ClientError, OSError) as error:
        raise FetchError(f"fetch_failed: {role} could not be fetched ({type(error).__name__})") from None


async def _download(session: aiohttp.ClientSession, role: str, url: str, limit: int) -> bytes:
    async with session.get(url, max_redirects=MAX_REDIRECTS) as response:
        if response.status != 200:
            raise FetchError(f"fetch_failed: {role} answered HTTP {response.status}")
        if (response.content_length or 0) > limit:
            raise FetchError(f"picture_too_large: {role} is larger than {limit} bytes")
        body = bytearray()
        async for chunk in response.content.iter_chunked(_CHUNK):
            body += chunk
            if len(body) > limit:
                raise FetchError(f"picture_too_large: {role} is larger than {limit} bytes")
        return bytes(body)
