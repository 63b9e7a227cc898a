# SPDX-License-Identifier: Apache-2.0
"""
Check that downloaded bytes are one complete picture.

The decoder decides. What decodes to its end was paid for and is kept, whatever is wrong with the container around it;
what does not is refused. A format without a decoder here is kept if its boxes are complete.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..exceptions import CollectError, ErrorCode
from .decode_budget import BUDGET, bytes_to_decode
from .formats import BrokenContainerError, gif, jpeg, png, webp
from .kinds import EXTENSIONS, HEAD, PictureKind, describe_content, kind_of_bytes

if TYPE_CHECKING:
    from PIL.Image import Image

# More pixels than any result of the API; below what Pillow itself calls a decompression bomb.
DEFAULT_MAX_PIXELS = 80_000_000

#: Kind -> Pillow's name of the format, for those that it may be able to decode.
PILLOW_FORMATS: dict[PictureKind, str] = {
    "jpeg": "JPEG",
    "png": "PNG",
    "webp": "WEBP",
    "gif": "GIF",
    "avif": "AVIF",
    "tiff": "TIFF",
    "bmp": "BMP",
    "jp2": "JPEG2000",
    "ico": "ICO",
}
#: Formats whose frames or pages are all decoded. The second picture of a JPEG is a preview or a depth map.
_ANIMATED = frozenset({"gif", "webp", "avif", "tiff"})
#: Divisor of the width and height at which a JPEG is decoded.
CHECK_SCALE = 8
#: Pixels of all frames together, as a multiple of ``max_pixels``; later frames are not decoded.
_FRAMES = 4
_PICTURE_BOXES = frozenset({b"mdat", b"moov", b"jxlc", b"jxlp", b"jp2c"})
_BOXES = _PICTURE_BOXES | {
    *(
        b"ftyp",
        b"meta",
        b"idat",
        b"free",
        b"skip",
        b"wide",
        b"uuid",
        b"jumb",
        b"moof",
        b"sidx",
        b"styp",
        b"mfra",
    ),
    *(b"JXL ", b"jxll", b"jxli", b"jbrd", b"Exif", b"xml ", b"brob", b"mpvd", b"sefd"),
}
_SVG_NAMESPACE = "http://www.w3.org/2000/svg"


@dataclass(frozen=True)
class Picture:
    """
    Format and size of a picture.

    :param kind: jpeg, png, webp, gif, avif, ...
    :param extension: the usual file name extension with its dot
    :param width: pixels; ``None`` for a format that cannot be decoded here
    :param height: pixels, likewise
    """

    kind: PictureKind
    extension: str
    width: int | None
    height: int | None


def identify_picture(data: bytes, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Picture:
    """
    Decode a picture to check that it is complete, and return its format and size.

    :param data: the content of the file
    :param max_pixels: width times height above which the picture is refused before it is decoded
    :raises CollectError: ``not_an_image``, ``truncated_image`` or ``too_many_pixels``
    """
    kind = kind_of_bytes(data[:HEAD])
    if kind is None:
        raise CollectError(
            f"The response is not a picture of a known format (JPEG, PNG, WebP, GIF, AVIF, ...): "
            f"{describe_content(data)}.",
            error_code=ErrorCode.NOT_AN_IMAGE,
        )
    failure: CollectError
    try:
        width, height = _size(data, kind, max_pixels)
        return Picture(kind, EXTENSIONS[kind], width, height)
    except BrokenContainerError as error:
        failure = CollectError(
            f"The picture ({kind}, {len(data)} bytes) is incomplete: {error}.",
            error_code=ErrorCode.TRUNCATED_IMAGE,
        )
    raise failure


def _size(data: bytes, kind: PictureKind, max_pixels: int) -> tuple[int | None, int | None]:
    """Decode the whole picture and return its size: only that proves that the container holds one."""
    if kind == "svg":
        _check_svg(data)
        return None, None
    if not _has_decoder(kind):
        _check_boxes(data, kind)
        return None, None
    if kind == "jpeg" and jpeg.end_of_image(data) is None:
        if jpeg.size_of_rare_coding(data):
            raise BrokenContainerError("it ends within its picture data")
        return _size_without_end(data, max_pixels)
    failure: BrokenContainerError | None = None
    try:
        for form in forms_to_decode(data, kind):
            try:
                return _decode(form, kind, max_pixels)
            except BrokenContainerError as error:
                failure = failure or error
    except BrokenContainerError as error:
        failure = failure or error
    if kind == "jpeg" and (size := jpeg.size_of_rare_coding(data)):
        _check_pixels(size, kind, max_pixels)
        return size
    raise failure or BrokenContainerError("it cannot be decoded")


def forms_to_decode(data: bytes, kind: PictureKind) -> Iterator[bytes]:
    """Return the file, and the picture alone where damaged metadata or a wrong size may be what the decoder refuses."""
    yield png.bare(data) if kind == "png" else webp.resized(data) if kind == "webp" else data
    if kind == "png":
        yield png.repacked(data)
    elif kind == "jpeg":
        yield jpeg.bare(data)
    elif kind == "gif":
        yield gif.without_empty_frames(data)


def _size_without_end(data: bytes, max_pixels: int) -> tuple[int, int]:
    """Return the size of a JPEG without its end marker, if no bit of its picture is missing."""
    found = {_decoded_pixels(form, max_pixels) for form in jpeg.endings(jpeg.bare(data))}
    if len(found) > 1:
        raise BrokenContainerError("it ends within its picture data")
    ((size, _),) = found
    return size


def _decoded_pixels(data: bytes, max_pixels: int) -> tuple[tuple[int, int], bytes]:
    import hashlib

    pixels: list[bytes] = []
    size = _decode(
        data, "jpeg", max_pixels, lambda image: pixels.append(hashlib.sha256(image.tobytes()).digest())
    )
    return size, pixels[0]


def _decode(
    data: bytes, kind: PictureKind, max_pixels: int, look: Callable[[Image], object] | None = None
) -> tuple[int, int]:
    """Decode every frame; ``look`` gets the first one."""
    import io

    from PIL import Image

    failure: Exception
    try:
        with Image.open(io.BytesIO(data), formats=[PILLOW_FORMATS[kind]]) as image:
            size = image.size
            _check_pixels(size, kind, max_pixels)
            progressive, scale = "progressive" in image.info, 1
            if kind == "jpeg" and look is None:
                # The decoder reads every bit of the picture in any case, and computes an eighth of its lines only.
                scale = CHECK_SCALE
                image.draft(None, (max(1, size[0] // scale), max(1, size[1] // scale)))
            with BUDGET.of(bytes_to_decode(kind, *size, scale=scale, progressive=progressive)):
                image.load()
                if look is not None:
                    look(image)
                _decode_other_frames(image, kind, max_pixels)
            return size
    except CollectError:
        raise
    except Image.DecompressionBombError:
        failure = _too_many_pixels(kind, "so many pixels that it may be a decompression bomb")
    except Exception:  # noqa: BLE001  Pillow's plug-ins raise almost anything about a damaged file
        failure = BrokenContainerError("it does not decode to its end")
    raise failure


def _decode_other_frames(image: Image, kind: PictureKind, max_pixels: int) -> None:
    if kind not in _ANIMATED:
        return
    budget = _FRAMES * max_pixels
    for number in range(1, getattr(image, "n_frames", 1)):
        budget -= image.width * image.height
        if budget < 0:
            return
        image.seek(number)
        image.load()


def _check_pixels(size: tuple[int, int], kind: PictureKind, max_pixels: int) -> None:
    if size[0] * size[1] > max_pixels:
        raise _too_many_pixels(kind, f"{size[0]} x {size[1]} pixels")


def _too_many_pixels(kind: str, what: str) -> CollectError:
    return CollectError(
        f"The picture ({kind}) has {what}; too many to decode.", error_code=ErrorCode.TOO_MANY_PIXELS
    )


def _has_decoder(kind: PictureKind) -> bool:
    from PIL import Image

    # Loads only what is needed, as Image.open does: the plug-in of AVIF came with Pillow 11.3.
    Image.init()
    return PILLOW_FORMATS.get(kind) in Image.OPEN


def _check_boxes(data: bytes, kind: PictureKind) -> None:
    """
    Check that the boxes of a HEIC, AVIF or JPEG XL file are complete; a bare JPEG XL stream has none.

    What follows the boxes of the picture and is no box itself was put there by a server.
    """
    if data.startswith(b"\xff\x0a"):
        return
    position = pictures = 0
    while position < len(data):
        size, header = int.from_bytes(data[position : position + 4], "big"), 8
        name = data[position + 4 : position + 8]
        if pictures and name not in _BOXES:
            return
        if size == 1:
            size, header = int.from_bytes(data[position + 8 : position + 16], "big"), 16
        # A small picture may be inside the box of its metadata.
        inside = name == b"meta" and b"idat" in data[position : position + size]
        pictures += name in _PICTURE_BOXES or inside
        if size == 0:
            break
        if position + size > len(data) or size < header:
            raise BrokenContainerError("it ends within a box")
        position += size
    if not pictures:
        raise BrokenContainerError("it has no picture data")


def _check_svg(data: bytes) -> None:
    from xml.parsers import expat

    names: list[str] = []
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = lambda name, _: names.append(name) if not names else None
    try:
        parser.Parse(data, True)
    except expat.ExpatError:
        raise BrokenContainerError("it is not well-formed") from None
    if names[0] not in {f"{_SVG_NAMESPACE} svg", "svg"}:
        raise BrokenContainerError("it has no SVG element")
