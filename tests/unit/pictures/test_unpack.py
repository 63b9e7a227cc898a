# SPDX-License-Identifier: Apache-2.0
"""A downloaded body is unpacked if it is packed, whatever its header says, and never beyond its limit."""

from __future__ import annotations

import gzip
import importlib.util
import zlib

import pytest

from airflow_provider_goenhance.pictures.unpack import unpack

PICTURE = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 64
BIG = len(PICTURE) * 2


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def brotli(data: bytes) -> bytes:
    library = pytest.importorskip("brotli", reason="brotli, of aiohttp's extra speedups, is not installed")
    return bytes(library.compress(data))


@pytest.mark.parametrize("encoding", ["", "gzip", "br", "deflate"])
def test_a_picture_stays_as_it_is_whatever_the_header_says(encoding: str) -> None:
    assert unpack(PICTURE, encoding, BIG) == PICTURE


@pytest.mark.parametrize(
    "pack", [gzip.compress, zlib.compress, lambda data: gzip.compress(zlib.compress(data))]
)
@pytest.mark.parametrize("encoding", ["", "gzip", "br", "identity"])
def test_a_packing_with_a_signature_is_found_without_its_header(pack, encoding: str) -> None:  # type: ignore[no-untyped-def]
    assert unpack(pack(PICTURE), encoding, BIG) == PICTURE


@pytest.mark.parametrize(("pack", "encoding"), [(raw_deflate, "Deflate"), (brotli, "br")])
def test_a_packing_without_a_signature_needs_its_header_and_must_hold_a_picture(pack, encoding: str) -> None:  # type: ignore[no-untyped-def]
    assert unpack(pack(PICTURE), encoding, BIG) == PICTURE
    assert unpack(pack(PICTURE), "", BIG) == pack(PICTURE)
    text = pack(b"<html>Not found</html>" * 10)
    assert unpack(text, encoding, BIG) == text


@pytest.mark.parametrize(
    ("pack", "encoding"), [(gzip.compress, ""), (raw_deflate, "deflate"), (brotli, "br")]
)
def test_content_above_the_limit_is_refused(pack, encoding: str) -> None:  # type: ignore[no-untyped-def]
    assert unpack(pack(PICTURE * 100), encoding, BIG) is None


def test_a_body_that_ends_early_gives_what_there_is_of_it() -> None:
    content = unpack(gzip.compress(PICTURE)[:-12], "gzip", BIG)
    assert content is not None
    assert PICTURE.startswith(content)
    assert len(content) > 0


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip"])
def test_what_only_claims_to_be_packed_stays_as_it_is(encoding: str) -> None:
    assert unpack(b"\x1f\x8b" + b"no gzip at all", encoding, BIG) == b"\x1f\x8bno gzip at all"
    assert unpack(b"plain text", encoding, BIG) == b"plain text"


def test_brotli_stays_packed_where_its_library_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = brotli(PICTURE)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert unpack(packed, "br", BIG) == packed
