# SPDX-License-Identifier: Apache-2.0
"""What the new face leaves of the glasses of the old one is painted over."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from include.sandbox.engine.engine import FaceSwapEngine

IMAGES = Path(__file__).resolve().parents[4] / "include" / "images"


@pytest.fixture(scope="module")
def engine() -> FaceSwapEngine:
    return FaceSwapEngine()


def darkest_beside_the_eyes(data: bytes, box: tuple[int, int, int, int]) -> float:
    """Return the share of nearly black pixels beside the eyes, where the hinges of glasses are."""
    left, top, right, bottom = box
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("L"))
    rows = slice(top + (bottom - top) // 5, top + (bottom - top) // 2)
    wide = (right - left) // 8
    sides = pixels[rows, left : left + wide], pixels[rows, right - wide : right]
    return float(np.mean([(side < 50).mean() for side in sides]))


def test_no_hinge_of_the_glasses_stays_beside_a_face_without_glasses(engine: FaceSwapEngine) -> None:
    reference = (IMAGES / "hopper.jpg").read_bytes()
    done = engine.swap((IMAGES / "collins.jpg").read_bytes(), reference)
    assert darkest_beside_the_eyes(reference, done.faces[0]) > 0.08
    assert darkest_beside_the_eyes(done.data, done.faces[0]) < 0.02


def test_a_face_with_glasses_keeps_the_frame_that_is_there(engine: FaceSwapEngine) -> None:
    face = (IMAGES / "hopper.jpg").read_bytes()
    done = engine.swap(face, (IMAGES / "hopper.jpg").read_bytes())
    assert darkest_beside_the_eyes(done.data, done.faces[0]) > 0.08
