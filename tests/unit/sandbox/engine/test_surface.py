# SPDX-License-Identifier: Apache-2.0
"""What the engine reads from the surface of a face, and what it refuses for it."""

from __future__ import annotations

from functools import partial

import cv2
import numpy as np
import pytest

from benchmarks.engine_quality import damage
from include.sandbox.engine import EngineError
from include.sandbox.engine.fitness import check
from include.sandbox.engine.mask import EYE_RIMS, OUTER_LIPS
from include.sandbox.engine.mesh import OVAL
from tests.unit.sandbox.engine.test_fitness import look_at

BROWS = ((70, 63, 105, 66, 107), (336, 296, 334, 293, 300))


def drawn(rgb: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Paint the face as a cartoon has it: one colour for the skin, and lines."""
    out, size = rgb.copy(), float(np.ptp(points[:, :2], axis=0).max())
    at = np.round(points[:, :2]).astype(np.int32)
    line = max(2, round(size * 0.015))
    cv2.fillPoly(out, [at[list(OVAL)]], (225, 175, 140), cv2.LINE_AA)
    for rim, brow in zip(EYE_RIMS, BROWS, strict=True):
        cv2.fillPoly(out, [at[list(rim)]], (250, 250, 250), cv2.LINE_AA)
        middle = np.round(points[list(rim), :2].mean(axis=0)).astype(int).tolist()
        cv2.circle(out, middle, round(size * 0.03), (40, 30, 25), -1, cv2.LINE_AA)
        cv2.polylines(out, [at[list(rim)]], True, (30, 20, 20), line, cv2.LINE_AA)
        cv2.polylines(out, [at[list(brow)]], False, (60, 35, 25), 3 * line, cv2.LINE_AA)
    cv2.fillPoly(out, [at[list(OUTER_LIPS)]], (190, 90, 90), cv2.LINE_AA)
    cv2.polylines(out, [at[[193, 122, 196, 236, 98, 97, 2]]], False, (150, 100, 80), line, cv2.LINE_AA)
    return out


def side_lit(rgb: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Let the light fall through leaves on one half of the face, and not on the other."""
    low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    down, across = np.mgrid[: rgb.shape[0], : rgb.shape[1]]
    across, down = (across - low[0]) / (high[0] - low[0]), (down - low[1]) / (high[1] - low[1])
    shade = (across > 0.5) & (np.sin(across * 32) + np.sin(down * 32) < 0.95)
    return (rgb * np.where(shade, 0.42, 1.0)[:, :, None]).astype(np.uint8)


def in_false_colours(rgb: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Let red and blue change places, as a wrong order of the channels does."""
    return np.ascontiguousarray(rgb[:, :, ::-1])


def veiled_eyes(rgb: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Put a strip of skin colour over both eyes."""
    out, skin = (
        rgb.copy(),
        np.median(rgb[tuple(np.round(points[[50, 280, 5]][:, 1::-1]).astype(int).T)], axis=0),
    )
    for eye in ((33, 133), (362, 263)):
        middle = points[list(eye), :2].mean(axis=0)
        reach = float(np.ptp(points[list(eye), 0]))
        cv2.ellipse(
            out,
            np.round(middle).astype(int).tolist(),
            (round(reach * 0.8), round(reach * 0.5)),
            0,
            0,
            360,
            skin.tolist(),
            -1,
            cv2.LINE_AA,
        )
    return out


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (drawn, "face_not_photographed"),
        (in_false_colours, "face_not_photographed"),
    ],
)
@pytest.mark.parametrize("person", ["collins_closeup.jpg", "hopper_closeup.jpg"])
def test_a_face_that_is_no_even_photograph_is_refused(engine, person, change, code):
    with pytest.raises(EngineError) as refused:
        check(look_at(engine, person, partial(change)), "source_img")
    assert refused.value.code == code


def test_a_face_in_patches_of_light_and_shade_is_refused(engine):
    with pytest.raises(EngineError, match="hard light") as refused:
        check(look_at(engine, "hopper_closeup.jpg", partial(side_lit)), "source_img")
    assert refused.value.code == "face_unevenly_lit"


def test_a_face_whose_eyes_cannot_be_seen_is_refused(engine):
    with pytest.raises(EngineError, match="eyes cannot be seen") as refused:
        check(look_at(engine, "collins_closeup.jpg", partial(veiled_eyes)), "reference_img")
    assert refused.value.code == "face_covered"


def test_a_sharp_photograph_has_texture_and_an_even_surface(engine):
    for person in ("collins_closeup.jpg", "hopper_closeup.jpg"):
        surface = look_at(engine, person).surface
        assert surface.flat < 0.3
        assert surface.patchy < 0.16
        assert surface.uneven < 0.3
        assert surface.eyes > 0.5
        assert not surface.false_colour


def test_a_burnt_out_photograph_is_called_overexposed_and_not_a_drawing(engine):
    burnt = look_at(engine, "collins_closeup.jpg", partial(damage.lit, gain=1.7, lift=60))
    with pytest.raises(EngineError) as refused:
        check(burnt, "source_img")
    assert refused.value.code == "face_overexposed"
