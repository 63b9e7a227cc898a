# SPDX-License-Identifier: Apache-2.0
"""Take off what the new face leaves of glasses: their hinges and the ends of their frame, beside the eyes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from .colour import CHEEKS, to_lab
from .mask import filled

if TYPE_CHECKING:
    from .decode import Photo
    from .fitness import Look

# fmt: off
# Beside each eye, from the end of the brow to below the lower lid: (points of the face, points of its oval).
_SIDES = (((63, 225, 228, 111), (21, 162, 127)), ((293, 445, 448, 340), (251, 389, 356)))
# fmt: on
#: How far frames reach over the side of the face, in face sizes.
_BEYOND = 0.02
#: A frame is darker than this share of the skin's lightness.
_DARK = 0.6
#: Hair is as dark as a frame, but reaches further up and down.
_HIGHEST = 0.3
_WORK = 352
_RADIUS = 0.02


def take_off_glasses(photo: Photo, look: Look) -> None:
    """
    Paint over the ends of a frame that the new face does not reach, in place; hair that is as dark stays.

    :param photo: the scene
    :param look: a face that wears glasses
    """
    face = look.face
    height, width = photo.rgb.shape[:2]
    left, top, right, bottom = face.box
    margin = round(face.size * 0.15) + 4
    left, top = max(left - margin, 0), max(top - margin, 0)
    right, bottom = min(right + margin, width), min(bottom + margin, height)
    if right - left < 8 or bottom - top < 8:
        return
    part = (slice(top, bottom), slice(left, right))
    scale = min(1.0, _WORK / max(right - left, bottom - top))
    fit = (max(8, round((right - left) * scale)), max(8, round((bottom - top) * scale)))
    scene = cv2.resize(photo.flat(part), fit, interpolation=cv2.INTER_AREA)
    points = (face.points[:, :2] - np.array([left, top], np.float32)) * scale
    frames = _frames(scene, points, face.size * scale)
    if not frames.any():
        return
    painted = cv2.inpaint(scene, frames, max(3.0, _RADIUS * face.size * scale), cv2.INPAINT_TELEA)
    share = cv2.GaussianBlur(frames.astype(np.float32), (0, 0), 0.8)
    # Only the rows that change: of a large picture, all of them would take much memory.
    rows = np.flatnonzero(share.max(axis=1) > 0.004)
    first, last = int(rows[0]), int(rows[-1]) + 1
    ratio = (bottom - top) / fit[1]
    there = photo.rgb[part][round(first * ratio) : round(last * ratio)]
    band = (there.shape[1], there.shape[0])
    new = cv2.resize(painted[first:last], band, interpolation=cv2.INTER_LINEAR)
    mixed = cv2.resize(share[first:last], band, interpolation=cv2.INTER_LINEAR)[:, :, None]
    # Nothing changes off the face.
    inside = slice(max(face.box[0] - left, 0), face.box[2] - left)
    there, new, mixed = there[:, inside], new[:, inside], mixed[:, inside]
    there[:] = np.round(there + (new - there.astype(np.float32)) * mixed).astype(np.uint8)


def _frames(scene: np.ndarray, points: np.ndarray, size: float) -> np.ndarray:
    """Return where the ends of a frame are, 0 or 1."""
    light = np.ascontiguousarray(to_lab(scene)[:, :, 0])
    cheeks = np.logical_or(*(filled(light.shape, points, cheek, hull=False) for cheek in CHEEKS))
    frames = np.zeros(light.shape, np.uint8)
    if cheeks.sum() < 16:
        return frames
    dark = light < _DARK * float(np.median(light[cheeks]))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(dark.view(np.uint8), connectivity=8)
    flat = stats[:, cv2.CC_STAT_HEIGHT] <= _HIGHEST * size
    flat[0] = False
    across = points[454] - points[234]
    across = across / max(float(np.linalg.norm(across)), 1e-3)
    for (inner, outer), away in zip(_SIDES, (-across, across), strict=True):
        corners = np.concatenate([points[list(inner)], points[list(outer)] + away * _BEYOND * size])
        area = np.zeros(light.shape, np.uint8)
        cv2.fillConvexPoly(area, cv2.convexHull(np.round(corners).astype(np.int32)), 1)
        frames |= ((area > 0) & flat[labels]).view(np.uint8)
    # With the highlights on the frame and its shadow on the skin.
    closed = cv2.morphologyEx(frames, cv2.MORPH_CLOSE, _disc(size * 0.03))
    grown: np.ndarray = cv2.dilate(closed, _disc(size * 0.022))
    return grown


def _disc(radius: float) -> np.ndarray:
    side = 2 * max(1, round(radius)) + 1
    disc: np.ndarray = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return disc
