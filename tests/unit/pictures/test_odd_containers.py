# SPDX-License-Identifier: Apache-2.0
"""Containers that programs write although their format does not foresee them: what holds a whole picture is kept."""

from __future__ import annotations

import io
import struct
import zlib

import pytest

from airflow_provider_goenhance.exceptions import CollectError
from airflow_provider_goenhance.pictures.formats.mark import mark_picture
from airflow_provider_goenhance.pictures.verify import Picture, identify_picture
from tests.unit.pictures.pictures import drawing, encoded, gif, jpeg_segment

SIZE = (96, 64)
ROWS = b"".join(b"\0" + bytes((x * y) % 251 for x in range(96 * 3)) for y in range(64))
EMPTY_FRAME = b"\x2c" + bytes(9) + b"\x02\x02\x4c\x01\0"


def _png(data: bytes, *, bits: int = 8, color: int = 2, interlaced: int = 0, front: bytes = b"") -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", *SIZE, bits, color, 0, 0, interlaced)
    before = chunk(b"CgBI", front) if front else b""
    parts = [before, chunk(b"IHDR", header), chunk(b"IDAT", data), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _headless(rows: bytes) -> bytes:
    """Pack as Apple's encoder does: no zlib header, no check sum."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(rows) + packer.flush()


def _frames() -> bytes:
    out = io.BytesIO()
    first, *others = [drawing("P").rotate(angle) for angle in (0, 90, 180)]
    first.save(out, "GIF", save_all=True, append_images=others)
    return out.getvalue()


def _without_tables(data: bytes) -> bytes:
    """Leave the Huffman tables out, as the frames of a Motion JPEG do."""
    found = data.find(b"\xff\xc4")
    while found >= 0:
        data = data[:found] + data[found + 2 + int.from_bytes(data[found + 2 : found + 4], "big") :]
        found = data.find(b"\xff\xc4")
    return data


def _with_frame(marker: int, bits: int) -> bytes:
    data = bytearray(encoded("jpeg"))
    place = data.index(b"\xff\xc0")
    data[place + 1], data[place + 4] = marker, bits
    return bytes(data)


def _wrong_sum(rows: bytes) -> bytes:
    packed = zlib.compress(rows)
    return packed[:-1] + bytes([packed[-1] ^ 1])


APPLE = b"\x50\0\x20\x02"
GIF_HEAD = 13 + 3 * (2 << (gif()[10] & 7))
KEPT = {
    "png: wrong check sum behind the data": _png(_wrong_sum(ROWS)),
    "png: Apple's": _png(_headless(ROWS), front=APPLE),
    "png: Apple's, in name only": _png(zlib.compress(ROWS), front=APPLE),
    "png: chunks behind its end": encoded("png") + b"\0\0\0\x03tEXta\0b\0\0\0\0",
    "png: more rows than its header has": _png(zlib.compress(ROWS + bytes(900))),
    "png: 16 bits": _png(zlib.compress(b"".join(b"\0" + bytes(96 * 8) for _ in range(64))), bits=16, color=6),
    "gif: an empty frame behind the others": _frames()[:-1] + EMPTY_FRAME + b";",
    "gif: an empty frame in front": gif()[:GIF_HEAD] + EMPTY_FRAME + gif()[GIF_HEAD:],
    "gif: version 87a": b"GIF87a" + gif()[6:],
    "jpeg: fill bytes": encoded("jpeg")[:-2].replace(b"\xff\xdb", b"\xff\xff\xff\xdb", 1)
    + b"\xff\xff\xff\xd9",
    "jpeg: without its tables": _without_tables(encoded("jpeg")),
    "jpeg: four colors of Adobe's": encoded("jpeg", "CMYK"),
    "jpeg: 12 bits": _with_frame(0xC1, 12),
    "jpeg: lossless": _with_frame(0xC3, 8),
}


@pytest.mark.parametrize("name", KEPT)
def test_a_picture_in_an_odd_container_is_kept_and_marked_or_gets_a_sidecar(name: str) -> None:
    picture = identify_picture(KEPT[name])
    assert (picture.kind, picture.width, picture.height) == (name.partition(":")[0], *SIZE)
    outcome, marked = mark_picture(KEPT[name])
    assert outcome == ("no_room" if picture.kind == "gif" else "marked")
    assert identify_picture(marked) == picture


ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


@pytest.mark.parametrize("interlaced", [0, 1])
@pytest.mark.parametrize(
    ("bits", "color", "channels"), [(1, 0, 1), (8, 0, 1), (16, 0, 1), (8, 2, 3), (16, 2, 3), (16, 6, 4)]
)
def test_apples_png_needs_each_of_its_rows(bits: int, color: int, channels: int, interlaced: int) -> None:
    passes = ADAM7 if interlaced else ((0, 0, 1, 1),)
    sizes = [((96 - x + dx - 1) // dx, (64 - y + dy - 1) // dy) for x, y, dx, dy in passes]
    rows = b"".join(bytes(height * (1 + -(-width * bits * channels // 8))) for width, height in sizes)
    shape = {"bits": bits, "color": color, "interlaced": interlaced, "front": APPLE}

    assert identify_picture(_png(_headless(rows), **shape)).width == 96  # type: ignore[arg-type]
    with pytest.raises(CollectError) as caught:
        identify_picture(_png(_headless(rows[:-1]), **shape))  # type: ignore[arg-type]
    assert caught.value.error_code == "truncated_image"


def _box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content) + 8) + name + content


HEAD = _box(b"ftyp", b"mif1\0\0\0\0mif1heicmiaf")
META = _box(b"meta", bytes(20))
DATA = _box(b"mdat", bytes(100))


@pytest.mark.parametrize("behind", [b"", bytes(12), b"\r\n", b"<!-- edge-17 -->\r\n", _box(b"free", b"")])
def test_what_a_server_hangs_behind_the_boxes_of_a_picture_does_no_harm(behind: bytes) -> None:
    assert identify_picture(HEAD + META + DATA + behind) == Picture("heic", ".heic", None, None)
    assert identify_picture(HEAD + _box(b"meta", _box(b"idat", b"x")) + behind).kind == "heic"


@pytest.mark.parametrize("data", [HEAD, HEAD + META, HEAD + META + DATA[:-1], HEAD[:-1]])
def test_boxes_without_their_picture_are_refused(data: bytes) -> None:
    with pytest.raises(CollectError) as caught:
        identify_picture(data)
    assert caught.value.error_code == "truncated_image"


@pytest.mark.parametrize("data", [_with_frame(0xC1, 12), _with_frame(0xC3, 8)])
def test_a_jpeg_of_a_rare_coding_is_refused_without_its_end_or_beyond_the_size(data: bytes) -> None:
    assert identify_picture(data[:2] + jpeg_segment(0xFE, b"by hand") + data[2:]).width == 96
    for cut in (data[:-2], data[: len(data) // 2]):
        with pytest.raises(CollectError) as caught:
            identify_picture(cut)
        assert caught.value.error_code == "truncated_image"
    with pytest.raises(CollectError) as caught:
        identify_picture(data, max_pixels=96 * 64 - 1)
    assert caught.value.error_code == "too_many_pixels"


def test_a_gif_of_empty_frames_alone_is_refused() -> None:
    head = gif()[:GIF_HEAD]
    with pytest.raises(CollectError) as caught:
        identify_picture(head + EMPTY_FRAME + b";")
    assert caught.value.error_code == "truncated_image"


def test_the_rows_of_a_huge_picture_are_not_unpacked_again() -> None:
    data = bytearray(_png(_headless(ROWS), front=APPLE))
    place = data.index(b"IHDR")
    data[place + 4 : place + 12] = struct.pack(">II", 8000, 8000)
    data[place + 17 : place + 21] = struct.pack(">I", zlib.crc32(data[place : place + 17]))
    with pytest.raises(CollectError) as caught:
        identify_picture(bytes(data))
    assert caught.value.error_code == "truncated_image"
