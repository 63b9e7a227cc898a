# SPDX-License-Identifier: Apache-2.0
"""Whatever arrived of a response, an id that is complete in it is found, and nothing else is."""

from __future__ import annotations

import gzip
import json
import zlib

import pytest

from airflow_provider_goenhance.api.exchange import MAX_ANSWER_BYTES, Exchange, unpacked
from tests.unit.raw_server import ACCEPTED, in_chunks, reply

EARLY = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
END_OF_ID = b'job-1"'


def id_in(received: bytes) -> str | None:
    exchange = Exchange(connected=True, received=bytearray(received))
    if not exchange.recover_answer():
        return None
    assert exchange.status == 200
    img_uuid: str = json.loads(exchange.body)["data"]["img_uuid"]
    return img_uuid


@pytest.mark.parametrize(
    "whole",
    [
        reply(ACCEPTED),
        EARLY + reply(ACCEPTED),
        reply(ACCEPTED, b"Transfer-Encoding: chunked"),
        in_chunks(ACCEPTED),
    ],
    ids=["plain", "after 103", "false chunks", "chunks"],
)
def test_an_id_is_found_from_the_byte_on_that_completes_it(whole: bytes) -> None:
    complete = whole.index(END_OF_ID) + len(END_OF_ID)
    for end in range(1, len(whole) + 1):
        assert id_in(whole[:end]) == ("job-1" if end >= complete else None), whole[:end]


@pytest.mark.parametrize("end", [b"", b"0\r\n\r\n", b"zz\r\n"], ids=["cut", "whole", "broken"])
def test_an_id_is_found_however_the_answer_is_divided_into_chunks(end: bytes) -> None:
    for place in range(1, len(ACCEPTED)):
        assert id_in(in_chunks(ACCEPTED[:place], ACCEPTED[place:], end=end)) == "job-1"


@pytest.mark.parametrize("garbage", [b"", b"{", b"{}", b"[]", b'"img_uuid"', b'{"img_uuid": "', bytes(500)])
def test_nothing_is_found_where_there_is_no_id(garbage: bytes) -> None:
    assert id_in(garbage) is None
    assert id_in(reply(garbage)) is None


def test_the_error_that_was_answered_keeps_its_status_and_headers() -> None:
    limited = reply(b'{"code":429,"msg":""}', b"Retry-After: 7", status=b"429 No", length=99)
    exchange = Exchange(connected=True, received=bytearray(limited))
    assert exchange.recover_answer()
    assert (exchange.status, exchange.headers.get("retry-after")) == (429, "7")


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_a_packed_body_is_unpacked_as_far_as_it_goes(pack: object) -> None:
    text = b"".join(b"%d," % number for number in range(20_000))
    packed = pack(text)  # type: ignore[operator]
    assert unpacked(packed) == text
    part = unpacked(packed[: len(packed) // 2])
    assert part
    assert text.startswith(part)
    broken = unpacked(packed[: len(packed) // 2] + b"\xff" * 500)
    assert broken.startswith(text[:1000])
    assert unpacked(b"") == b""
    assert unpacked(ACCEPTED) == ACCEPTED


def test_a_small_body_cannot_fill_the_memory() -> None:
    assert len(unpacked(gzip.compress(bytes(100 * MAX_ANSWER_BYTES)))) <= 2 * MAX_ANSWER_BYTES
