# SPDX-License-Identifier: Apache-2.0
"""Find candidate faces with BlazeFace: in the whole picture, in smaller windows, then in the rotated picture."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .nets import Net

SIDE = 128
MIN_SCORE = 0.5
# In an enlarged window, the network has more false positives.
MIN_SCORE_IN_PART = 0.65
_OVERLAP = 0.3
# Faces in smaller windows are too small for the mesh.
_MIN_WINDOW = 160


@dataclass(frozen=True)
class Candidate:
    """
    A possible face.

    :param score: 0 to 1
    :param points: eye, eye, nose, mouth, ear, ear in pixels of the picture, float32 6 x 2
    :param centre: middle of the box, pixels
    :param size: side of the box, pixels
    """

    score: float
    points: np.ndarray
    centre: np.ndarray
    size: float

    @property
    def angle(self) -> float:
        """Rotation of the line between the eyes, in radians."""
        across = self.points[1] - self.points[0]
        return float(np.arctan2(across[1], across[0]))

    @property
    def turn(self) -> float:
        """How much farther one ear is from its eye than the other: about 1 when the face is seen from the front."""
        one, other = (float(np.hypot(*(self.points[side] - self.points[side + 4]))) for side in (0, 1))
        return max(one, other) / max(min(one, other), 1e-3)


@cache
def anchors() -> np.ndarray:
    """Return the centres of the network's 896 anchors relative to the window: two per 16 x 16 cell, six per 8 x 8."""
    rows = []
    for cells, each in ((16, 2), (8, 6)):
        y, x = np.mgrid[0:cells, 0:cells]
        middles = np.stack([x.ravel(), y.ravel()], axis=1) + 0.5
        rows.append(np.repeat(middles / cells, each, axis=0))
    return np.concatenate(rows).astype(np.float32)


def levels(rgb: np.ndarray) -> Iterator[list[tuple[int, int, int]]]:
    """Return square windows (x, y, side) by level: the whole picture, halves, quarters, each overlapping by half."""
    height, width = rgb.shape[:2]
    whole = max(height, width)
    yield [(-(whole - width) // 2, -(whole - height) // 2, whole)]
    for part in (2, 4):
        side = whole // part
        if side < _MIN_WINDOW:
            return
        yield [(x, y, side) for y in _starts(height, side) for x in _starts(width, side)]


def _starts(length: int, side: int) -> list[int]:
    if length <= side:
        return [-(side - length) // 2]
    steps = int(np.ceil((length - side) / (side / 2)))
    return [round(step * (length - side) / steps) for step in range(steps + 1)]


def detect_in(net: Net, rgb: np.ndarray, windows: list[tuple[int, int, int]]) -> list[Candidate]:
    """Return the candidates in windows, best first, one for each face."""
    found: list[Candidate] = []
    for x, y, side in windows:
        found += _detect_window(net, rgb, x, y, side)
    return merge(found)


def _detect_window(net: Net, rgb: np.ndarray, x: int, y: int, side: int) -> list[Candidate]:
    height, width = rgb.shape[:2]
    left, top, right, bottom = max(x, 0), max(y, 0), min(x + side, width), min(y + side, height)
    scale = SIDE / side
    inside = rgb[top:bottom, left:right]
    fit = (max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale)))
    small = cv2.resize(inside, fit, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    window = np.zeros((SIDE, SIDE, 3), np.uint8)
    at_x = min(round((left - x) * scale), SIDE - fit[0])
    at_y = min(round((top - y) * scale), SIDE - fit[1])
    window[at_y : at_y + fit[1], at_x : at_x + fit[0]] = small
    out = net(cv2.dnn.blobFromImage(window, 1 / 127.5, mean=(127.5, 127.5, 127.5)))
    scores = 1 / (1 + np.exp(-np.clip(out["classificators"], -80, 80)))
    keep = np.flatnonzero(scores >= (MIN_SCORE if side >= max(width, height) else MIN_SCORE_IN_PART))
    values = out["regressors"].reshape(-1, 8, 2)[keep] / SIDE
    middles = anchors()[keep]
    origin = np.array([left - at_x / scale, top - at_y / scale], np.float32)
    return [
        Candidate(
            score=float(scores[number]),
            points=((value[2:] + middle) * side + origin).astype(np.float32),
            centre=((value[0] + middle) * side + origin).astype(np.float32),
            size=float(value[1].max() * side),
        )
        for number, value, middle in zip(keep, values, middles, strict=True)
    ]


def merge(candidates: list[Candidate]) -> list[Candidate]:
    """Return boxes after weighted non-maximum suppression: one face's boxes become their mean, weighted by score."""
    left = sorted(candidates, key=lambda one: (-one.score, one.centre[1], one.centre[0]))
    merged: list[Candidate] = []
    while left:
        best = left[0]
        same = [one for one in left if one is best or overlap(best, one) > _OVERLAP]
        left = [one for one in left if not any(one is other for other in same)]
        weights = np.array([one.score for one in same])
        weights /= weights.sum()
        merged.append(
            Candidate(
                score=best.score,
                points=sum(w * one.points for w, one in zip(weights, same, strict=True)),
                centre=sum(w * one.centre for w, one in zip(weights, same, strict=True)),
                size=float(sum(w * one.size for w, one in zip(weights, same, strict=True))),
            )
        )
    return merged


def overlap(one: Candidate, other: Candidate) -> float:
    """Return the intersection over union of two square boxes."""
    low = np.maximum(one.centre - one.size / 2, other.centre - other.size / 2)
    high = np.minimum(one.centre + one.size / 2, other.centre + other.size / 2)
    shared = float(np.prod(np.clip(high - low, 0, None)))
    return shared / max(one.size**2 + other.size**2 - shared, 1e-6)


def turned(candidate: Candidate, turns: int, width: int, height: int) -> Candidate:
    """
    Return a candidate found in ``np.rot90(picture, turns)`` in coordinates of the picture.

    :param width: width of the picture
    :param height: height of the picture
    """

    def back(points: np.ndarray) -> np.ndarray:
        x, y = points[..., 0], points[..., 1]
        if turns == 1:
            return np.stack([width - y, x], axis=-1)
        if turns == 2:
            return np.stack([width - x, height - y], axis=-1)
        if turns == 3:
            return np.stack([y, height - x], axis=-1)
        return points

    return Candidate(candidate.score, back(candidate.points), back(candidate.centre), candidate.size)
