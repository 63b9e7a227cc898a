# SPDX-License-Identifier: Apache-2.0
"""Compute which pixels change: those of the face, without the hair, hat or collar over it."""

from __future__ import annotations

import cv2
import numpy as np

from .mesh import OVAL

# Brows, eyes, nose, mouth: pixels inside these always change, whatever their colour.
# fmt: off
_FEATURES = (70, 63, 105, 66, 107, 336, 296, 334, 293, 300, 276, 446, 340, 280, 425, 287, 335, 200, 106, 57, 205, 50,
             111, 226, 46)
_INNER_LIPS = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)
OUTER_LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
EYE_RIMS = ((33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246),
             (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466))
# fmt: on
# At eye level, glasses are replaced too, almost up to the oval: (feature, nearest oval point).
_TEMPLES = ((46, 162), (226, 127), (111, 234), (276, 389), (446, 356), (340, 454))
_TOWARDS_TEMPLE = 0.92
# Below the nose, where a beard grows.
_JAW = (
    132,
    58,
    172,
    136,
    150,
    149,
    176,
    148,
    152,
    377,
    400,
    378,
    379,
    365,
    397,
    288,
    361,
    425,
    327,
    2,
    98,
    205,
)
_EYE_CORNERS = (33, 133, 362, 263)
_MOUTH_ENDS = (78, 308)
_LIPS_MIDDLE = (13, 14)
_SHUT, _OPEN = 0.09, 0.14


def polygon(points: np.ndarray, corners: tuple[int, ...], width: int, height: int) -> np.ndarray:
    """Return a float32 mask of a polygon over mesh points: 1 inside, smooth at its edge."""
    area = np.zeros((height, width), np.uint8)
    fixed = np.round(points[list(corners), :2] * 16).astype(np.int32)
    cv2.fillPoly(area, [fixed], 255, cv2.LINE_AA, 4)
    return area.astype(np.float32) / 255


def filled(shape: tuple[int, ...], points: np.ndarray, corners: tuple[int, ...], *, hull: bool) -> np.ndarray:
    """Return where a polygon over mesh points is, or its convex hull: True inside."""
    area = np.zeros(shape[:2], np.uint8)
    at = np.round(points[list(corners), :2]).astype(np.int32)
    cv2.fillPoly(area, [cv2.convexHull(at) if hull else at], 1)
    return area > 0


def face_mask(
    points: np.ndarray, size: float, angle: float, skin_here: np.ndarray, skin_laid: np.ndarray
) -> np.ndarray:
    """
    Return the opacity of the new face at each pixel, 0 to 1.

    :param points: mesh of the face that is replaced, in pixels of the mask
    :param size: the face's size in the same pixels
    :param angle: rotation of the face, in radians
    :param skin_here: similarity to the skin of the replaced face
    :param skin_laid: similarity of the new face's pixels to its skin, times their trust
    """
    height, width = skin_here.shape
    oval = polygon(points, OVAL, width, height)
    features = points[list(_FEATURES), :2]
    inner, outer = (points[list(side), :2] for side in zip(*_TEMPLES, strict=True))
    wide = np.concatenate([features, inner + (outer - inner) * _TOWARDS_TEMPLE])
    free_here = np.maximum(_hull(wide, size, width, height), _soft(skin_here, size, 0.3, 0.75))
    # Stricter for the new face: a fringe casts a shadow, and missing skin beside it is not noticed.
    bare = cv2.erode(skin_laid, np.ones((3, 3), np.uint8), iterations=max(1, round(size * 0.012)))
    free_laid = np.maximum(_hull(features, size, width, height), _soft(bare, size, 0.35, 0.8))
    shown = oval * _below_hair(free_here, points, angle, size) * _below_hair(free_laid, points, angle, size)
    # Remove islands and holes, then fade inwards from the edge.
    shown = cv2.GaussianBlur(shown, (0, 0), max(size * 0.022, 1.0))
    shown = _step(shown, 0.35, 0.85)
    inwards = cv2.distanceTransform((oval > 0.5).astype(np.uint8), cv2.DIST_L2, 3)
    edge = _step(inwards / max(size * 0.055, 1.5), 0.0, 1.0)
    both: np.ndarray = np.minimum(shown, edge)
    return both


