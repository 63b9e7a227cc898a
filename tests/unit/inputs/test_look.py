# SPDX-License-Identifier: Apache-2.0
"""A look at a picture reads its first bytes, and tells what lasts from what may pass."""

from __future__ import annotations

import aiohttp
import pytest

from airflow_provider_goenhance.inputs.look import HEAD_BYTES, LookError, look_at_link
from tests.unit.inputs.file_server import FileServer
from tests.unit.inputs.photos import encoded, photo, sample
from tests.unit.raw_server import RawServer, dribbles


async def test_a_look_reads_no_more_than_the_first_bytes(
    files: FileServer, session: aiohttp.ClientSession
) -> None:
    large = encoded(photo(1200, 900), "JPEG", quality=92)
    link = files.add("/large.jpg", large, ETag='"1"')

    look = await look_at_link(session, link)

    assert (look.kind, look.size, look.width, look.height) == ("jpeg", len(large), 1200, 900)
    assert files.asked == [("/large.jpg", f"bytes=0-{HEAD_BYTES - 1}")]


async def test_a_server_without_ranges_says_the_size_too(
    files: FileServer, session: aiohttp.ClientSession
) -> None:
    large = encoded(photo(1200, 900), "PNG")
    look = await look_at_link(session, files.add("/large.png", large, ranges=False))

    assert (look.kind, look.size, look.width) == ("png", len(large), 1200)


async def test_the_validator_changes_with_the_picture(
    files: FileServer, session: aiohttp.ClientSession
) -> None:
    picture = sample("collins.jpg")
    first = await look_at_link(session, files.add("/a.jpg", picture, ETag='"1"'))
    same = await look_at_link(session, files.link("/a.jpg"))
    changed = await look_at_link(session, files.add("/a.jpg", picture, ETag='"2"'))
    unknown = await look_at_link(session, files.add("/b.jpg", picture))

    assert first.validator == same.validator != changed.validator
    assert unknown.validator is None


@pytest.mark.parametrize(
    ("status", "lasting"),
    [(404, True), (403, True), (410, True), (400, True), (503, False), (429, False), (500, False)],
)
async def test_a_status_lasts_or_may_pass(
    files: FileServer, session: aiohttp.ClientSession, status: int, lasting: bool
) -> None:
    with pytest.raises(LookError, match=f"its server answers HTTP {status}") as caught:
        await look_at_link(session, files.add("/a.jpg", b"", status))
    assert (caught.value.code, caught.value.lasting) == ("input_unreachable", lasting)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<html><body>Log in</body></html>", "HTML page"),
        (b"", "it is empty"),
        (b'{"a": 1}', "JSON document"),
    ],
)
async def test_what_is_no_picture_is_named(
    files: FileServer, session: aiohttp.ClientSession, body: bytes, said: str
) -> None:
    with pytest.raises(LookError, match=said) as caught:
        await look_at_link(session, files.add("/a.jpg", body))
    assert (caught.value.code, caught.value.lasting) == ("input_not_an_image", True)


async def test_a_server_that_is_not_there_may_come_back(session: aiohttp.ClientSession) -> None:
    with FileServer() as gone:
        link = gone.link("/a.jpg?X-Amz-Signature=secret")
    with pytest.raises(LookError, match="could not be fetched") as caught:
        await look_at_link(session, link)
    assert not caught.value.lasting
    assert "secret" not in str(caught.value)


async def test_a_server_that_does_not_answer_is_not_waited_for(session: aiohttp.ClientSession) -> None:
    slow = dribbles(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n", drop=b"X: y\r\n")
    with RawServer(slow) as server, pytest.raises(LookError, match=r"did not answer within 0.2 s") as caught:
        await look_at_link(session, f"http://127.0.0.1:{server.port}/a.jpg", seconds=0.2)
    assert not caught.value.lasting
