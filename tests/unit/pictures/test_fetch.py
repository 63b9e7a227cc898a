# SPDX-License-Identifier: Apache-2.0
"""Fetching one picture, from servers good and bad."""

from __future__ import annotations

import asyncio
import gzip
import logging
import socket
import traceback
import zlib
from typing import TYPE_CHECKING

import aiohttp
import pytest

from airflow_provider_goenhance.exceptions import CollectError, LinkExpiredError
from airflow_provider_goenhance.pictures.fetch import (
    DEFAULT_TIMEOUT,
    fetch_picture,
)
from airflow_provider_goenhance.pictures.limits import ByteBudget
from tests.unit.clock import Clock, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.pictures.picture_server import PictureServer


async def test_a_picture_is_fetched_byte_for_byte(
    server: PictureServer, session: aiohttp.ClientSession
) -> None:
    fetched = await fetch_picture(session, server.link("/user/face_0.jpg"))
    assert fetched == server.picture


async def test_a_picture_that_a_proxy_has_passed_on_is_fetched(
    server: PictureServer, session: aiohttp.ClientSession
) -> None:
    fetched = await fetch_picture(session, server.link("/user/through-a-proxy.jpg"))
    assert fetched == server.picture


async def test_a_few_redirects_are_followed(server: PictureServer, session: aiohttp.ClientSession) -> None:
    fetched = await fetch_picture(session, server.link("/moved/5"))
    assert fetched == server.picture


async def test_a_redirect_loop_ends_after_the_sixth_request(
    server: PictureServer, session: aiohttp.ClientSession
) -> None:
    with pytest.raises(CollectError, match="redirected more than 5 times") as caught:
        await fetch_picture(session, server.link("/loop"))
    assert caught.value.error_code == "redirect_loop"
    assert len(server.asked) == 6


async def test_two_gigabytes_of_zeros_stop_at_the_limit(
    server: PictureServer, session: aiohttp.ClientSession
) -> None:
    with pytest.raises(CollectError, match="larger than the 1 MB allowed") as caught:
        await fetch_picture(session, server.link("/zeros"), max_bytes=2**20)
    assert caught.value.error_code == "too_large"
    assert server.zeros_sent < 32 * 2**20, "the server was read far beyond the limit"


async def test_a_picture_announced_too_large_is_not_read_at_all(
    server: PictureServer, session: aiohttp.ClientSession
) -> None:
    with pytest.raises(CollectError) as caught:
        await fetch_picture(session, server.link("/announced"))
    assert caught.value.error_code == "too_large"


async def test_a_picture_of_exactly_the_limit_is_fetched(
    server: PictureServer, session: aiohttp.ClientSession
) -> None:
    limit = len(server.picture)
    fetched = await fetch_picture(session, server.link("/user/a"), max_bytes=limit)
    assert len(fetched) == limit
    with pytest.raises(CollectError):
        await fetch_picture(session, server.link("/user/a"), max_bytes=limit - 1)


@pytest.mark.parametrize("status", [401, 403, 404, 410])
async def test_a_refused_link_is_an_expired_link(
    server: PictureServer, session: aiohttp.ClientSession, status: int
) -> None:
    with pytest.raises(LinkExpiredError) as caught:
        await fetch_picture(session, server.link(f"/status/{status}"))
    assert caught.value.error_code == "link_expired"
    assert caught.value.http_status == status


@pytest.mark.parametrize("status", [204, 206, 400, 429, 500, 503])
async def test_another_status_is_a_failed_download_that_names_it(
    server: PictureServer, session: aiohttp.ClientSession, status: int
) -> None:
    with pytest.raises(CollectError, match=f"HTTP {status}") as caught:
        await fetch_picture(session, server.link(f"/status/{status}"))
    assert caught.value.error_code == "download_failed"


async def test_a_connection_that_breaks_off_is_a_failed_download(
    server: PictureServer, session: aiohttp.ClientSession
) -> None:
    with pytest.raises(CollectError, match="ended before the picture did") as caught:
        await fetch_picture(session, server.link("/cut"))
    assert caught.value.error_code == "download_failed"


async def test_a_server_that_hangs_is_left_when_the_time_is_over(
    server: PictureServer, session: aiohttp.ClientSession
) -> None:
    clock = Clock()
    fetching = asyncio.create_task(fetch_picture(session, server.link("/hang"), timeout=90.0))
    await until(server.hanging.is_set)
    clock.forward(90.0)
    with pytest.raises(CollectError, match=r"not complete within 90 s") as caught:
        await asyncio.wait_for(fetching, 30.0)
    assert caught.value.error_code == "download_timed_out"


async def test_the_time_that_a_picture_waits_for_room_in_memory_does_not_count(
    server: PictureServer, session: aiohttp.ClientSession
) -> None:
    budget = ByteBudget(10)
    with budget.room() as other, budget.room() as room:
        await other.expect(10)
        clock = Clock()
        fetching = asyncio.create_task(
            fetch_picture(session, server.link("/user/a"), timeout=90.0, room=room)
        )
        await until(lambda: budget._line)
        clock.forward(900.0)
        await asyncio.sleep(0)
        assert not fetching.done()
        budget._release(other)
        assert await asyncio.wait_for(fetching, 30.0) == server.picture


