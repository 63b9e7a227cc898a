# SPDX-License-Identifier: Apache-2.0
"""The mark in the three formats: read by Pillow here, by exiftool in the integration tests."""

from __future__ import annotations

import io
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image, PngImagePlugin

from airflow_provider_goenhance.exceptions import CollectError
from airflow_provider_goenhance.pictures.formats import jpeg, png, webp
from airflow_provider_goenhance.pictures.formats.mark import mark_picture
from airflow_provider_goenhance.pictures.formats.xmp import DIGITAL_SOURCE_TYPE, read_properties
from airflow_provider_goenhance.pictures.verify import identify_picture
from tests.unit.pictures.formats.test_xmp import PHOTO
from tests.unit.pictures.pictures import FORMATS, drawing, encoded, pixels

if TYPE_CHECKING:
    from pathlib import Path

READERS = {"jpeg": jpeg, "png": png, "webp": webp}
MARK = {"DigitalSourceType": DIGITAL_SOURCE_TYPE, "AISystemUsed": "GoEnhance"}

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("jpeg", {}),
    ("jpeg", {"progressive": True}),
    ("jpeg", {"mode": "L"}),
    ("jpeg", {"mode": "CMYK"}),
    ("png", {}),
    ("png", {"mode": "RGBA"}),
    ("png", {"mode": "P"}),
    ("webp", {}),
    ("webp", {"lossless": True}),
    ("webp", {"mode": "RGBA"}),
    ("webp", {"mode": "RGBA", "lossless": True}),
    ("webp", {"size": (97, 63)}),
]


@pytest.mark.parametrize(("kind", "options"), VARIANTS)
def test_the_mark_is_written_and_no_pixel_changes(tmp_path: Path, kind: str, options: dict[str, Any]) -> None:
    path = tmp_path / "p"
    before = encoded(kind, **options)
    path.write_bytes(before)
    assert mark_picture(path) == "marked"
    after = path.read_bytes()
    assert pixels(after) == pixels(before)
    assert identify_picture(path).kind == kind
    with Image.open(path) as image:
        packet = image.info["xmp"] if kind != "png" else image.info["XML:com.adobe.xmp"].encode()
    assert read_properties(packet) == MARK


