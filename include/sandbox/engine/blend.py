# SPDX-License-Identifier: Apache-2.0
"""Blend a face into a scene without a visible seam: warp, match colour, correct the edge, mix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from . import colour, mask
from .edge import edge_correction
from .frames import take_off_glasses
from .halves import lay, lay_halves
from .shape import lend_shape
from .warp import remap_tables, with_rings

if TYPE_CHECKING:
    from .decode import Photo
    from .fitness import Look
    from .halves import Laid
    from .warp import FaceTexture

# Masks, tables and tones are smooth, so they are computed at no more than this many pixels a side.
_WORK = 352
_MARGIN = 0.1
_MOST_GRAIN = 3.0
# On a smaller face, what looks like grain is its own detail; as spots on the new face it would be freckles.
_FULL_GRAIN = 150.0
_STRIP = 128
# The edge is corrected at about half the work scale: the visible area affects pixels up to this far outside it.
_EDGE_MARGIN = 6


@dataclass(frozen=True)
class _Place:
    """A part of the scene around one face, and its work scale."""

    part: tuple[slice, slice]
    width: int
    height: int
    scale: float
    points: np.ndarray
    size: float
    angle: float
    over: np.ndarray


def _place(look: Look, photo: Photo) -> _Place | None:
    face = look.face
    height, width = photo.rgb.shape[:2]
    left, top, right, bottom = face.box
    margin = round(face.size * _MARGIN) + 4
    left, top = max(left - margin, 0), max(top - margin, 0)
    right, bottom = min(right + margin, width), min(bottom + margin, height)
    if right - left < 8 or bottom - top < 8:
        return None
    scale = min(1.0, _WORK / max(right - left, bottom - top))
    moved = with_rings(face.points) - np.array([left, top, 0], np.float32)
    fit = (max(8, round((right - left) * scale)), max(8, round((bottom - top) * scale)))
    return _Place(
        part=(slice(top, bottom), slice(left, right)),
        width=fit[0],
        height=fit[1],
        scale=scale,
        points=(moved * scale).astype(np.float32),
        size=face.size * scale,
        angle=face.angle,
        over=look.foreign_in(left, top, (fit[0] / (right - left), fit[1] / (bottom - top)), fit),
    )


@dataclass(frozen=True)
class _Paint:
    """
    Colours and mask of the new face, at work scale.

    :param giver: skin of the new face
    :param receiver: skin of the face that is replaced
    :param neutral: where eyes and teeth are, 0 to 1
    :param lips: where the lips are, 0 to 1
    :param shown: share of the new face, 0 to 1
    :param toned: Lab of the new face, matched and with the tone added
    :param tone: Lab to add after the skins are matched
    :param grain: level of grain to add
    :param edge: RGB to add at the end
    :param other: share of the mirrored face, 0 to 1, if any
    """

    giver: colour.Skin
    receiver: colour.Skin
    neutral: np.ndarray
    lips: np.ndarray
    shown: np.ndarray
    toned: np.ndarray
    tone: np.ndarray
    grain: float
    edge: np.ndarray
    other: np.ndarray | None


def replace_face(photo: Photo, look: Look, texture: FaceTexture) -> bool:
    """
    Replace one face of the photo in place; outside the face only the ends of its glasses are painted over.

    :param photo: the scene
    :param look: the face to replace
    :param texture: the new face
    :return: whether enough of the face was inside the picture to replace it
    """
    place = _place(look, photo)
    face = look.face
    if place is None:
        return False
    if look.glasses and not texture.glasses:
        take_off_glasses(photo, look)
    here = photo.flat(place.part)
    small = texture.scaled_to(place.size).as_sharp_as(look.sharpness)
    target = lend_shape(small.points, place.points)
    tables = remap_tables(small.points, target, place.width, place.height)
    eyes = mask.eyes(target, place.size, place.width, place.height)
    lips = mask.lips(target, place.size, place.width, place.height)
    laid = lay_halves(small, tables, eyes, lips, place.size)
    scene = cv2.resize(here, (place.width, place.height), interpolation=cv2.INTER_AREA)
    paint = _prepare(scene, laid, place, small, target)
    if paint is None:
        return False
    if place.scale == 1.0:
        _mix_small(photo, place, paint)
    else:
        large = texture.scaled_to(face.size).as_sharp_as(look.sharpness)
        needed = tables if paint.other is not None else tables[:1]
        wide = [one.enlarged(small, large, *here.shape[:2]) for one in needed]
        _mix_large(photo, place, paint, large, wide)
    return True


def _prepare(
    scene: np.ndarray,
    face: Laid,
    place: _Place,
    texture: FaceTexture,
    target: np.ndarray,
) -> _Paint | None:
    here, laid, trust = colour.to_lab(scene), face.lab, face.trust
    bare = 1 - np.maximum(place.over, face.over)
    area = colour.bare_area(place.points, place.width, place.height) & (trust > 0)
    if (area & (bare > 0.5)).sum() > 200:
        area &= bare > 0.5
    receiver, giver = colour.measure(here, area), colour.measure(laid, area)
    if receiver is None or giver is None:
        return None
    skin_here = colour.likeness(here, receiver)
    skin_laid = colour.likeness(laid, giver, shade=1.3) * trust
    free_laid, meets = skin_laid, skin_here
    if texture.bearded:
        # A beard is the person's own: all of it comes along, over whatever grows on the other chin.
        beard = mask.jaw(target, place.size, place.width, place.height)
        free_laid, bare = np.maximum(skin_laid, beard * trust), np.maximum(bare, beard)
        meets = meets * (1 - beard * (1 - skin_laid))
    shown = mask.face_mask(place.points, place.size, place.angle, skin_here, free_laid) * bare
    neutral = mask.neutral(target, place.size, place.width, place.height)
    lips = mask.lips(target, place.size, place.width, place.height)
    matched = colour.match(laid, giver, receiver, keep_colourless=texture.grey, neutral=neutral, lips=lips)
    in_any_light = colour.likeness_in_shade(laid, giver) * trust * (1 - neutral)
    tone = colour.tone_field(matched, here, shown * skin_here * in_any_light, place.size * 0.1)
    if mask.keeps_own_mouth(texture.points, place.points):
        shown = shown * (1 - mask.lips(place.points, place.size, place.width, place.height))
    toned = matched + tone
    edge = _edge(toned, scene, meets, shown, place.size)
    if receiver.colourless:
        edge[:] = edge.mean(axis=2, keepdims=True)
    grain = _missing_grain(here, matched, area) * min(place.size / _FULL_GRAIN, 1.0) ** 2
    return _Paint(giver, receiver, neutral, lips, shown, toned, tone, grain, edge, face.other)


def _edge(
    toned: np.ndarray, scene: np.ndarray, skin: np.ndarray, shown: np.ndarray, size: float
) -> np.ndarray:
    """
    Return the edge correction, computed only around the visible area.

    :param skin: where skin meets skin, 0 to 1
    """
    laid, meeting = np.zeros((2, *scene.shape), np.float32)
    window = _window(shown, margin=_EDGE_MARGIN)
    laid[window] = colour.to_rgb(toned[window])
    # Where hair, a hat, glasses or a beard touch the edge, there is no skin to match, so the edge is not corrected.
    meets = cv2.GaussianBlur(skin, (0, 0), max(size * 0.01, 0.8))[window]
    meeting[window] = laid[window] + (scene[window] - laid[window]) * colour.spread_out(meets)
    return edge_correction(laid, meeting, shown)


def _window(shown: np.ndarray, *, margin: int = 0) -> tuple[slice, slice]:
    """Return the rows and columns of the visible area plus a margin; at least one of each."""
    left, top, width, height = cv2.boundingRect((shown > 0).view(np.uint8))
    return (
        slice(max(top - margin, 0), top + max(height, 1) + margin),
        slice(max(left - margin, 0), left + max(width, 1) + margin),
    )


def _within(part: tuple[slice, slice], window: tuple[slice, slice]) -> tuple[slice, slice]:
    """Return a window of a patch in the photo's rows and columns."""
    rows, columns = (
        slice(outer.start + inner.start, min(outer.start + inner.stop, outer.stop))
        for outer, inner in zip(part, window, strict=True)
    )
    return rows, columns


