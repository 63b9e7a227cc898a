# SPDX-License-Identifier: Apache-2.0
"""Telling whole pictures from everything else."""

from __future__ import annotations

import struct
import zlib

import pytest
from PIL import Image

from airflow_provider_goenhance.exceptions import CollectError
from airflow_provider_goenhance.pictures.verify import Picture, identify_picture
from tests.unit.pictures.pictures import FORMATS, encoded, gif


def _refusal(data: bytes, **limits: int) -> CollectError:
    with pytest.raises(CollectError) as caught:
        identify_picture(data, **limits)
    return caught.value


@pytest.mark.parametrize("kind", FORMATS)
def test_a_whole_picture_is_known_by_its_content(kind: str) -> None:
    assert identify_picture(encoded(kind)) == Picture(kind, FORMATS[kind][1], 96, 64)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("jpeg", {"progressive": True}),
        ("jpeg", {"mode": "L"}),
        ("jpeg", {"mode": "CMYK"}),
        ("jpeg", {"restart_marker_blocks": 2}),
        ("png", {"mode": "RGBA"}),
        ("png", {"mode": "P"}),
        ("webp", {"lossless": True}),
        ("webp", {"mode": "RGBA", "lossless": True}),
        ("webp", {"mode": "RGBA"}),
    ],
)
def test_the_variants_of_a_format_are_known_too(kind: str, options: dict[str, object]) -> None:
    assert identify_picture(encoded(kind, **options)).kind == kind  # type: ignore[arg-type]


def test_a_gif_is_a_picture_too() -> None:
    assert identify_picture(gif()) == Picture("gif", ".gif", 96, 64)


def test_what_a_camera_hangs_behind_a_jpeg_does_no_harm() -> None:
    assert identify_picture(encoded("jpeg") + b"trailer of a phone").kind == "jpeg"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the response was empty"),
        (bytes(5000), "5000 bytes of zeros"),
        (b"\xef\xbb\xbf\n <!DOCTYPE html><p>Sorry", "it is an HTML page"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "it is an XML document"),
        (b'{"code": 500, "msg": ""}', "it is a JSON document"),
        (b"MZ\x90\x00", "4 bytes of something else"),
        (b"BM" + bytes(100), "102 bytes of something else"),
    ],
)
def test_what_is_no_picture_is_refused_with_what_it_is(data: bytes, reason: str) -> None:
    refusal = _refusal(data)
    assert refusal.error_code == "not_an_image"
    assert reason in refusal.message


@pytest.mark.parametrize("kind", [*FORMATS, "progressive", "gif"])
def test_a_picture_cut_anywhere_is_refused(kind: str) -> None:
    others = {"gif": gif(), "progressive": encoded("jpeg", progressive=True)}
    data = others.get(kind) or encoded(kind)
    for length in {13, 30, 200, len(data) // 4, len(data) // 2, len(data) - 20, len(data) - 1}:
        refusal = _refusal(data[:length])
        assert refusal.error_code == "truncated_image", f"cut at {length}"
        assert str(length) in refusal.message


# WebP has neither check sums nor an end mark inside its data: its zeros decode to grey.
@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_a_picture_whose_end_is_zeros_is_refused(kind: str) -> None:
    data = encoded(kind)
    half = len(data) // 2
    assert _refusal(data[:half] + bytes(len(data) - half)).error_code == "truncated_image"


def test_a_damaged_png_is_refused_by_its_check_sum() -> None:
    data = bytearray(encoded("png"))
    data[len(data) // 2] ^= 1
    assert "check sum" in _refusal(bytes(data)).message


def test_a_jpeg_header_with_nothing_in_it_is_refused() -> None:
    assert _refusal(b"\xff\xd8\xff\xd9").error_code == "truncated_image"


def test_a_container_with_the_wrong_inside_is_refused() -> None:
    body = b"WEBP" + b"VP8 " + struct.pack("<I", 10) + bytes(10)
    assert _refusal(b"RIFF" + struct.pack("<I", len(body)) + body).error_code == "truncated_image"


def test_more_pixels_than_allowed_are_not_decoded() -> None:
    refusal = _refusal(encoded("png"), max_pixels=96 * 64 - 1)
    assert refusal.error_code == "too_many_pixels"
    assert "96 x 64" in refusal.message


def test_a_decompression_bomb_is_refused_by_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("the bomb was decoded"))
    assert _refusal(bomb).error_code == "too_many_pixels"