def _hull(points: np.ndarray, size: float, width: int, height: int) -> np.ndarray:
    hull = cv2.convexHull(np.round(points * 16).astype(np.int32))
    area = np.zeros((height, width), np.uint8)
    cv2.fillConvexPoly(area, hull, 255, cv2.LINE_AA, 4)
    return cv2.GaussianBlur(area.astype(np.float32) / 255, (0, 0), max(size * 0.02, 0.8))


def _soft(skin: np.ndarray, size: float, low: float, high: float) -> np.ndarray:
    return _step(cv2.GaussianBlur(skin, (0, 0), max(size * 0.018, 0.8)), low, high)


def _below_hair(free: np.ndarray, points: np.ndarray, angle: float, size: float) -> np.ndarray:
    """Exclude everything above hair or a hat, whatever its colour: light strands, badges."""
    height, width = free.shape
    eyes = points[list(_EYE_CORNERS), :2].mean(axis=0)
    turn = cv2.getRotationMatrix2D((float(eyes[0]), float(eyes[1])), float(np.degrees(angle)), 1.0)
    upright = cv2.warpAffine(free, turn, (width, height), borderMode=cv2.BORDER_REPLICATE)
    eye_row = int(np.clip(eyes[1], 1, height - 1))
    above = cv2.blur(upright[:eye_row], (max(3, round(size * 0.05)), 1))
    lowest = np.minimum.accumulate(above[::-1], axis=0)[::-1]
    upright[:eye_row] = np.minimum(upright[:eye_row], lowest)
    back = cv2.warpAffine(
        upright,
        turn,
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    lower: np.ndarray = np.minimum(free, back)
    return lower


def _step(values: np.ndarray, low: float, high: float) -> np.ndarray:
    t = values - low
    t /= high - low
    np.clip(t, 0, 1, out=t)
    turn = 2 * t
    np.subtract(3, turn, out=turn)
    t *= t
    t *= turn
    return t


def openness(points: np.ndarray) -> float:
    """Return the gap between the lips, relative to the mouth's width."""
    gap = np.hypot(*(points[_LIPS_MIDDLE[1], :2] - points[_LIPS_MIDDLE[0], :2]))
    wide = np.hypot(*(points[_MOUTH_ENDS[1], :2] - points[_MOUTH_ENDS[0], :2]))
    return float(gap / max(wide, 1e-3))


def keeps_own_mouth(giver: np.ndarray, receiver: np.ndarray) -> bool:
    """Return whether the inside of the replaced mouth is kept, because one mouth is open and the other is shut."""
    one, other = openness(giver), openness(receiver)
    return min(one, other) < _SHUT and max(one, other) > _OPEN


def neutral(points: np.ndarray, size: float, width: int, height: int) -> np.ndarray:
    """Return a mask of the eyes and the inside of the mouth, 0 to 1: what is not skin there has its own colour."""
    area = polygon(points, _INNER_LIPS, width, height)
    for eye in EYE_RIMS:
        area = np.maximum(area, polygon(points, eye, width, height))
    return cv2.GaussianBlur(area, (0, 0), max(size * 0.008, 0.6))


def lips(points: np.ndarray, size: float, width: int, height: int) -> np.ndarray:
    """Return a mask of the mouth with its lips, 0 to 1."""
    return cv2.GaussianBlur(polygon(points, OUTER_LIPS, width, height), (0, 0), max(size * 0.012, 0.8))


def jaw(points: np.ndarray, size: float, width: int, height: int) -> np.ndarray:
    """Return a mask of the face below the nose, 0 to 1."""
    return cv2.GaussianBlur(polygon(points, _JAW, width, height), (0, 0), max(size * 0.02, 0.8))


def eyes(points: np.ndarray, size: float, width: int, height: int) -> np.ndarray:
    """Return a mask of the eyes and a little around them, 0 to 1."""
    area = np.zeros((height, width), np.float32)
    for eye in EYE_RIMS:
        area = np.maximum(area, polygon(points, eye, width, height))
    wide = cv2.dilate(area, np.ones((3, 3), np.uint8), iterations=max(1, round(size * 0.02)))
    return cv2.GaussianBlur(wide, (0, 0), max(size * 0.012, 0.8))
