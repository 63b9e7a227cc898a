# SPDX-License-Identifier: Apache-2.0
"""Lays a face into a scene so that nobody sees where it begins: place, match colour, mend the edge, mix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from . import colour, mask
from .shape import lend_shape
from .warp import remap_tables, with_rings

if TYPE_CHECKING:
    from .decode import Photo
    from .mesh import Face
    from .warp import FaceTexture

# Masks, tables and the edge correction are smooth: they are made at no more than this many pixels a side.
_WORK = 352
_CLONE = 176
_MARGIN = 0.1
_LIMIT = 45.0
_FADE = 0.7
_MOST_GRAIN = 2.0
_STRIP = 128


@dataclass(frozen=True)
class _Place:
    """A part of the scene around one face, and the scale at which the work is done."""

    part: tuple[slice, slice]
    width: int
    height: int
    scale: float
    points: np.ndarray
    size: float


def _place(face: Face, photo: Photo) -> _Place | None:
    height, width = photo.rgb.shape[:2]
    left, top, right, bottom = face.box
    margin = round(face.size * _MARGIN) + 4
    left, top = max(left - margin, 0), max(top - margin, 0)
    right, bottom = min(right + margin, width), min(bottom + margin, height)
    if right - left < 8 or bottom - top < 8:
        return None
    scale = min(1.0, _WORK / max(right - left, bottom - top))
    moved = with_rings(face.points) - np.array([left, top, 0], np.float32)
    return _Place(
        part=(slice(top, bottom), slice(left, right)),
        width=max(8, round((right - left) * scale)),
        height=max(8, round((bottom - top) * scale)),
        scale=scale,
        points=(moved * scale).astype(np.float32),
        size=face.size * scale,
    )


def replace_face(photo: Photo, face: Face, texture: FaceTexture) -> None:
    """
    Change one face of the photo, in place; pixels off the face are not written.

    :param photo: the scene
    :param face: whose face gives way
    :param texture: the face to lay over it
    """
    place = _place(face, photo)
    if place is None:
        return
    here = photo.flat(place.part)
    small_here = cv2.resize(here, (place.width, place.height), interpolation=cv2.INTER_AREA)
    small = texture.scaled_to(place.size)
    target = lend_shape(small.points, place.points)
    tables = remap_tables(small.points, target, place.width, place.height)
    laid = _lay(small, tables[0], tables[1])

    lab_here, lab_laid = colour.to_lab(small_here), colour.to_lab(laid)
    bare = colour.bare_area(place.points, place.width, place.height)
    receiver = colour.measure(lab_here, bare)
    giver = colour.measure(lab_laid, bare & (tables[2] > 0))
    if receiver is None or giver is None:
        return
    matched = colour.match(lab_laid, giver, receiver, keep_colourless=small.grey)
    skin_here = colour.likeness(lab_here, receiver)
    skin_laid = colour.likeness(lab_laid, giver, shade=1.3)
    shown = mask.face_mask(place.points, place.size, face.angle, skin_here, skin_laid * tables[2])
    field = colour.tone_field(matched, lab_here, shown * skin_here * skin_laid, place.size * 0.1)
    if mask.keeps_own_mouth(small.points, place.points):
        shown *= 1 - mask.mouth(target, place.size, place.width, place.height)
    level = _missing_grain(lab_here, matched, bare & (tables[2] > 0))
    field[:, :, 0] += colour.grain(level, place.height, place.width)
    toned = colour.to_rgb(matched + field)
    # Where hair, a hat or glasses touch the face there is no skin to meet: nothing is to be mended there.
    meets = cv2.GaussianBlur(skin_here, (0, 0), max(place.size * 0.01, 0.8))[:, :, None]
    correction = _edge_correction(toned, toned + (small_here - toned) * meets, shown)
    if receiver.colourless:
        correction[:] = correction.mean(axis=2, keepdims=True)

    if place.scale == 1.0:
        _mix(photo, place.part, shown, toned + correction)
        return
    large = texture.scaled_to(face.size)
    from_x, from_y = _enlarged(tables, small, large, here.shape)
    height, width = here.shape[:2]
    shown, field, correction = (
        cv2.resize(one, (width, height), interpolation=cv2.INTER_LINEAR) for one in (shown, field, correction)
    )
    rows, columns = place.part
    for top in range(0, height, _STRIP):  # strip by strip, to keep memory small
        strip = slice(top, min(top + _STRIP, height))
        lab = colour.to_lab(_lay(large, from_x[strip], from_y[strip]))
        lab = colour.match(lab, giver, receiver, keep_colourless=large.grey)
        at = (slice(rows.start + strip.start, rows.start + strip.stop), columns)
        _mix(photo, at, shown[strip], colour.to_rgb(lab + field[strip]) + correction[strip])


def _missing_grain(here: np.ndarray, laid: np.ndarray, bare: np.ndarray) -> float:
    """How much grain a smooth face needs in a grainy scene: an enlarged face gives itself away by it."""
    scene, own = colour.grain_level(here, bare), colour.grain_level(laid, bare)
    return min(float(np.sqrt(max(scene**2 - own**2, 0.0))), _MOST_GRAIN)


def _lay(texture: FaceTexture, from_x: np.ndarray, from_y: np.ndarray) -> np.ndarray:
    return cv2.remap(
        texture.rgb, from_x, from_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )


def _enlarged(
    tables: tuple[np.ndarray, np.ndarray, np.ndarray],
    small: FaceTexture,
    large: FaceTexture,
    shape: tuple[int, ...],
) -> tuple[np.ndarray, np.ndarray]:
    """The work's tables for the full-size part and the full-size texture: they are straight lines inside each triangle."""
    height, width = shape[:2]
    ratio_x = large.rgb.shape[1] / small.rgb.shape[1]
    ratio_y = large.rgb.shape[0] / small.rgb.shape[0]
    from_x = cv2.resize(tables[0], (width, height), interpolation=cv2.INTER_LINEAR)
    from_y = cv2.resize(tables[1], (width, height), interpolation=cv2.INTER_LINEAR)
    return (from_x + 0.5) * ratio_x - 0.5, (from_y + 0.5) * ratio_y - 0.5


