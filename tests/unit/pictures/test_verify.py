# SPDX-License-Identifier: Apache-2.0
"""Telling whole pictures from everything else."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from airflow_provider_goenhance.exceptions import CollectError
from airflow_provider_goenhance.pictures.verify import Picture, identify_picture
from tests.unit.pictures.pictures import FORMATS, drawing, encoded

if TYPE_CHECKING:
    from pathlib import Path


def _refusal(tmp_path: Path, data: bytes, **limits: int) -> CollectError:
    (tmp_path / "p").write_bytes(data)
    with pytest.raises(CollectError) as caught:
        identify_picture(tmp_path / "p", **limits)
    return caught.value


@pytest.mark.parametrize("kind", FORMATS)
def test_a_whole_picture_is_known_by_its_content(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "no-extension"
    path.write_bytes(encoded(kind))
    assert identify_picture(path) == Picture(kind, FORMATS[kind][1], 96, 64)  # type: ignore[arg-type]


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
def test_the_variants_of_a_format_are_known_too(
    tmp_path: Path, kind: str, options: dict[str, object]
) -> None:
    path = tmp_path / "p"
    path.write_bytes(encoded(kind, **options))  # type: ignore[arg-type]
    assert identify_picture(path).kind == kind


def test_a_gif_is_a_picture_too(tmp_path: Path) -> None:
    drawing("P").save(tmp_path / "p", "GIF")
    assert identify_picture(tmp_path / "p") == Picture("gif", ".gif", 96, 64)


def test_what_a_camera_hangs_behind_a_jpeg_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "p").write_bytes(encoded("jpeg") + b"trailer of a phone")
    assert identify_picture(tmp_path / "p").kind == "jpeg"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the answer was empty"),
        (bytes(5000), "5000 bytes of zeros"),
        (b"\xef\xbb\xbf\n <!DOCTYPE html><p>Sorry", "it is an HTML page"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "it is an XML document"),
        (b'{"code": 500, "msg": ""}', "it is a JSON document"),
        (b"MZ\x90\x00", "4 bytes of something else"),
        (b"BM" + bytes(100), "102 bytes of something else"),
    ],
)
def test_what_is_no_picture_is_refused_with_what_it_is(tmp_path: Path, data: bytes, reason: str) -> None:
    refusal = _refusal(tmp_path, data)
    assert refusal.error_code == "not_an_image"
    assert reason in refusal.message


@pytest.mark.parametrize("kind", [*FORMATS, "progressive", "gif"])
def test_a_picture_cut_anywhere_is_refused(tmp_path: Path, kind: str) -> None:
    if kind == "gif":
        drawing("P").save(tmp_path / "whole", "GIF")
        data = (tmp_path / "whole").read_bytes()
    else:
        data = encoded("jpeg", progressive=True) if kind == "progressive" else encoded(kind)
    for length in {13, 30, 200, len(data) // 4, len(data) // 2, len(data) - 20, len(data) - 1}:
        refusal = _refusal(tmp_path, data[:length])
        assert refusal.error_code == "truncated_image", f"cut at {length}"
        assert str(length) in refusal.message


# WebP has neither check sums nor an end mark inside its data: its zeros decode to grey.
@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_a_picture_whose_end_is_zeros_is_refused(tmp_path: Path, kind: str) -> None:
    data = encoded(kind)
    half = len(data) // 2
    assert _refusal(tmp_path, data[:half] + bytes(len(data) - half)).error_code == "truncated_image"


def test_a_damaged_png_is_refused_by_its_check_sum(tmp_path: Path) -> None:
    data = bytearray(encoded("png"))
    data[len(data) // 2] ^= 1
    assert "check sum" in _refusal(tmp_path, bytes(data)).message


def test_a_jpeg_header_with_nothing_in_it_is_refused(tmp_path: Path) -> None:
    assert _refusal(tmp_path, b"\xff\xd8\xff\xd9").error_code == "truncated_image"


def test_a_container_with_the_wrong_inside_is_refused(tmp_path: Path) -> None:
    body = b"WEBP" + b"VP8 " + struct.pack("<I", 10) + bytes(10)
    assert _refusal(tmp_path, b"RIFF" + struct.pack("<I", len(body)) + body).error_code == "truncated_image"


def test_more_pixels_than_allowed_are_not_decoded(tmp_path: Path) -> None:
    refusal = _refusal(tmp_path, encoded("png"), max_pixels=96 * 64 - 1)
    assert refusal.error_code == "too_many_pixels"
    assert "96 x 64" in refusal.message


def test_a_decompression_bomb_is_refused_by_its_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("the bomb was decoded"))
    assert _refusal(tmp_path, bomb).error_code == "too_many_pixels"
