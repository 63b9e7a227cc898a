# SPDX-License-Identifier: Apache-2.0
"""Thumbnails of pictures of any size, in bounded memory."""

from __future__ import annotations

import io
import threading

import pytest
from PIL import Image

from airflow_provider_goenhance.pictures.decode_budget import DecodeBudget
from airflow_provider_goenhance.pictures.thumbnail import THUMBNAIL, NoPreviewError, thumbnail_of
from tests.unit.pictures.pictures import encoded, gif


def _edges(data: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(thumbnail_of(data))) as picture:
        return picture.size


def _file(kind: str, size: tuple[int, int], mode: str = "L", **options: object) -> bytes:
    out = io.BytesIO()
    Image.new(mode, size).save(out, kind, **options)
    return out.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        encoded("jpeg", size=(400, 200))[:-2],
        encoded("jpeg", size=(400, 200), progressive=True),
        encoded("png", size=(400, 200))[:-12],
        encoded("webp", size=(400, 200))[:4] + bytes(4) + encoded("webp", size=(400, 200))[8:],
        encoded("avif", size=(400, 200)),
        encoded("tiff", size=(400, 200)),
        encoded("bmp", size=(400, 200)),
        encoded("jp2", size=(400, 200)),
        _file("PNG", (400, 200), "I;16"),
        _file("PNG", (400, 200), "1"),
    ],
)
def test_every_picture_that_is_kept_and_can_be_decoded_has_a_thumbnail(data: bytes) -> None:
    assert _edges(data) == (THUMBNAIL, THUMBNAIL // 2)


def test_a_gif_has_a_thumbnail() -> None:
    assert _edges(gif()) == (96, 64)


def test_a_large_jpeg_is_decoded_at_a_fraction_of_its_size() -> None:
    assert max(_edges(_file("JPEG", (9000, 8800)))) == THUMBNAIL


@pytest.mark.parametrize(
    ("kind", "options"), [("PNG", {}), ("JPEG", {"progressive": True}), ("TIFF", {"compression": "tiff_lzw"})]
)
def test_a_picture_that_would_take_too_much_memory_is_not_decoded(
    kind: str, options: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = _file(kind, (9000, 8800), **options)
    monkeypatch.setattr(Image.Image, "thumbnail", lambda *_: pytest.fail("it was decoded"))
    with pytest.raises(NoPreviewError, match=r"too large to preview \(9000 x 8800 pixels\)"):
        thumbnail_of(data)


def test_a_format_without_a_decoder_is_named() -> None:
    with pytest.raises(NoPreviewError, match="no preview of HEIC files"):
        thumbnail_of(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")


def test_pictures_are_decoded_at_the_same_time_only_within_the_budget() -> None:
    budget = DecodeBudget(100)
    small, large = threading.Event(), threading.Event()

    def decode(size: int, done: threading.Event) -> threading.Thread:
        def run() -> None:
            with budget.of(size):
                done.set()

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    with budget.of(40):
        fits = decode(60, small)
        fits.join(30)
        assert small.is_set()
        waits = decode(1000, large)
        assert not large.is_set()
    waits.join(30)
    assert large.is_set(), "a picture above the budget is decoded alone"
