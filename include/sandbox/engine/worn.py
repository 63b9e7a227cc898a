# SPDX-License-Identifier: Apache-2.0
"""See what a person wears or grows: glasses, dark glasses, a beard, a fringe; and whether an eye is hidden."""

from __future__ import annotations

import cv2
import numpy as np

from .colour import CHEEKS
from .mask import EYE_RIMS, filled
from .mesh import OVAL
from .pose import pose_of

#: The size in pixels of the faces that are looked at.
SIDE = 160
# fmt: off
# Between the eyes, where the bridge of glasses lies; the eyes' inner corners aside.
_BRIDGE = (193, 168, 417, 351, 6, 122, 245, 465, 8, 55, 285)
EYES = ((70, 63, 105, 66, 107, 55, 65, 52, 53, 46, 33, 7, 163, 144, 145, 153, 154, 155, 133, 246),
        (336, 296, 334, 293, 300, 285, 295, 282, 283, 276, 362, 382, 381, 380, 374, 373, 390, 249, 263, 466))
_BAGS = ((230, 118, 119, 229), (450, 347, 348, 449))
ABOVE_BROWS = (9, 108, 151, 337)
# fmt: on
_BEARD, _BEARD_DARK = 0.28, 0.72
_DARK_GLASSES, _EYE_CONTRAST = 0.5, 0.12
# Hair is rougher than skin; the mesh of a face in profile leaves too little of the forehead to tell.
_ROUGH_FOREHEAD, _ROUGH_AND_DARK, _DIM_FOREHEAD, _SIDEWAYS = 0.058, 0.6, 0.8, 35.0
_DARK_HALF, _ROUGH = 0.5, 0.14


def bridge_of_glasses(lab: np.ndarray, points: np.ndarray) -> float:
    """Return how clear an edge lies across the bridge of the nose: 5 and more if the person wears glasses."""
    light = np.ascontiguousarray(lab[:, :, 0])
    between = filled(light.shape, points, _BRIDGE, hull=True)
    for eye in EYES:
        between &= ~filled(light.shape, points, eye, hull=True)
    if between.sum() < 8:
        return 0.0
    up = points[10, :2] - points[152, :2]
    up = up / max(float(np.linalg.norm(up)), 1e-3)
    edge = np.abs(cv2.Sobel(light, cv2.CV_32F, 1, 0) * up[0] + cv2.Sobel(light, cv2.CV_32F, 0, 1) * up[1]) / 8
    size = float(np.ptp(points[:, :2], axis=0).max())
    usual = float(np.median(light[filled(light.shape, points, OVAL, hull=False)]))
    return float(np.percentile(edge[between], 90)) * size / SIDE * 60 / max(usual, 20.0)


def eyes_covered(light: np.ndarray, other: np.ndarray, points: np.ndarray) -> float:
    """Return the share of what lies under the less covered eye that is not skin, or is far darker than the cheeks."""
    cheeks = light[
        filled(light.shape, points, CHEEKS[0], hull=False)
        | filled(light.shape, points, CHEEKS[1], hull=False)
    ]
    dark = light < _DARK_GLASSES * (np.median(cheeks) if cheeks.size else 0)
    under = [filled(light.shape, points, bag, hull=True) for bag in _BAGS]
    return max(min(float(area[bag].mean()) if bag.any() else 0.0 for bag in under) for area in (dark, other))


def eye_hidden(light: np.ndarray, points: np.ndarray) -> bool:
    """Return whether one eye has neither white nor dark."""
    usual = max(float(np.median(light)), 10.0)
    for rim in EYE_RIMS:
        eye = light[
            cv2.dilate(filled(light.shape, points, rim, hull=True).view(np.uint8), np.ones((3, 3))) > 0
        ]
        if eye.size > 24 and float(np.ptp(np.percentile(eye, (10, 90)))) < _EYE_CONTRAST * usual:
            return True
    return False


def bearded(light: np.ndarray, lower: np.ndarray, points: np.ndarray, left: np.ndarray) -> bool:
    """Return whether chin and jaw are darker than the cheek above, on both halves."""
    shares = []
    for cheek, half in zip(CHEEKS, (left, ~left), strict=True):
        skin, jaw = light[filled(light.shape, points, cheek, hull=False)], light[lower & half]
        if skin.size > 8 and jaw.size > 64:
            shares.append(float((jaw < _BEARD_DARK * np.percentile(skin, 60)).mean()))
    return min(shares, default=0.0) > _BEARD


def sideways(points: np.ndarray) -> bool:
    """Return whether the head is turned so far that its forehead cannot be judged."""
    return abs(pose_of(points).yaw) > _SIDEWAYS


def fringe(light: np.ndarray, points: np.ndarray) -> bool:
    """Return whether the forehead is rough as hair is, and the cheeks are not; hair may have the colour of skin."""
    steps = np.abs(light - cv2.GaussianBlur(light, (0, 0), 1.5)) / np.maximum(cv2.blur(light, (9, 9)), 5)
    forehead, *cheeks = (
        float(np.median(steps[area])) if area.sum() > 8 else 0.0
        for area in (filled(light.shape, points, patch, hull=True) for patch in (ABOVE_BROWS, *CHEEKS))
    )
    least = _ROUGH_FOREHEAD * (_ROUGH_AND_DARK if _darker_forehead(light, points) else 1)
    return forehead > max(least, 2 * min(cheeks))


def _darker_forehead(light: np.ndarray, points: np.ndarray) -> bool:
    """Return whether the forehead is darker than the cheeks."""
    forehead, *cheeks = (
        float(np.median(light[area])) if area.any() else 0.0
        for area in (filled(light.shape, points, patch, hull=True) for patch in (ABOVE_BROWS, *CHEEKS))
    )
    return forehead < _DIM_FOREHEAD * max(cheeks)


def rough_half(light: np.ndarray, halves: tuple[np.ndarray, np.ndarray]) -> bool:
    """Return whether one half is dark and rough, as hair is; a shadow is smooth."""
    if min(half.sum() for half in halves) < 64:
        return False
    low = [float(np.percentile(light[half], 30)) for half in halves]
    if min(low) > _DARK_HALF * max(low):
        return False
    dark = halves[int(np.argmin(low))]
    dark = dark & (light < np.percentile(light[dark], 45))
    steps = np.abs(light - cv2.GaussianBlur(light, (0, 0), 1.5))[dark]
    return steps.size > 0 and float(np.median(steps)) > _ROUGH * max(float(np.median(light[dark])), 3.0)
