# SPDX-License-Identifier: Apache-2.0
"""Shrink pictures of any size in bounded memory, and make thumbnails of them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from .decode_budget import BUDGET, MOST_BYTES, bytes_to_decode
from .kinds import HEAD, kind_of_bytes
from .verify import PILLOW_FORMATS, forms_to_decode

if TYPE_CHECKING:
    from PIL.Image import Image

    from .kinds import PictureKind

#: Edge of a thumbnail, pixels.
THUMBNAIL = 256
#: Extension and media type of a thumbnail.
THUMBNAIL_EXTENSION, THUMBNAIL_TYPE = ".webp", "image/webp"
_QUALITY = 78
#: The EXIF tag for a text about a picture.
_DESCRIPTION = 0x010E


class NoPreviewError(ValueError):
    """There is no thumbnail of this picture; the message is the text to show in its place."""


def thumbnail_of(data: bytes) -> bytes:
    """
    Return a small WebP of a picture.

    :raises NoPreviewError: as :func:`shrunk`
    :raises ValueError: it is not a picture
    :raises Exception: whatever Pillow raises about a damaged picture
    """
    return encoded(shrunk(data, THUMBNAIL))


def encoded(picture: Image, description: str = "") -> bytes:
    """
    Return a picture that was shrunk as a thumbnail.

    :param description: a text that the file carries, see :func:`description_of`
    """
    from PIL import Image

    small = picture
    if max(picture.size) > THUMBNAIL:
        small = picture.copy()
        small.thumbnail((THUMBNAIL, THUMBNAIL))
    out = io.BytesIO()
    exif = Image.Exif()
    if description:
        exif[_DESCRIPTION] = description
    small.save(out, "WEBP", quality=_QUALITY, method=2, exif=exif.tobytes() if description else b"")
    return out.getvalue()


def description_of(picture: Image) -> str:
    """Return the text that a thumbnail carries; empty if it carries none."""
    return str(picture.getexif().get(_DESCRIPTION, ""))


def shrunk(data: bytes, edge: int) -> Image:
    """
    Return a picture upright, in RGB or RGBA, and at most ``edge`` pixels wide and high.

    A JPEG is decoded at a fraction of its size. Any other picture that would take more than the memory for all
    pictures that are decoded at the same time is not decoded.

    :raises NoPreviewError: the picture is too large, or of a format that cannot be decoded here
    :raises ValueError: it is not a picture
    :raises Exception: whatever Pillow raises about a damaged picture
    """
    from PIL import Image

    kind = kind_of_bytes(data[:HEAD])
    if kind is None:
        raise ValueError("it is not a picture of a known format")
    Image.init()
    if PILLOW_FORMATS.get(kind) not in Image.OPEN:
        raise NoPreviewError(f"no preview of {kind.upper()} files")
    try:
        return _shrunk(data, kind, edge)
    except NoPreviewError:
        raise
    except Exception:  # noqa: BLE001  what is wrong may be the container around the picture
        # A JPEG may lack its end marker, and a second one does no harm.
        form = data + b"\xff\xd9" if kind == "jpeg" else next(iter(forms_to_decode(data, kind)))
        return _shrunk(form, kind, edge)


def _shrunk(data: bytes, kind: PictureKind, edge: int) -> Image:
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=[PILLOW_FORMATS[kind]]) as picture:
        size = picture.size
        picture.draft("RGB", (edge, edge))
        scale = max(1, size[0] // max(1, picture.width))
        progressive = bool(picture.info.get("progressive"))
        needed = bytes_to_decode(kind, *size, scale=scale, progressive=progressive)
        if needed > MOST_BYTES:
            raise NoPreviewError(f"too large to preview ({size[0]} x {size[1]} pixels)")
        with BUDGET.of(needed):
            # Shrunk first: turning the picture would hold a second copy of its full size.
            picture.thumbnail((edge, edge))
            return _upright(picture)


def _upright(picture: Image) -> Image:
    from PIL import Image, ImageOps

    upright: Image.Image = ImageOps.exif_transpose(picture)
    if upright.mode.startswith("I"):
        # 16 bits a channel, which Pillow would clip and not scale.
        upright = upright.convert("I").point(lambda value: value / 256).convert("L")
    if upright.mode == "P" and "transparency" in upright.info:
        upright = upright.convert("RGBA")
    if upright.mode in {"RGBA", "LA", "PA", "RGBa", "La"}:
        return upright.convert("RGBA")
    flat = Image.new("RGB", upright.size)
    flat.paste(upright)
    return flat


def flattened(picture: Image) -> Image:
    """Return a picture on white, where it is transparent."""
    from PIL import Image

    if picture.mode == "RGB":
        return picture
    flat = Image.new("RGB", picture.size, "white")
    flat.paste(picture, mask=picture.getchannel("A"))
    return flat
