# SPDX-License-Identifier: Apache-2.0
"""Whether a picture shows a face: a wrong "no" costs a valid row."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageOps

from airflow_provider_goenhance.detection import cascade, faces
from airflow_provider_goenhance.detection.faces import find_faces
from tests.unit.inputs.photos import opened, sample

PORTRAITS = ("collins.jpg", "hopper.jpg", "collins_closeup.jpg", "hopper_tilted.jpg", "hopper_evening.jpg")
WITHOUT = ("coffee.jpg", "rocket.jpg")


def rgb(name: str) -> np.ndarray:
    return np.asarray(ImageOps.exif_transpose(opened(sample(name))).convert("RGB"))


def placed(name: str, share: float, where: tuple[float, float]) -> np.ndarray:
    """Return a portrait on a canvas of 1280 pixels, its face at about this share of the longer side."""
    portrait = Image.fromarray(rgb(name))
    face = find_faces(np.asarray(portrait)).size * max(portrait.size)
    scale = share * 1280 / face
    small = portrait.resize((round(portrait.width * scale), round(portrait.height * scale)))
    canvas = Image.new("RGB", (1280, 960), (96, 112, 128))
    canvas.paste(small, (round((1280 - small.width) * where[0]), round((960 - small.height) * where[1])))
    return np.asarray(canvas)


@pytest.mark.parametrize(
    "name",
    [
        *PORTRAITS,
        "collins_mirrored.png",
        "collins_phone.jpg",
        "collins_warm.jpg",
        "crew.jpg",
        "hopper_badge.png",
        "hopper_closeup.jpg",
        "hopper_grey.jpg",
        "photographer.png",
        "portrait_wall.jpg",
    ],
)
def test_every_sample_with_a_face_shows_one(name: str) -> None:
    assert find_faces(rgb(name)).count >= 1


@pytest.mark.parametrize("name", WITHOUT)
def test_a_picture_without_a_face_shows_none(name: str) -> None:
    assert find_faces(rgb(name)).count == 0


@pytest.mark.parametrize("share", [0.3, 0.13, 0.07])
def test_a_face_is_found_wherever_it_is(share: float) -> None:
    found = find_faces(placed("hopper.jpg", share, (0.9, 0.1)))

    assert found.count == 1
    assert found.size == pytest.approx(share, rel=0.35)


def test_a_picture_on_its_side_shows_its_face() -> None:
    assert find_faces(np.ascontiguousarray(np.rot90(rgb("hopper.jpg")))).count >= 1


def test_a_picture_of_two_people_shows_a_face() -> None:
    assert find_faces(rgb("crew.jpg")).count >= 1


def test_no_face_needs_both_detectors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faces, "detect_in", lambda *_: [])
    assert find_faces(rgb("collins.jpg")).count == 1, "the cascades see her"

    monkeypatch.setattr(cascade, "shows_face", lambda _: False)
    assert find_faces(rgb("collins.jpg")).count == 0
