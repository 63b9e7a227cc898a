# SPDX-License-Identifier: Apache-2.0
"""Check that downloaded bytes are one complete picture of a known format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..exceptions import CollectError, ErrorCode
from .formats import BrokenContainerError, jpeg, png, webp

PictureKind = Literal["jpeg", "png", "webp", "gif"]

# More pixels than any result of the API; below what Pillow itself calls a decompression bomb.
DEFAULT_MAX_PIXELS = 80_000_000

EXTENSIONS: dict[PictureKind, str] = {"jpeg": ".jpg", "png": ".png", "webp": ".webp", "gif": ".gif"}


@dataclass(frozen=True)
class Picture:
    """
    Format and size of a picture.

    :param kind: jpeg, png, webp or gif
    :param extension: the usual file name extension with its dot
    :param width: pixels
    :param height: pixels
    """

    kind: PictureKind
    extension: str
    width: int
    height: int


def kind_of_bytes(head: bytes) -> PictureKind | None:
    """Return the format of a picture, by its first 12 bytes."""
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(png.SIGNATURE):
        return "png"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "webp"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    return None


def identify_picture(data: bytes, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Picture:
    """
    Decode a picture to check that it is complete, and return its format and size.

    :param data: the content of the file
    :param max_pixels: width times height above which the picture is refused before it is decoded
    :raises CollectError: ``not_an_image``, ``truncated_image`` or ``too_many_pixels``
    """
    kind = kind_of_bytes(data[:12])
    if kind is None:
        raise CollectError(
            f"The response is not a picture of a known format (JPEG, PNG, WebP, GIF): {_looks_like(data)}.",
            error_code=ErrorCode.NOT_AN_IMAGE,
        )
    _check_complete(data, kind)
    width, height = _decode(data, kind, max_pixels)
    return Picture(kind, EXTENSIONS[kind], width, height)


def _check_complete(data: bytes, kind: PictureKind) -> None:
    broken: str | None = None
    try:
        if kind == "jpeg":
            jpeg.check_complete(data)
        elif kind == "png":
            png.check_complete(data)
        elif kind == "webp":
            webp.check_complete(data)
        elif data.rstrip(b"\0")[-1:] != b";":
            broken = "its end is missing"
    except BrokenContainerError as error:
        broken = str(error)
    if broken is not None:
        raise CollectError(
            f"The picture ({kind}, {len(data)} bytes) is incomplete: {broken}.",
            error_code=ErrorCode.TRUNCATED_IMAGE,
        )


def _decode(data: bytes, kind: PictureKind, max_pixels: int) -> tuple[int, int]:
    """Decode the whole picture and return its size: only that proves that the container holds one."""
    import io

    from PIL import Image

    failure: CollectError
    try:
        with Image.open(io.BytesIO(data), formats=[kind.upper()]) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise _too_many_pixels(kind, f"{width} x {height} pixels")
            image.load()
            return width, height
    except CollectError:
        raise
    except Image.DecompressionBombError:
        failure = _too_many_pixels(kind, "as many pixels as only a decompression bomb has")
    except (OSError, SyntaxError, ValueError, EOFError, IndexError) as error:
        failure = CollectError(
            f"The picture ({kind}, {len(data)} bytes) cannot be decoded: {error}.",
            error_code=ErrorCode.TRUNCATED_IMAGE,
        )
    raise failure


def _too_many_pixels(kind: str, what: str) -> CollectError:
    return CollectError(
        f"The picture ({kind}) has {what}; too many to decode.", error_code=ErrorCode.TOO_MANY_PIXELS
    )


def _looks_like(data: bytes) -> str:
    """Describe bytes that are no picture, without quoting them."""
    head = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not data:
        return "the response was empty"
    if not data.strip(b"\0"):
        return f"{len(data)} bytes of zeros"
    if head.startswith((b"<!doctype html", b"<html")) or b"<html" in head:
        return "it is an HTML page"
    if head.startswith((b"<?xml", b"<error", b"<")):
        return "it is an XML document"
    if head.startswith((b"{", b"[")):
        return "it is a JSON document"
    return f"{len(data)} bytes of something else"
