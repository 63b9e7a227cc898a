# SPDX-License-Identifier: Apache-2.0
"""Links and redirects as they are written: byte for byte, and not into the local network."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import yarl

from airflow_provider_goenhance.addresses import Trail
from airflow_provider_goenhance.exceptions import CollectError
from airflow_provider_goenhance.pictures.fetch import check_hop, fetch_picture, next_hop
from airflow_provider_goenhance.pictures.session import open_session

if TYPE_CHECKING:
    from tests.unit.pictures.picture_server import PictureServer


async def test_a_redirect_out_of_the_web_is_not_followed(
    server: PictureServer, session: aiohttp.ClientSession
) -> None:
    with pytest.raises(CollectError) as caught:
        await fetch_picture(session, server.link("/to-file"))
    assert caught.value.error_code == "bad_link"


async def test_a_redirect_from_https_to_http_is_not_followed() -> None:
    secure = yarl.URL("https://93.184.215.14/a.jpg?sig=SECRET")
    with pytest.raises(CollectError) as caught:
        await check_hop(secure, yarl.URL("http://93.184.215.14/a.jpg?sig=SECRET"), str(secure), Trail())
    assert caught.value.error_code == "unsafe_redirect"
    assert "redirected from https to http; not followed" in caught.value.message
    assert "SECRET" not in caught.value.message


def test_the_target_of_a_redirect_is_read_as_it_is_written() -> None:
    secure = yarl.URL("https://static.example.org/a.jpg?sig=SECRET")
    assert next_hop(secure, "/b.jpg?sig=2", str(secure)) == yarl.URL("https://static.example.org/b.jpg?sig=2")


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


async def test_a_redirect_to_a_very_long_link_is_followed(
    server: PictureServer, session: aiohttp.ClientSession
) -> None:
    server.location = b"/odd/a.jpg?signature=" + b"f" * 7000
    server.padding = b"X-Policy: " + b"p" * 30_000
    assert await fetch_picture(session, server.link("/to")) == server.picture


UNUSABLE = [
    "http://img.example.com:99999/a.jpg",
    "http://img.example.com:abc/a.jpg",
    f"http://{'a' * 64}.example.com/a.jpg",
    "http://img..example.com/a.jpg",
    "http:///a.jpg",
    "http://[::1/a.jpg",
    "http:img.example.com/a.jpg",
]


@pytest.mark.parametrize("link", UNUSABLE)
async def test_a_link_without_a_usable_host_or_port_is_a_bad_link(
    server: PictureServer, session: aiohttp.ClientSession, link: str
) -> None:
    server.location = link.encode()
    for asked in (link, server.link("/to")):
        with pytest.raises(CollectError) as caught:
            await fetch_picture(session, asked)
        assert caught.value.error_code == "bad_link"


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
    with pytest.raises(CollectError, match="redirected from a public to an internal address") as caught:
        await check_hop(public, yarl.URL(target), str(public), Trail())
    assert caught.value.error_code == "unsafe_redirect"
    assert target not in caught.value.message
    await check_hop(public, yarl.URL("http://93.184.215.15/"), str(public), Trail())
    await check_hop(yarl.URL("http://10.0.0.8/a.jpg"), yarl.URL(target), str(public), Trail())


async def test_a_public_host_that_redirects_into_the_local_network_is_not_followed(
    server: PictureServer,
) -> None:
    server.location = f"{server.base}/user/secret.jpg".encode()
    # The server as a proxy: what it answers comes from a public address.
    async with aiohttp.ClientSession(proxy=server.base, auto_decompress=False) as session:
        with pytest.raises(CollectError, match="redirected from a public to an internal address") as caught:
            await fetch_picture(session, "http://93.184.215.14/to")
    assert caught.value.error_code == "unsafe_redirect"
    assert server.asked == []


async def test_a_name_that_resolves_inwards_only_when_the_connection_is_made_gets_no_request(
    server: PictureServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = socket.getaddrinfo
    answers = ["93.184.215.14"]  # and from the second time on 127.0.0.1

    def getaddrinfo(host: str, port: Any, *args: Any, **kwargs: Any) -> Any:
        if host == "rebinds.example.com":
            host = answers.pop() if answers else "127.0.0.1"
        return resolve(host, port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    # The server as a proxy for all other hosts: what it answers comes from a public address.
    monkeypatch.setenv("http_proxy", server.base)
    monkeypatch.setenv("no_proxy", "rebinds.example.com")
    inwards = server.base.replace("127.0.0.1", "rebinds.example.com")
    server.location = f"{inwards}/user/secret.jpg".encode()
    async with open_session() as session:
        with pytest.raises(CollectError, match="redirected from a public to an internal address") as caught:
            await fetch_picture(session, "http://93.184.215.14/to")
        assert caught.value.error_code == "unsafe_redirect"
        assert answers == server.asked == []
        # A link that a person has entered may lead there, and so may its connection, which is kept open.
        assert await fetch_picture(session, f"{inwards}/user/face.jpg") == server.picture
        answers.append("93.184.215.14")
        with pytest.raises(CollectError, match="redirected from a public to an internal address"):
            await fetch_picture(session, "http://93.184.215.14/to")
    assert server.asked == ["/user/face.jpg"]
