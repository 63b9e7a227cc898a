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
import yarl

from airflow_provider_goenhance.exceptions import CollectError, LinkExpiredError
from airflow_provider_goenhance.pictures.fetch import (
    DEFAULT_TIMEOUT,
    check_not_inward,
    fetch_picture,
    next_hop,
)
from tests.unit.clock import Clock, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.pictures.picture_server import PictureServer


async def test_a_picture_is_fetched_byte_for_byte(
    server: PictureServer, session: aiohttp.ClientSession
) -> None:
    fetched = await fetch_picture(session, server.link("/user/face_0.jpg"))
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


async def test_a_redirect_out_of_the_web_is_not_followed(
    server: PictureServer, session: aiohttp.ClientSession
) -> None:
    with pytest.raises(CollectError) as caught:
        await fetch_picture(session, server.link("/to-file"))
    assert caught.value.error_code == "bad_link"


def test_a_redirect_from_https_to_http_is_not_followed() -> None:
    secure = yarl.URL("https://static.example.org/a.jpg?sig=SECRET")
    with pytest.raises(CollectError) as caught:
        next_hop(secure, "http://static.example.org/a.jpg?sig=SECRET", str(secure))
    assert caught.value.error_code == "unsafe_redirect"
    assert "SECRET" not in caught.value.message
    assert next_hop(secure, "/b.jpg?sig=2", str(secure)) == yarl.URL("https://static.example.org/b.jpg?sig=2")


async def test_the_signature_arrives_byte_for_byte(
    server: PictureServer, session: aiohttp.ClientSession
) -> None:
    query = "a=%2F%2f&q-sign-time=1%3B2;3&b=%7E~&c=a+b%20c"
    await fetch_picture(session, f"{server.base}/query?{query}")
    assert server.asked == [f"/query?{query}"]


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("/odd/a%2Fb%2fc.jpg?x=%2F", "/odd/a%2Fb%2fc.jpg?x=%2F"),
        ("/odd/a%20b+c.jpg?x=a+b%20c", "/odd/a%20b+c.jpg?x=a+b%20c"),
        ("/odd/100%.jpg?p=50%&q=%zz", "/odd/100%.jpg?p=50%&q=%zz"),
        ("/odd/[1](2){3}|4^5`6.jpg?f[]={1|2}^`", "/odd/[1](2){3}|4^5`6.jpg?f[]={1|2}^`"),
        ("/odd/a/../b/./c//d.jpg", "/odd/a/../b/./c//d.jpg"),
        ("/odd/~%7E;v=1,2!$&'()*@:=.jpg", "/odd/~%7E;v=1,2!$&'()*@:=.jpg"),
        ("/odd/my face.jpg?t=1 2", "/odd/my%20face.jpg?t=1%202"),
        ("/odd/%2F/syn\u00f8.jpg?n=%C3%B8\u00f8", "/odd/%2F/syn%C3%B8.jpg?n=%C3%B8%C3%B8"),
        ("/odd/\u732b\U0001f600.jpg", "/odd/%E7%8C%AB%F0%9F%98%80.jpg"),
        ("/odd/a.jpg?", "/odd/a.jpg"),
        ("/odd/a.jpg?x=1#part", "/odd/a.jpg?x=1"),
        ("/odd/a.jpg \n", "/odd/a.jpg"),
    ],
)
async def test_a_link_goes_out_byte_for_byte_but_for_what_cannot_be_sent(
    server: PictureServer, session: aiohttp.ClientSession, given: str, sent: str
) -> None:
    assert await fetch_picture(session, server.base + given) == server.picture
    assert server.asked == [sent]


@pytest.mark.parametrize(
    ("location", "sent"),
    [
        (b"/odd/synspr\xf8ve.jpg", "/odd/synspr%F8ve.jpg"),
        ("/odd/synspr\u00f8ve.jpg".encode(), "/odd/synspr%C3%B8ve.jpg"),
        (b"/odd/a b%2Fc.jpg?s=%2f", "/odd/a%20b%2Fc.jpg?s=%2f"),
        (b"odd/next.jpg", "/odd/next.jpg"),
        (b"./odd/../odd/next.jpg?a=%2F", "/odd/next.jpg?a=%2F"),
        (b"/odd/a.jpg?s=1#part", "/odd/a.jpg?s=1"),
        (b"//HOST/odd/a%2Fb.jpg", "/odd/a%2Fb.jpg"),
        (b"http://HOST/odd/a%2Fb\xe9.jpg", "/odd/a%2Fb%E9.jpg"),
        (b"HTTP://HOST/odd/a.jpg", "/odd/a.jpg"),
        (b"  /odd/a.jpg  ", "/odd/a.jpg"),
    ],
)
async def test_a_redirect_is_followed_however_its_target_is_written(
    server: PictureServer, session: aiohttp.ClientSession, location: bytes, sent: str
) -> None:
    server.location = location.replace(b"HOST", server.base.removeprefix("http://").encode())
    assert await fetch_picture(session, server.link("/to")) == server.picture
    assert server.asked == [sent]


@pytest.mark.parametrize("location", [b"", b"   "])
async def test_a_redirect_to_nothing_is_a_failed_download(
    server: PictureServer, session: aiohttp.ClientSession, location: bytes
) -> None:
    server.location = location
    with pytest.raises(CollectError, match="without a target") as caught:
        await fetch_picture(session, server.link("/to"))
    assert caught.value.error_code == "download_failed"


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1/latest",
        "http://127.1/latest",
        "http://2130706433/latest",
        "http://[::1]/latest",
        "http://[::ffff:10.0.0.1]/latest",
        "http://169.254.169.254/latest/meta-data",
        "http://10.1.2.3/",
        "http://192.168.0.1/",
        "http://[fe80::1]/",
        "http://[fd00::1]/",
        "http://0.0.0.0/",
        "http://localhost/",
        "http://metadata.google.internal/",
        "http://printer.local./",
    ],
)
async def test_a_redirect_from_a_public_to_an_inner_address_is_not_followed(target: str) -> None:
    public = yarl.URL("http://93.184.215.14/a.jpg")
    with pytest.raises(CollectError, match="redirected to a private address") as caught:
        await check_not_inward(public, yarl.URL(target), str(public))
    assert caught.value.error_code == "unsafe_redirect"
    assert target not in caught.value.message
    await check_not_inward(public, yarl.URL("http://93.184.215.15/"), str(public))
    await check_not_inward(yarl.URL("http://10.0.0.8/a.jpg"), yarl.URL(target), str(public))


async def test_a_public_host_that_redirects_into_the_local_network_is_not_followed(
    server: PictureServer,
) -> None:
    server.location = f"{server.base}/user/secret.jpg".encode()
    # The server as a proxy: what it answers comes from a public address.
    async with aiohttp.ClientSession(proxy=server.base, auto_decompress=False) as session:
        with pytest.raises(CollectError, match="redirected to a private address") as caught:
            await fetch_picture(session, "http://93.184.215.14/to")
    assert caught.value.error_code == "unsafe_redirect"
    assert server.asked == []


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
