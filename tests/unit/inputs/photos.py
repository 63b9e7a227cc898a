# SPDX-License-Identifier: Apache-2.0
"""Pictures that are too large or of an odd kind."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

IMAGES = Path(__file__).parents[3] / "include" / "images"


def sample(name: str) -> bytes:
    return (IMAGES / name).read_bytes()


def photo(width: int, height: int, *, noise: int = 60, seed: int = 1) -> Image.Image:
    """Return a picture with detail, which no encoder makes small."""
    rows, columns = np.mgrid[0:height, 0:width]
    base = np.stack([rows * 255 // height, columns * 255 // width, (rows + columns) % 256], axis=2)
    grain = np.random.default_rng(seed).integers(-noise, noise + 1, base.shape)
    return Image.fromarray(np.clip(base + grain, 0, 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image
