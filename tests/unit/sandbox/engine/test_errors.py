# SPDX-License-Identifier: Apache-2.0
"""A picture that cannot be used is refused with a code, the field's name and a sentence."""

from __future__ import annotations

import pickle
import struct
import zlib

import pytest
from PIL import Image

from include.sandbox.engine import EngineError
from include.sandbox.engine.decode import MAX_BYTES, decode
from tests.unit.sandbox.engine.pictures import encoded, opened, sample


def bomb(width: int, height: int) -> bytes:
    """A tiny PNG that says it is huge."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(4096))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def gif() -> bytes:
    return encoded(Image.new("P", (64, 64)), "GIF")


CASES = {
    "empty": (b"", "empty_image", "0 bytes"),
    "text": (b"hello, this is not a picture at all" * 9, "not_an_image", "not a picture"),
    "web page": (b"<!DOCTYPE html><html>404</html>", "not_an_image", "web page"),
    "gif": (gif(), "unsupported_format", "a GIF"),
    "bmp": (encoded(Image.new("RGB", (64, 64)), "BMP"), "unsupported_format", "a BMP"),
    "tiff": (encoded(Image.new("RGB", (64, 64)), "TIFF"), "unsupported_format", "a TIFF"),
    "heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64), "unsupported_format", "HEIC"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "unsupported_format", "an SVG"),
    "truncated jpeg": (sample("hopper.jpg")[:30_000], "truncated_image", "ends too early"),
    "truncated png": (sample("photographer.png")[:60_000], "truncated_image", "ends too early"),
    "jpeg with its head only": (sample("hopper.jpg")[:20], "broken_image", "cannot be read"),
    "too many bytes": (sample("hopper.jpg") + bytes(MAX_BYTES), "image_too_large", "5 MB"),
    "bomb": (bomb(30_000, 30_000), "decompression_bomb", "million"),
    "bomb below pillow's own limit": (bomb(8_000, 8_000), "decompression_bomb", "8000 x 8000"),
    "too small": (encoded(Image.new("RGB", (400, 8)), "PNG"), "image_too_small", "400 x 8"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_useless_picture_is_refused_with_its_code(name):
    data, code, words = CASES[name]
    with pytest.raises(EngineError, match=words) as refused:
        decode(data, "reference_img")
    assert (refused.value.code, refused.value.picture) == (code, "reference_img")
    assert str(refused.value).startswith("reference_img ")


def test_the_error_names_the_picture_that_is_at_fault(engine, collins):
    for arguments, picture in (((b"x", collins), "source_img"), ((collins, b"x"), "reference_img")):
        with pytest.raises(EngineError) as refused:
            engine.swap(*arguments)
        assert refused.value.picture == picture


def test_a_damaged_png_is_refused():
    data = bytearray(sample("photographer.png"))
    middle = len(data) // 2
    data[middle : middle + 200] = bytes(200)
    with pytest.raises(EngineError) as refused:
        decode(bytes(data), "source_img")
    assert refused.value.code in {"broken_image", "truncated_image"}


def test_an_error_survives_the_way_between_processes():
    error = pickle.loads(pickle.dumps(EngineError("no_face", "source_img", "source_img shows no face")))
    assert (error.code, error.picture, str(error)) == ("no_face", "source_img", "source_img shows no face")
    assert isinstance(error, ValueError)


def test_a_whole_picture_of_the_largest_size_is_not_a_bomb():
    large = encoded(Image.new("L", (5_000, 5_000)), "PNG")
    assert decode(large, "source_img").rgb.shape == (5_000, 5_000, 3)


def test_the_sample_pictures_are_all_readable():
    for name in ("collins.jpg", "hopper_badge.png", "collins_mirrored.png", "photographer.png"):
        assert decode(sample(name), "source_img").rgb.shape[:2] == opened(sample(name)).size[::-1]
