# SPDX-License-Identifier: Apache-2.0
"""The engine, the sample pictures, and pictures made from them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from include.sandbox.engine import FaceSwapEngine

IMAGES = Path(__file__).parents[4] / "include" / "images"


def sample(name: str) -> bytes:
    return (IMAGES / name).read_bytes()


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, format=kind, **options)
    return out.getvalue()


def pixels(data: bytes, mode: str = "RGB") -> np.ndarray:
    return np.asarray(opened(data).convert(mode)).astype(np.int16)


@pytest.fixture(scope="session")
def engine() -> FaceSwapEngine:
    return FaceSwapEngine(opencv_threads=1)


@pytest.fixture(scope="session")
def collins() -> bytes:
    return sample("collins.jpg")


@pytest.fixture(scope="session")
def hopper() -> bytes:
    return sample("hopper.jpg")


@pytest.fixture(scope="session")
def hopper_png(hopper: bytes) -> bytes:
    return encoded(opened(hopper).convert("RGB"), "PNG", compress_level=1)
