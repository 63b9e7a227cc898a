# SPDX-License-Identifier: Apache-2.0
"""The mark in the three formats: read by Pillow here, by exiftool in the integration tests."""

from __future__ import annotations

import io
import zlib
from typing import Any

import pytest
from PIL import Image

from airflow_provider_goenhance.exceptions import CollectError
from airflow_provider_goenhance.pictures.formats import jpeg, png
from airflow_provider_goenhance.pictures.formats.mark import mark_picture
from airflow_provider_goenhance.pictures.formats.xmp import read_properties
from airflow_provider_goenhance.pictures.verify import identify_picture
from tests.unit.pictures.pictures import (
    FORMATS,
    MARK,
    PHOTO,
    READERS,
    VARIANTS,
    encoded,
    gif,
    jpeg_segment,
    pixels,
    with_manifest,
    with_metadata,
)


@pytest.mark.parametrize(("kind", "options"), VARIANTS)
def test_the_mark_is_written_and_no_pixel_changes(kind: str, options: dict[str, Any]) -> None:
    before = encoded(kind, **options)
    outcome, after = mark_picture(before)
    assert outcome == "marked"
    assert pixels(after) == pixels(before)
    assert identify_picture(after).kind == kind
    with Image.open(io.BytesIO(after)) as image:
        packet = image.info["xmp"] if kind != "png" else image.info["XML:com.adobe.xmp"].encode()
    assert read_properties(packet) == MARK


@pytest.mark.parametrize("kind", FORMATS)
def test_the_name_of_the_system_is_the_users(kind: str) -> None:
    marked = mark_picture(encoded(kind), system="Our <sandbox> & co")
    packet = READERS[kind].read_xmp(marked.data)
    assert packet is not None
    assert read_properties(packet)["AISystemUsed"] == "Our <sandbox> & co"


@pytest.mark.parametrize("kind", FORMATS)
def test_marking_twice_changes_nothing(kind: str) -> None:
    once = mark_picture(encoded(kind)).data
    assert mark_picture(once) == ("already_marked", once)


@pytest.mark.parametrize("kind", FORMATS)
def test_all_other_metadata_stays(kind: str) -> None:
    before = with_metadata(kind)
    outcome, after = mark_picture(before)
    assert outcome == "marked"
    packet = READERS[kind].read_xmp(after)
    assert packet is not None
    assert read_properties(packet) == MARK
    assert b"Ada &lt;L&gt;" in packet
    with Image.open(io.BytesIO(before)) as old, Image.open(io.BytesIO(after)) as new:
        keys = {"exif", "icc_profile", "Comment"} & old.info.keys()
        assert {"exif", "icc_profile"} <= keys
        assert {k: new.info[k] for k in keys} == {k: old.info[k] for k in keys}
    assert pixels(after) == pixels(before)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_picture_with_a_manifest_is_left_whole(kind: str) -> None:
    before = with_manifest(kind)
    assert mark_picture(before) == ("left_whole", before)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_picture_whose_manifest_is_elsewhere_is_left_whole(kind: str) -> None:
    remote = b'<r:Description r:about="" xmlns:d="http://purl.org/dc/terms/" d:provenance="https://x.org/m"/>'
    before = READERS[kind].write_xmp(encoded(kind), PHOTO.replace(b"</r:RDF>", remote + b"</r:RDF>"))
    assert mark_picture(before) == ("left_whole", before)


def test_extended_xmp_of_a_jpeg_is_left_alone() -> None:
    extended = b"http://ns.adobe.com/xmp/extension/\x00" + b"0" * 32 + bytes(8) + b"<rest/>"
    data = jpeg.write_xmp(encoded("jpeg"), PHOTO)
    data = data[:2] + jpeg_segment(0xE1, extended) + data[2:]
    outcome, after = mark_picture(data)
    assert outcome == "marked"
    assert after.count(extended) == 1


def test_the_packet_of_a_jpeg_stands_behind_jfif_and_exif() -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    data = mark_picture(encoded("jpeg", exif=exif.tobytes())).data
    starts = [segment.payload(data)[:5] for segment in jpeg.header_segments(data)][:3]
    assert starts == [b"JFIF\x00", b"Exif\x00", b"http:"]


def test_a_jpeg_whose_packet_is_full_is_left_as_it_was() -> None:
    full = PHOTO.replace(b"<!-- kept -->", b"<!--" + b"x" * 64_600 + b"-->")
    before = jpeg.write_xmp(encoded("jpeg"), full)
    assert mark_picture(before) == ("no_room", before)


def test_a_packed_packet_that_swells_without_end_is_not_unpacked() -> None:
    bomb = zlib.compress(b"<a>" + bytes(64 * 2**20))
    content = b"XML:com.adobe.xmp\x00\x01\x00\x00\x00" + bomb
    chunk = len(content).to_bytes(4, "big") + b"iTXt" + content
    chunk += zlib.crc32(b"iTXt" + content).to_bytes(4, "big")
    data = encoded("png")
    assert png.read_xmp(data[:33] + chunk + data[33:]) is None


def test_a_gif_cannot_carry_the_mark() -> None:
    assert mark_picture(gif()) == ("no_room", gif())


@pytest.mark.parametrize("kind", FORMATS)
def test_a_cut_picture_is_not_marked(kind: str) -> None:
    with pytest.raises(CollectError) as caught:
        mark_picture(encoded(kind)[:30])
    assert caught.value.error_code == "truncated_image"