def _edge_correction(laid: np.ndarray, here: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """
    What must be added to the laid face so that its edge meets the scene: float32 RGB, smooth.

    Gradient-domain cloning alone bleeds the colour of hats and hair across the face. Only its difference to the plain
    face is used: limited, and weaker towards the middle.
    """
    height, width = shown.shape
    scale = min(1.0, _CLONE / max(height, width))
    fit = (max(8, round(width * scale)), max(8, round(height * scale)))
    small = cv2.resize(np.clip(laid, 0, 255), fit, interpolation=cv2.INTER_AREA)
    scene = cv2.resize(np.clip(here, 0, 255), fit, interpolation=cv2.INTER_AREA)
    scene = np.round(scene).astype(np.uint8)
    inside = (cv2.resize(shown, fit, interpolation=cv2.INTER_AREA) > 0.5).astype(np.uint8)
    inside[:2] = inside[-2:] = 0
    inside[:, :2] = inside[:, -2:] = 0
    if int(inside.sum()) < 64:
        return np.zeros((height, width, 3), np.float32)
    plain = np.round(small).astype(np.uint8)
    x, y, w, h = cv2.boundingRect(inside)
    cloned = cv2.seamlessClone(plain, scene, inside * 255, (x + w // 2, y + h // 2), cv2.NORMAL_CLONE)
    change = cloned.astype(np.float32) - plain
    change = _LIMIT * np.tanh(change / _LIMIT)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 3)
    change *= (1 - _FADE * np.clip(depth / (0.5 * depth.max()), 0, 1))[:, :, None]
    change = _spread(change, inside, max(fit) * 0.02)
    return cv2.resize(change, (width, height), interpolation=cv2.INTER_LINEAR)


def _spread(change: np.ndarray, inside: np.ndarray, sigma: float) -> np.ndarray:
    """Smooth the change over the inside only, and carry it a little beyond."""
    weight = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), sigma)
    smooth = cv2.GaussianBlur(change * inside[:, :, None], (0, 0), sigma)
    return smooth / np.maximum(weight, 0.02)[:, :, None]


def _mix(photo: Photo, part: tuple[slice, slice], shown: np.ndarray, rgb: np.ndarray) -> None:
    """Mix new pixels into a part of the photo; where nothing of them shows, the photo's bytes stay as they are."""
    share = shown[:, :, None]
    flat = photo.flat(part)
    mixed = np.round(flat + share * (np.clip(rgb, 0, 255) - flat)).astype(np.uint8)
    if photo.grey:
        mixed = np.repeat(mixed[:, :, 1:2], 3, axis=2)
    photo.rgb[part] = np.where(share > 0, mixed, photo.rgb[part])