@pytest.mark.parametrize("kind", FORMATS)
def test_the_name_of_the_system_is_the_users(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "p"
    path.write_bytes(encoded(kind))
    mark_picture(path, system="Our <sandbox> & co")
    packet = READERS[kind].read_xmp(path.read_bytes())
    assert packet is not None
    assert read_properties(packet)["AISystemUsed"] == "Our <sandbox> & co"


@pytest.mark.parametrize("kind", FORMATS)
def test_marking_twice_changes_nothing(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "p"
    path.write_bytes(encoded(kind))
    mark_picture(path)
    once, place = path.read_bytes(), path.stat().st_ino
    assert mark_picture(path) == "already_marked"
    assert (path.read_bytes(), path.stat().st_ino) == (once, place)


def _with_everything(kind: str) -> bytes:
    """Give a picture with Exif, an ICC profile and a packet of its own."""
    from PIL import ImageCms

    exif = Image.Exif()
    exif[0x010F] = "Maker"
    options: dict[str, Any] = {
        "exif": exif.tobytes(),
        "icc_profile": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    }
    if kind == "png":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", PHOTO.decode(), zip=True)
        options["pnginfo"].add_text("Comment", "kept")
    else:
        options["xmp"] = PHOTO
    return encoded(kind, **options)


@pytest.mark.parametrize("kind", FORMATS)
def test_all_other_metadata_stays(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "p"
    before = _with_everything(kind)
    path.write_bytes(before)
    assert mark_picture(path) == "marked"
    packet = READERS[kind].read_xmp(path.read_bytes())
    assert packet is not None
    assert read_properties(packet) == MARK
    assert b"Ada &lt;L&gt;" in packet
    with Image.open(io.BytesIO(before)) as old, Image.open(path) as new:
        keys = {"exif", "icc_profile", "Comment"} & old.info.keys()
        assert {"exif", "icc_profile"} <= keys
        assert {k: new.info[k] for k in keys} == {k: old.info[k] for k in keys}
    assert pixels(path.read_bytes()) == pixels(before)


def _jpeg_segment(marker: int, payload: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(payload) + 2).to_bytes(2, "big") + payload


def _claimed(kind: str) -> bytes:
    """Give a picture with the container part in which C2PA manifests travel."""
    data = encoded(kind)
    if kind == "jpeg":
        box = b"JP\x00\x01\x00\x00\x00\x01\x00\x00\x00\x40jumb\x00\x00\x00\x20jumdc2pa" + bytes(20)
        return data[:2] + _jpeg_segment(0xEB, box) + data[2:]
    if kind == "png":
        content = b"\x00\x00\x00\x40jumbc2pa" + bytes(40)
        chunk = len(content).to_bytes(4, "big") + b"caBX" + content
        chunk += zlib.crc32(b"caBX" + content).to_bytes(4, "big")
        return data[:33] + chunk + data[33:]
    body = data[8:] + webp.Chunk(b"C2PA", b"jumbc2pa").encode()
    return b"RIFF" + len(body).to_bytes(4, "little") + body


@pytest.mark.parametrize("kind", FORMATS)
def test_a_picture_with_a_manifest_is_left_whole(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "p"
    path.write_bytes(_claimed(kind))
    assert mark_picture(path) == "left_whole"
    assert path.read_bytes() == _claimed(kind)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_picture_whose_manifest_is_elsewhere_is_left_whole(tmp_path: Path, kind: str) -> None:
    remote = b'<r:Description r:about="" xmlns:d="http://purl.org/dc/terms/" d:provenance="https://x.org/m"/>'
    before = READERS[kind].write_xmp(encoded(kind), PHOTO.replace(b"</r:RDF>", remote + b"</r:RDF>"))
    path = tmp_path / "p"
    path.write_bytes(before)
    assert mark_picture(path) == "left_whole"
    assert path.read_bytes() == before


def test_extended_xmp_of_a_jpeg_is_left_alone(tmp_path: Path) -> None:
    extended = b"http://ns.adobe.com/xmp/extension/\x00" + b"0" * 32 + bytes(8) + b"<rest/>"
    data = jpeg.write_xmp(encoded("jpeg"), PHOTO)
    data = data[:2] + _jpeg_segment(0xE1, extended) + data[2:]
    path = tmp_path / "p"
    path.write_bytes(data)
    assert mark_picture(path) == "marked"
    assert path.read_bytes().count(extended) == 1


def test_the_packet_of_a_jpeg_stands_behind_jfif_and_exif(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    path = tmp_path / "p"
    path.write_bytes(encoded("jpeg", exif=exif.tobytes()))
    mark_picture(path)
    data = path.read_bytes()
    starts = [segment.payload(data)[:5] for segment in jpeg.header_segments(data)][:3]
    assert starts == [b"JFIF\x00", b"Exif\x00", b"http:"]


def test_a_jpeg_whose_packet_is_full_is_left_as_it_was(tmp_path: Path) -> None:
    full = PHOTO.replace(b"<!-- kept -->", b"<!--" + b"x" * 64_600 + b"-->")
    path = tmp_path / "p"
    path.write_bytes(jpeg.write_xmp(encoded("jpeg"), full))
    before = path.read_bytes()
    assert mark_picture(path) == "no_room"
    assert path.read_bytes() == before


def test_a_packed_packet_that_swells_without_end_is_not_unpacked(tmp_path: Path) -> None:
    bomb = zlib.compress(b"<a>" + bytes(64 * 2**20))
    content = b"XML:com.adobe.xmp\x00\x01\x00\x00\x00" + bomb
    chunk = len(content).to_bytes(4, "big") + b"iTXt" + content
    chunk += zlib.crc32(b"iTXt" + content).to_bytes(4, "big")
    data = encoded("png")
    assert png.read_xmp(data[:33] + chunk + data[33:]) is None


def test_a_gif_cannot_carry_the_mark(tmp_path: Path) -> None:
    drawing("P").save(tmp_path / "p", "GIF")
    assert mark_picture(tmp_path / "p") == "no_room"


@pytest.mark.parametrize("kind", FORMATS)
def test_a_cut_picture_is_not_marked(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "p"
    path.write_bytes(encoded(kind)[:30])
    with pytest.raises(CollectError) as caught:
        mark_picture(path)
    assert caught.value.error_code == "truncated_image"


def test_a_disk_that_fails_leaves_the_picture_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "p"
    path.write_bytes(encoded("jpeg"))

    def full(self: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(OSError, match="No space"):
        mark_picture(path)
    assert path.read_bytes() == encoded("jpeg")
    assert list(tmp_path.iterdir()) == [path]
