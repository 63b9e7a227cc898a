# SPDX-License-Identifier: Apache-2.0
"""Pictures of the three formats, drawn and not photographed, for the tests of the collecting room."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image, ImageChops

FORMATS = {"jpeg": ("JPEG", ".jpg"), "png": ("PNG", ".png"), "webp": ("WEBP", ".webp")}


def drawing(mode: str = "RGB", size: tuple[int, int] = (96, 64)) -> Image.Image:
    """Draw something with slopes and edges in every channel."""
    bands = [
        Image.linear_gradient("L").resize(size),
        Image.radial_gradient("L").resize(size),
        ImageChops.invert(Image.linear_gradient("L").rotate(90).resize(size)),
    ]
    image = Image.merge("RGB", bands)
    if mode == "RGBA":
        image.putalpha(Image.linear_gradient("L").resize(size))
        return image
    return image.convert(mode)


def encoded(kind: str, mode: str = "RGB", size: tuple[int, int] = (96, 64), **options: Any) -> bytes:
    """Give a drawing as a file of this kind."""
    buffer = io.BytesIO()
    drawing(mode, size).save(buffer, FORMATS[kind][0], **options)
    return buffer.getvalue()


def pixels(data: bytes) -> tuple[str, tuple[int, int], bytes]:
    """Decode a picture to what is compared: mode, size and every sample."""
    with Image.open(io.BytesIO(data)) as image:
        return image.mode, image.size, image.tobytes()
