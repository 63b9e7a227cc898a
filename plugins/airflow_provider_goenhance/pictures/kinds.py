# SPDX-License-Identifier: Apache-2.0
"""Recognize the format of a picture by its first bytes, and describe bytes that are no picture."""

from __future__ import annotations

import re
from typing import Literal

from .formats import png

PictureKind = Literal["jpeg", "png", "webp", "gif", "avif", "heic", "tiff", "bmp", "jp2", "jxl", "ico", "svg"]

#: Kind -> the usual file name extension.
EXTENSIONS: dict[PictureKind, str] = {
    "jpeg": ".jpg",
    "png": ".png",
    "webp": ".webp",
    "gif": ".gif",
    "avif": ".avif",
    "heic": ".heic",
    "tiff": ".tif",
    "bmp": ".bmp",
    "jp2": ".jp2",
    "jxl": ".jxl",
    "ico": ".ico",
    "svg": ".svg",
}

#: Bytes that :func:`kind_of_bytes` looks at.
HEAD = 512
#: Longest text, such as a warning of a script, that may stand in front of a picture.
MOST_JUNK = 4096

_SIGNATURES: tuple[tuple[bytes, PictureKind], ...] = (
    (b"\xff\xd8\xff", "jpeg"),
    (png.SIGNATURE, "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"II+\x00", "tiff"),
    (b"MM\x00+", "tiff"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "jp2"),
    (b"\xff\x4f\xff\x51", "jp2"),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "jxl"),
    (b"\xff\x0a", "jxl"),
)
# Brands of the ISO base media format (ISO/IEC 14496-12): what comes first in the list decides.
_BRANDS: tuple[tuple[frozenset[bytes], PictureKind], ...] = (
    (frozenset({b"avif", b"avis"}), "avif"),
    (frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}), "heic"),
    (frozenset({b"mif1", b"msf1"}), "heic"),
)
# Two letters and two zeros are too little to know BMP and ICO by.
_BMP_HEADERS = frozenset({12, 16, 40, 52, 56, 64, 108, 124})
_SVG = re.compile(rb"(?:<\?xml[^>]*>|<!--.*?-->|<!DOCTYPE\s+svg[^>]*>|\s)*<(?:\w+:)?svg[\s>]", re.DOTALL)
_AFTER_JUNK = re.compile(rb"\xff\xd8\xff[\xc0-\xfe]|\x89PNG\r\n\x1a\n|GIF8[79]a|RIFF....WEBP", re.DOTALL)
_VIDEOS: tuple[tuple[bytes, str], ...] = (
    (b"\x1aE\xdf\xa3", "it is a WebM or Matroska video"),
    (b"FLV\x01", "it is a Flash video"),
    (b"\x00\x00\x01\xba", "it is an MPEG video"),
    (b"\x00\x00\x01\xb3", "it is an MPEG video"),
    (b"OggS", "it is an Ogg audio or video file"),
    (b"0&\xb2u\x8ef\xcf\x11", "it is a Windows Media video"),
    (b"#EXTM3U", "it is a video playlist (HLS)"),
)
_DOCUMENTS: tuple[tuple[bytes, str], ...] = (
    (b"%PDF", "it is a PDF document"),
    (b"PK\x03\x04", "it is a ZIP archive"),
    (b"\x1f\x8b", "it is a damaged gzip file"),
)


def kind_of_bytes(head: bytes) -> PictureKind | None:
    """Return the format of a picture, by the first :data:`HEAD` bytes of its file."""
    for signature, kind in _SIGNATURES:
        if head.startswith(signature):
            return kind
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "webp"
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "bmp"
    if (
        head[:4] == b"\x00\x00\x01\x00"
        and 0 < int.from_bytes(head[4:6], "little") <= 64
        and head[9:10] == b"\x00"
    ):
        return "ico"
    if _SVG.match(head.removeprefix(b"\xef\xbb\xbf")):
        return "svg"
    brands = _brands(head)
    return next((kind for known, kind in _BRANDS if known & brands), None)


def without_junk(data: bytes) -> bytes:
    """Return a picture without what stands in front of it: line breaks, or a warning that a script printed."""
    if kind_of_bytes(data[:HEAD]) is not None:
        return data
    found = _AFTER_JUNK.search(data, 0, MOST_JUNK)
    return data[found.start() :] if found else data


def describe_content(data: bytes) -> str:
    """Describe bytes that are no picture, without quoting them."""
    head = data[:HEAD].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not data:
        return "the response was empty"
    if not data.strip(b"\0"):
        return f"{len(data)} bytes of zeros"
    if is_video(data):
        return next((text for magic, text in _VIDEOS if data.startswith(magic)), _named_video(data))
    if head.startswith((b"<!doctype html", b"<html")) or b"<html" in head:
        return "it is an HTML page"
    if head.startswith((b"<?xml", b"<error", b"<")):
        return "it is an XML document"
    if head.startswith((b"{", b"[")):
        return "it is a JSON document"
    for magic, text in _DOCUMENTS:
        if data.startswith(magic):
            return text
    return f"{len(data)} bytes of something else"


def is_video(data: bytes) -> bool:
    """Return whether this is a video, by its first bytes."""
    return data.startswith(tuple(magic for magic, _ in _VIDEOS)) or bool(_named_video(data))


def _named_video(data: bytes) -> str:
    if data.startswith(b"RIFF") and data[8:12] == b"AVI ":
        return "it is an AVI video"
    if data[:1] == b"\x47" and data[188:189] == b"\x47" and data[376:377] == b"\x47":
        return "it is an MPEG transport stream, a video"
    if data[4:12] == b"ftypqt  ":
        return "it is a QuickTime video"
    if data[4:8] in {b"ftyp", b"moov", b"styp", b"moof"} and kind_of_bytes(data[:HEAD]) is None:
        return "it is an MP4 video"
    return ""


def _brands(head: bytes) -> frozenset[bytes]:
    """Return the brands of an ISO media file: its own, and those it is compatible with."""
    if head[4:8] != b"ftyp":
        return frozenset()
    end = min(int.from_bytes(head[:4], "big"), len(head))
    return frozenset([head[8:12], *(head[at : at + 4] for at in range(16, end, 4))])