def _mix_small(photo: Photo, place: _Place, paint: _Paint) -> None:
    """Blend the face in at work scale."""
    window = _window(paint.shown)
    lab = paint.toned[window]
    lab[:, :, 0] += colour.grain(paint.grain, *paint.shown.shape)[window]
    _mix(photo, _within(place.part, window), paint.shown[window], colour.to_rgb(lab) + paint.edge[window])


def _mix_large(
    photo: Photo,
    place: _Place,
    paint: _Paint,
    texture: FaceTexture,
    tables: list[tuple[np.ndarray, np.ndarray]],
) -> None:
    """Blend the face in at full size, strip by strip to limit memory."""
    height, width = tables[0][0].shape
    shown, tone, edge, neutral, lips = (
        cv2.resize(one, (width, height), interpolation=cv2.INTER_LINEAR)
        for one in (paint.shown, colour.packed(paint.tone), paint.edge, paint.neutral, paint.lips)
    )
    other = None
    if paint.other is not None:
        other = cv2.resize(paint.other, (width, height), interpolation=cv2.INTER_LINEAR)
    for top in range(0, height, _STRIP):
        rows = slice(top, min(top + _STRIP, height))
        part = (rows, _window(shown[rows])[1])
        lab = _lay(texture, tables[0], part)
        if other is not None and other[part].any():
            window = _window(other[part])
            there = _within(part, window)
            lab[window] += other[there][:, :, None] * (_lay(texture, tables[1], there) - lab[window])
        lab = colour.match(
            lab,
            paint.giver,
            paint.receiver,
            keep_colourless=texture.grey,
            neutral=neutral[part],
            lips=lips[part],
        )
        lab += tone[part]
        lab[:, :, 0] += colour.grain(paint.grain, rows.stop - rows.start, width)[:, part[1]]
        _mix(photo, _within(place.part, part), shown[part], colour.to_rgb(lab) + edge[part])


def _lay(
    texture: FaceTexture, tables: tuple[np.ndarray, np.ndarray], part: tuple[slice, slice]
) -> np.ndarray:
    """Return the texture's pixels for a part of the tables, Lab."""
    return colour.to_lab(lay(texture, tables[0][part], tables[1][part]))


def _missing_grain(here: np.ndarray, laid: np.ndarray, bare: np.ndarray) -> float:
    """Return how much grain to add, so that an enlarged face does not look too smooth in a grainy scene."""
    scene, own = colour.grain_level(here, bare), colour.grain_level(laid, bare)
    return min(float(np.sqrt(max(scene**2 - own**2, 0.0))), _MOST_GRAIN)


def _mix(photo: Photo, part: tuple[slice, slice], shown: np.ndarray, rgb: np.ndarray) -> None:
    """Mix new pixels into a part of the photo. Where the mask is 0, the photo's bytes do not change."""
    share = colour.spread_out(shown)
    flat = photo.flat(part)
    change = np.clip(rgb, 0, 255)
    change -= flat
    change *= share
    change += flat
    mixed = np.round(change, out=change).astype(np.uint8)
    if photo.grey:
        mixed = np.repeat(mixed[:, :, 1:2], 3, axis=2)
    np.copyto(photo.rgb[part], mixed, where=share > 0)
