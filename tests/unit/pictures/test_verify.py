# SPDX-License-Identifier: Apache-2.0
"""Telling whole pictures from everything else."""

from __future__ import annotations

import io
import random
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from airflow_provider_goenhance.exceptions import CollectError
from airflow_provider_goenhance.pictures import verify
from airflow_provider_goenhance.pictures.formats.mark import mark_picture
from airflow_provider_goenhance.pictures.verify import Picture, identify_picture
from tests.unit.pictures.pictures import FORMATS, drawing, encoded, gif, jpeg_segment


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


CUT = {
    # kind -> a file, and the bytes at its end that hold no pixel: end marker, terminators, check sums.
    "jpeg": (encoded("jpeg"), 2),
    "progressive": (encoded("jpeg", progressive=True), 2),
    "grey": (encoded("jpeg", "L"), 2),
    "cmyk": (encoded("jpeg", "CMYK"), 2),
    "restarts": (encoded("jpeg", restart_marker_blocks=2), 2),
    "png": (encoded("png"), 20),
    "gif": (gif(), 2),
    "webp": (encoded("webp"), 0),
    "avif": (encoded("avif"), 0),
    "tiff": (encoded("tiff"), 0),
    "bmp": (encoded("bmp"), 0),
    "jp2": (encoded("jp2"), 0),
}


@pytest.mark.parametrize("name", CUT)
def test_a_picture_cut_within_its_data_is_refused(name: str) -> None:
    data, spare = CUT[name]
    for length in {30, 200, len(data) // 4, len(data) // 2, len(data) - 30, len(data) - spare - 8}:
        refusal = _refusal(data[:length])
        assert refusal.error_code in {"truncated_image", "not_an_image"}, f"cut at {length}"
        assert str(length) in refusal.message


@pytest.mark.parametrize("name", CUT)
def test_a_picture_that_lost_only_what_holds_no_pixel_is_kept(name: str) -> None:
    data, spare = CUT[name]
    for length in range(len(data) - spare, len(data) + 1):
        assert identify_picture(data[:length]).width == 96


@pytest.mark.parametrize("name", ["jpeg", "progressive", "restarts"])
def test_a_jpeg_whose_last_bits_are_missing_is_refused(name: str) -> None:
    data = CUT[name][0]
    assert _refusal(data[:-4]).error_code == "truncated_image"
    assert _refusal(data[:-12] + bytes(100)).error_code == "truncated_image"


PHOTOGRAPHS = sorted((Path(__file__).resolve().parents[3] / "include" / "images").glob("*.jpg"))


@pytest.mark.parametrize("path", PHOTOGRAPHS, ids=lambda path: path.stem)
def test_a_photograph_is_kept_without_its_end_marker_and_refused_when_it_is_cut(path: Path) -> None:
    data = path.read_bytes()
    assert identify_picture(data[:-2]) == identify_picture(data[:-2] + bytes(500)) == identify_picture(data)
    for length in (len(data) // 3, len(data) // 2, len(data) - 100, len(data) - 40):
        assert _refusal(data[:length]).error_code == "truncated_image"
        assert _refusal(data[:length] + bytes(5000)).error_code == "truncated_image"


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_rows": 1}], ids=str
)
def test_an_eighth_of_the_lines_of_a_jpeg_proves_as_much_as_all_of_them(
    mode: str, options: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = encoded("jpeg", mode, (97, 63), **options)
    dice = random.Random(7)
    damaged = [whole]
    for _ in range(60):
        start, length = dice.randrange(2, len(whole)), dice.randrange(1, 200)
        damaged += [
            whole[:start],
            whole[:start] + b"\xff\xd9",
            whole[:start] + whole[start + length :],
            whole[:start] + bytes(length) + whole[start + length :],
        ]

    def verdict(data: bytes) -> Picture | str | None:
        try:
            return identify_picture(data)
        except CollectError as error:
            return error.error_code

    quick = [verdict(data) for data in damaged]
    monkeypatch.setattr(verify, "CHECK_SCALE", 1)
    assert quick == [verdict(data) for data in damaged]
    assert quick[0] == Picture("jpeg", ".jpg", 97, 63)


def test_a_progressive_jpeg_without_its_last_scan_is_refused() -> None:
    data = encoded("jpeg", progressive=True)
    assert "last scan" in _refusal(data[: data.rindex(b"\xff\xda")]).message


@pytest.mark.parametrize("name", CUT)
def test_what_a_server_hangs_behind_a_picture_does_no_harm(name: str) -> None:
    assert identify_picture(CUT[name][0] + b"<!-- served by edge-17 -->\r\n").width == 96


@pytest.mark.parametrize("size", [0, 8, 12, 100, 10**6, 2**32 - 1])
def test_a_webp_that_announces_a_wrong_size_is_kept_and_marked_with_the_right_one(size: int) -> None:
    good = encoded("webp", "RGBA")
    outcome, marked = mark_picture(good[:4] + struct.pack("<I", size) + good[8:])
    assert (outcome, identify_picture(marked).kind) == ("marked", "webp")
    assert marked == mark_picture(good).data


def _chunk(kind: bytes, content: bytes, wrong: int = 0) -> bytes:
    check = zlib.crc32(kind + content) ^ wrong
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


@pytest.mark.parametrize(
    "chunk",
    [
        _chunk(b"tEXt", b"Comment\0hello", wrong=1),
        _chunk(b"gAMA", b"\0"),
        _chunk(b"iCCP", b"profile\0\0no zlib stream"),
        _chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(80 * 2**20))),
        _chunk(b"acTL", b"\0\0\0\x09\0\0\0\0"),
    ],
)
def test_damaged_metadata_of_a_png_does_not_cost_the_picture(chunk: bytes) -> None:
    good = encoded("png")
    assert identify_picture(good[:33] + chunk + good[33:]).width == 96
    assert identify_picture(good[:-12] + chunk + good[-12:]).width == 96