async def test_no_server_at_all_says_so(session: aiohttp.ClientSession) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, never listening: connections are refused
        link = f"http://127.0.0.1:{taken.getsockname()[1]}/a.jpg?sig=SECRET"
        with pytest.raises(CollectError, match="no connection") as caught:
            await fetch_picture(session, link)
    assert caught.value.error_code == "download_failed"


@pytest.mark.parametrize(
    "link", ["", "not a link", "file:///etc/hostname", "ftp://127.0.0.1/a", "http://", "http://[::1/a?SECRET"]
)
async def test_what_is_no_web_address_is_refused(session: aiohttp.ClientSession, link: str) -> None:
    with pytest.raises(CollectError) as caught:
        await fetch_picture(session, link)
    assert caught.value.error_code == "bad_link"


async def test_the_signature_arrives_byte_for_byte(
    server: PictureServer, session: aiohttp.ClientSession
) -> None:
    query = "a=%2F%2f&q-sign-time=1%3B2;3&b=%7E~&c=a+b%20c"
    await fetch_picture(session, f"{server.base}/query?{query}")
    assert server.asked == [f"/query?{query}"]


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "zstd", "gzip, br", "identity", "nonsense"])
@pytest.mark.parametrize("unpacking", [True, False])
async def test_a_picture_under_a_false_content_encoding_is_fetched_as_it_is(
    server: PictureServer, encoding: str, unpacking: bool
) -> None:
    async with aiohttp.ClientSession(auto_decompress=unpacking) as session:
        assert await fetch_picture(session, server.link(f"/said/{encoding}")) == server.picture


def _raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("pack", "encoding"),
    [
        (gzip.compress, "gzip"),
        (gzip.compress, "identity"),
        (gzip.compress, "br"),
        (lambda data: gzip.compress(gzip.compress(data)), "gzip"),
        (lambda data: gzip.compress(data)[:-8], "gzip"),
        (zlib.compress, "deflate"),
        (_raw_deflate, "deflate"),
    ],
)
async def test_a_picture_that_is_packed_is_unpacked_whatever_the_header_says(
    server: PictureServer, session: aiohttp.ClientSession, pack: Callable[[bytes], bytes], encoding: str
) -> None:
    picture = server.picture
    server.picture = pack(picture)
    assert await fetch_picture(session, server.link(f"/said/{encoding}")) == picture


async def test_what_unpacks_to_more_than_the_limit_is_too_large(
    server: PictureServer, session: aiohttp.ClientSession
) -> None:
    server.picture = gzip.compress(bytes(64 * 2**20))
    with pytest.raises(CollectError) as caught:
        await fetch_picture(session, server.link("/said/gzip"), max_bytes=2**20)
    assert caught.value.error_code == "too_large"


@pytest.mark.parametrize("path", ["/announced-more/closed", "/announced-more/open"])
async def test_a_picture_is_kept_although_more_bytes_were_announced(
    server: PictureServer, session: aiohttp.ClientSession, path: str
) -> None:
    clock = Clock()
    fetching = asyncio.create_task(fetch_picture(session, server.link(path), timeout=90.0))
    if path.endswith("open"):
        await until(server.hanging.is_set)
        for _ in range(200):
            await asyncio.sleep(0)  # turns of the loop in which the client reads what is in its socket
        clock.forward(90.0)
    assert await asyncio.wait_for(fetching, 30.0) == server.picture


async def test_a_session_that_would_send_the_token_along_is_refused(server: PictureServer) -> None:
    async with aiohttp.ClientSession(headers={"authorization": "Bearer sk-x"}) as session:
        with pytest.raises(ValueError, match="API token"):
            await fetch_picture(session, server.link("/user/a"))
    assert server.asked == []


@pytest.mark.parametrize(
    "path",
    ["/status/403", "/status/500", "/loop", "/nowhere", "/to-file", "/cut", "/hang", "/announced", "/zeros"],
)
async def test_no_error_and_no_log_line_holds_the_signature(
    server: PictureServer,
    session: aiohttp.ClientSession,
    caplog: pytest.LogCaptureFixture,
    path: str,
) -> None:
    link = server.link(path).replace("http://", "http://user:SECRET@")
    clock = Clock()
    with caplog.at_level(logging.DEBUG):
        fetching = asyncio.create_task(fetch_picture(session, link, max_bytes=2**20))
        if path == "/hang":
            await until(server.hanging.is_set)
            clock.forward(DEFAULT_TIMEOUT)
        with pytest.raises(CollectError) as caught:
            await asyncio.wait_for(fetching, 30.0)
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + str(caught.value)
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None
    # The server's own access log knows the query, of course; ours must not.
    logged = [r.getMessage() for r in caplog.records if r.name != "aiohttp.access"]
    for text in (shown, *logged):
        assert "SECRET" not in text
        assert "q-sign" not in text
