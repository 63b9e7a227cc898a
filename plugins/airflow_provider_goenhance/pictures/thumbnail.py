# SPDX-License-Identifier: Apache-2.0
"""Make thumbnails of pictures of any size, in bounded memory."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from .decode_budget import BUDGET, MOST_BYTES, bytes_to_decode
from .kinds import HEAD, kind_of_bytes
from .verify import PILLOW_FORMATS, forms_to_decode

if TYPE_CHECKING:
    from .kinds import PictureKind

#: Edge of a thumbnail, pixels.
THUMBNAIL = 176


class NoPreviewError(ValueError):
    """There is no thumbnail of this picture; the message is the text to show in its place."""


def thumbnail_of(data: bytes) -> bytes:
    """
    Return a small JPEG of a picture.

    A JPEG is decoded at a fraction of its size. Any other picture that would take more than the memory for all
    thumbnails is not decoded.

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
        return _thumbnail(data, kind)
    except NoPreviewError:
        raise
    except Exception:  # noqa: BLE001  what is wrong may be the container around the picture
        # A JPEG may lack its end marker, and a second one does no harm.
        form = data + b"\xff\xd9" if kind == "jpeg" else next(iter(forms_to_decode(data, kind)))
        return _thumbnail(form, kind)


def _thumbnail(data: bytes, kind: PictureKind) -> bytes:
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=[PILLOW_FORMATS[kind]]) as picture:
        size = picture.size
        picture.draft("RGB", (THUMBNAIL, THUMBNAIL))
        scale = max(1, size[0] // max(1, picture.width))
        progressive = bool(picture.info.get("progressive"))
        needed = bytes_to_decode(kind, *size, scale=scale, progressive=progressive)
        if needed > MOST_BYTES:
            raise NoPreviewError(f"too large to preview ({size[0]} x {size[1]} pixels)")
        with BUDGET.of(needed):
            return _encode(picture)


def _encode(picture: Any) -> bytes:
    from PIL import Image, ImageOps

    # Shrunk first: turning the picture would hold a second copy of its full size.
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    upright = ImageOps.exif_transpose(picture)
    if upright.mode.startswith("I"):
        # 16 bits a channel, which Pillow would clip and not scale.
        upright = upright.convert("I").point(lambda value: value / 256).convert("L")
    if upright.mode == "P" and "transparency" in upright.info:
        upright = upright.convert("RGBA")
    flat = Image.new("RGB", upright.size, "white")
    flat.paste(upright, mask=upright.getchannel("A") if upright.mode in {"RGBA", "LA"} else None)
    out = io.BytesIO()
    flat.save(out, "JPEG", quality=78)
    return out.getvalue()