def test_a_wrong_check_sum_is_forgiven_where_the_data_prove_right_by_their_own() -> None:
    good = encoded("png")
    assert identify_picture(good[:-13] + bytes([good[-13] ^ 1]) + good[-12:]).width == 96


@pytest.mark.parametrize(
    "segment",
    [jpeg_segment(0xE1, b"Exif\0\0MM\0*\xff\xff\xff\xff"), jpeg_segment(0xE2, b"MPF\0II*\0" + bytes(9))],
)
def test_damaged_metadata_of_a_jpeg_does_not_cost_the_picture(segment: bytes) -> None:
    good = encoded("jpeg")
    assert mark_picture(good[:2] + segment + good[2:]).outcome == "marked"
    assert identify_picture(good[:2] + segment + b"junk" + good[2:]).width == 96


def _frames(kind: str) -> bytes:
    out = io.BytesIO()
    first, *others = [drawing(size=(96, 64)).rotate(angle) for angle in (0, 90, 180)]
    first.save(out, kind, save_all=True, append_images=others)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "AVIF", "MPO"])
def test_every_frame_counts_and_an_animation_is_a_picture(kind: str) -> None:
    data = _frames(kind)
    assert identify_picture(data).width == 96
    assert mark_picture(data).outcome == ("no_room" if kind in {"GIF", "AVIF"} else "marked")


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "AVIF"])
def test_an_animation_cut_within_a_later_frame_is_refused(kind: str) -> None:
    assert _refusal(_frames(kind)[:-40]).error_code == "truncated_image"


def test_sixteen_bits_a_channel_are_a_picture() -> None:
    out = io.BytesIO()
    Image.new("I;16", (96, 64), 40_000).save(out, "PNG")
    assert identify_picture(out.getvalue()).width == 96


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0\0\0\x10mdat12345678"
SVG = b'<?xml version="1.0"?>\n<!-- drawn -->\n<svg xmlns="http://www.w3.org/2000/svg"><path d="M0 0"/></svg>'
OTHERS: dict[str, tuple[bytes, str]] = {
    "avif": (encoded("avif"), ".avif"),
    "tiff": (encoded("tiff"), ".tif"),
    "tiff, packed": (encoded("tiff", compression="tiff_lzw"), ".tif"),
    "bmp": (encoded("bmp"), ".bmp"),
    "jp2": (encoded("jp2"), ".jp2"),
    "ico": (encoded("ico", size=(64, 64)), ".ico"),
    "heic": (HEIC, ".heic"),
    "heic by its compatible brand": (HEIC.replace(b"ftypheic", b"ftypmif1"), ".heic"),
    "jxl": (b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x0cjxlcabcd", ".jxl"),
    "jxl stream": (b"\xff\x0a\x00\x10", ".jxl"),
    "svg": (SVG, ".svg"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_picture_that_cannot_be_marked_is_known_by_its_kind(name: str) -> None:
    data, extension = OTHERS[name]
    picture = identify_picture(data)
    assert picture.extension == extension
    assert name.startswith(picture.kind)
    assert mark_picture(data) == ("no_room", data)


@pytest.mark.parametrize("data", [HEIC[:-1], SVG[:-2]])
def test_a_picture_without_a_decoder_is_refused_when_it_ends_early(data: bytes) -> None:
    assert _refusal(data).error_code == "truncated_image"


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41" + bytes(99), "it is an MP4 video"),
        (b"\0\0\0\x14ftypqt  \0\0\2\0qt  " + bytes(99), "it is a QuickTime video"),
        (b"\x1aE\xdf\xa3" + bytes(99), "it is a WebM or Matroska video"),
        (b"RIFF" + bytes(4) + b"AVI LIST", "it is an AVI video"),
        (b"#EXTM3U\n#EXT-X-VERSION:3", "it is a video playlist"),
        (b"%PDF-1.7", "it is a PDF document"),
        (b"PK\x03\x04", "it is a ZIP archive"),
    ],
)
def test_what_is_no_picture_is_named(data: bytes, what: str) -> None:
    refusal = _refusal(data)
    assert refusal.error_code == "not_an_image"
    assert what in refusal.message


@pytest.mark.parametrize(
    "data",
    [b"\x89PNG\r\n\x1a\nSECRET", b"<svg>SECRET", b"SECRET", b"II*\0SECRET", b"GIF89aSECRET" + bytes(50)],
)
def test_no_message_quotes_what_was_received(data: bytes) -> None:
    assert "SECRET" not in _refusal(data).message


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


def test_a_png_whose_missing_end_was_replaced_by_zeros_is_refused() -> None:
    data = (PHOTOGRAPHS[0].parent / "photographer.png").read_bytes()
    for share in (0.5, 0.9, 0.96):
        length = int(len(data) * share)
        for zeros in (0, 1000, 5000, len(data) - length, len(data)):
            assert _refusal(data[:length] + bytes(zeros)).error_code == "truncated_image"


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
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + _chunk(b"IDAT", zlib.compress(bytes(1000))) + _chunk(b"IEND", b"")
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("the bomb was decoded"))
    assert _refusal(bomb).error_code == "too_many_pixels"
