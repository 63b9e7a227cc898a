# SPDX-License-Identifier: Apache-2.0
"""Judge the surface of a face: even skin, hard light or hair in patches, the flat colours of a drawing."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from . import worn
from .foreign import NOSTRILS
from .mask import EYE_RIMS, OUTER_LIPS, filled, jaw
from .mesh import OVAL
from .nets import mirror

# Sigmas of the two low-pass filters whose difference shows patches, in shares of the face's size.
_FINE, _COARSE = 0.02, 0.12
# A pixel that differs from its neighbours by less than this (L) is flat; sensor noise and grain differ by more.
_FLAT = 0.12
_EDGE, _AROUND_FEATURES = 0.03, 0.015
_LEAST_SKIN, _OVER = 64, 0.3
# The hues of skin under any usual light, in degrees of Lab, from bluish light to yellowish, and its strongest colour.
_HUES, _COLOURED, _MOST_COLOUR = (-60.0, 95.0), 12.0, 60.0


@dataclass(frozen=True)
class Surface:
    """
    What the skin looks like.

    :param patchy: standard deviation of its lightness in patches, relative to the lightness around them: about 0.1
    :param uneven: mean difference of the lightness of its two halves, relative to that of the face
    :param eyes: contrast of the clearer eye, relative to the lightness of the skin
    :param flat: share without any texture
    :param false_colour: the skin has a colour that skin has under no light
    """

    patchy: float = 0.0
    uneven: float = 0.0
    eyes: float = 1.0
    flat: float = 0.0
    false_colour: bool = False


def surface_of(lab: np.ndarray, points: np.ndarray, over: np.ndarray | None, *, bearded: bool) -> Surface:
    """
    Judge the surface of a face.

    :param lab: the face, Lab, at most `worn.SIDE` pixels high
    :param points: its mesh in the same pixels
    :param over: what lies over the face and is not to be judged, 0 to 1, if any
    :param bearded: leave out what a beard covers
    """
    light = np.ascontiguousarray(lab[:, :, 0])
    size = float(np.ptp(points[:, :2], axis=0).max())
    skin = _skin(light, points, size, bearded=bearded)
    if over is not None:
        skin &= over < _OVER
    if skin.sum() < _LEAST_SKIN:
        return Surface()
    usual = max(float(np.median(light[skin])), 10.0)
    fine, coarse = (_low_pass(light, skin, size * sigma) for sigma in (_FINE, _COARSE))
    steps = np.abs(light - cv2.GaussianBlur(light, (0, 0), 1.0))[skin]
    return Surface(
        patchy=float(((fine - coarse) / np.maximum(coarse, 8))[skin].std()),
        uneven=_uneven(light, points, size),
        eyes=max(_contrast(light, points, rim) for rim in EYE_RIMS) / usual,
        flat=float((steps < _FLAT).mean()),
        false_colour=_false_colour(np.median(lab[skin][:, 1:], axis=0)),
    )


def _skin(light: np.ndarray, points: np.ndarray, size: float, *, bearded: bool) -> np.ndarray:
    """Return where the bare skin of a face is expected: without its rim, eyes, brows, lips and nostrils."""
    inner = filled(light.shape, points, OVAL, hull=False).view(np.uint8)
    skin: np.ndarray = cv2.erode(inner, np.ones((3, 3)), iterations=max(1, round(size * _EDGE))) > 0
    features = np.zeros(light.shape, np.uint8)
    for part in (*worn.EYES, OUTER_LIPS, NOSTRILS):
        features |= filled(light.shape, points, part, hull=True).view(np.uint8)
    skin &= cv2.dilate(features, np.ones((3, 3)), iterations=max(1, round(size * _AROUND_FEATURES))) == 0
    if bearded:
        skin &= jaw(points, size, light.shape[1], light.shape[0]) < 0.5
    return skin


def _low_pass(light: np.ndarray, skin: np.ndarray, sigma: float) -> np.ndarray:
    """Return the lightness of the skin without its detail; what is not skin does not count."""
    weight = skin.astype(np.float32)
    total = np.maximum(cv2.GaussianBlur(weight, (0, 0), sigma), 0.02)
    smooth: np.ndarray = cv2.GaussianBlur(light * weight, (0, 0), sigma) / total
    return smooth


def _uneven(light: np.ndarray, points: np.ndarray, size: float) -> float:
    smooth = cv2.GaussianBlur(light, (0, 0), max(1.0, size * _FINE / 2))
    at = points[None, :, :2].astype(np.float32)
    seen = cv2.remap(smooth, at[:, :, 0], at[:, :, 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]
    return float(np.abs(seen - seen[mirror()]).mean() / max(float(np.median(seen)), 10.0))


def _contrast(light: np.ndarray, points: np.ndarray, rim: tuple[int, ...]) -> float:
    inside = filled(light.shape, points, rim, hull=True).view(np.uint8)
    eye = light[cv2.dilate(inside, np.ones((3, 3))) > 0]
    return float(np.ptp(np.percentile(eye, (10, 90)))) if eye.size > 4 else 0.0


def _false_colour(tone: np.ndarray) -> bool:
    strength, hue = float(np.hypot(*tone)), float(np.degrees(np.arctan2(tone[1], tone[0])))
    return strength > _MOST_COLOUR or (strength > _COLOURED and not _HUES[0] < hue < _HUES[1])
