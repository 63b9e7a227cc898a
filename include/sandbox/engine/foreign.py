# SPDX-License-Identifier: Apache-2.0
"""Find what lies over a face: hair, a beard, a hand's shadow, a mask, glasses."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from . import worn
from .mask import OUTER_LIPS, filled
from .mesh import OVAL

# fmt: off
NOSTRILS = (98, 97, 2, 326, 327, 94)
# Under the eyes, beside them and between them: where glasses sit.
_GLASSES = (70, 105, 107, 336, 334, 300, 446, 340, 346, 347, 348, 6, 119, 118, 117, 111, 226)
_BETWEEN_BROWS = (9, 107, 336, 8)
_LIDS = (159, 386)
# fmt: on
# Differences from skin (Lab): darker, lighter, and in colour, from which a pixel is not bare skin.
_DARKER, _LIGHTER, _COLOUR = 27.0, 30.0, 22.0
# What lies over a face is in part as dark as this share of the skin, or of another colour; creases are not.
_SURELY_DARK, _SURELY_COLOUR, _SURE_SHARE = 0.52, 36.0, 0.3
_NO_COLOUR, _CREASE_IN_GREY = 3.0, 0.65
# Light falls off across a face by this much (L from edge to edge); where one half is rough as hair is, by less.
_STEEPEST_LIGHT, _STEEPEST_BESIDE_HAIR = 32.0, 20.0
_ROUNDS = 6
_FRINGE = 0.35
# The area of the largest highlight, in shares of the face's box.
_HIGHLIGHT = 0.02


@dataclass(frozen=True)
class Foreign:
    """
    What lies over a face.

    :param over: where something lies over the skin, or a part of the face under it, float32 0 to 1
    :param share: share of the face below the brows that is not bare; eyes, glasses, lips and a beard aside
    :param one_sided: how much more of one half than of the other is not bare, a beard included
    :param eyes: share around the eye that is less covered
    :param fringe: hair lies over forehead and brows
    :param eye_hidden: where an eye should be, nothing is to be seen
    :param bearded: chin and jaw are under a beard, on both halves
    """

    over: np.ndarray
    share: float
    one_sided: float
    eyes: float
    bearded: bool = False
    fringe: bool = False
    eye_hidden: bool = False


def find_foreign(lab: np.ndarray, points: np.ndarray, blown: np.ndarray) -> Foreign:
    """
    Find what lies over a face.

    :param lab: the face and a little around it, Lab, about `worn.SIDE` pixels high
    :param points: its mesh in the same pixels
    :param blown: where a channel is clipped, so that the colour says nothing
    """
    shape = lab.shape[:2]
    oval = (
        cv2.erode(filled(shape, points, OVAL, hull=False).view(np.uint8), np.ones((3, 3)), iterations=3) > 0
    )
    skin = oval & ~filled(shape, points, OUTER_LIPS, hull=True) & ~filled(shape, points, NOSTRILS, hull=True)
    for eye in worn.EYES:
        skin &= ~filled(shape, points, eye, hull=True)
    up, below_brows, below_nose = _heights(shape, points)
    lower = skin & below_brows
    if lower.sum() < 64:
        return Foreign(np.zeros(shape, np.float32), 0.0, 0.0, 0.0)
    skin_seen = lower & ~blown
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    left = (x - points[5, 0]) * up[1] - (y - points[5, 1]) * up[0] > 0
    light = np.ascontiguousarray(lab[:, :, 0])
    rough = worn.rough_half(light, (lower & left, lower & ~left))
    steepest = _STEEPEST_BESIDE_HAIR if rough else _STEEPEST_LIGHT
    other, coloured, sure, lit = _not_skin(lab, skin_seen if skin_seen.sum() > 64 else lower, steepest)
    other, coloured = other & ~blown, coloured & ~blown
    covered = min(_brows_covered(other, points)) > _FRINGE
    fringe = not worn.sideways(points) and (covered or worn.fringe(light, points))
    checked = lower & ~filled(shape, points, _GLASSES, hull=True)
    counted = np.where(below_nose, coloured, other)[checked]
    halves = [float(other[half].mean()) if half.sum() > 32 else 0.0 for half in (lower & left, lower & ~left)]
    bearded = worn.bearded(light, lower & below_nose, points, left)
    return Foreign(
        over=_over(other & skin, sure, lit, points, up, fringe=fringe),
        share=float(counted.mean()) if counted.size else 0.0,
        one_sided=abs(halves[0] - halves[1]),
        eyes=worn.eyes_covered(light, other, points),
        bearded=bearded,
        fringe=fringe,
        eye_hidden=worn.eye_hidden(light, points),
    )


def _heights(shape: tuple[int, ...], points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the direction from chin to forehead, and what lies below the brows and below the nose."""
    up = points[10, :2] - points[152, :2]
    up = up / max(float(np.linalg.norm(up)), 1e-3)
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    height = x * up[0] + y * up[1]
    brows, nose = (points[list(row), :2].mean(axis=0) @ up for row in ((70, 105, 107, 336, 334, 300), (2,)))
    return up, height < brows, height < nose


def _not_skin(
    lab: np.ndarray, lower: np.ndarray, steepest: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return where a pixel is not like the skin of the lower face: at all, in colour, without any doubt, in light."""
    light, shape = np.ascontiguousarray(lab[:, :, 0]), lower.shape
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    plane = np.stack([np.ones(shape, np.float32), x / shape[1] - 0.5, y / shape[0] - 0.5], axis=-1)
    expected = plane @ _lighting(light[lower][::3], plane[lower][::3], steepest)
    away = light - expected
    usual = lower & (np.abs(away) < 12)
    tone = np.median(lab[usual if usual.sum() > 32 else lower][:, 1:], axis=0)
    # Skin in the shade has less colour: what is dark is measured by less.
    shade = np.clip(light / np.maximum(expected, 1), 0.1, 1)
    colour = np.hypot(lab[:, :, 1] - tone[0] * shade, lab[:, :, 2] - tone[1] * shade)
    # Creases and the shadow beside the nose keep the hue of skin, in full; hair does not.
    strength = max(float(np.linalg.norm(tone)), 1.0)
    along = (lab[:, :, 1] * tone[0] + lab[:, :, 2] * tone[1]) / strength
    across = np.abs(lab[:, :, 1] * tone[1] - lab[:, :, 2] * tone[0]) / strength
    crease = (away < 0) & (along > 0.8 * strength) & (across < 0.5 * strength)
    if strength < _NO_COLOUR:
        crease = (away < 0) & (light > _CREASE_IN_GREY * expected)
    coloured = (colour > _COLOUR) & ~crease
    sure = ((colour > _SURELY_COLOUR) & ~crease) | ((light < _SURELY_DARK * expected) & (away < -_DARKER / 2))
    lit = away > _LIGHTER
    return coloured | ((away < -_DARKER) & ~crease) | lit, coloured, sure, lit & ~coloured


def _lighting(light: np.ndarray, plane: np.ndarray, steepest: float) -> np.ndarray:
    """Return the plane of light over the skin, fitted so that what is not skin hardly counts."""
    weight = np.ones(len(light), np.float32)
    fit = np.array([np.median(light), 0, 0], np.float32)
    for _ in range(_ROUNDS):
        weighted = plane * weight[:, None]
        fit = np.linalg.solve(weighted.T @ plane + np.eye(3, dtype=np.float32) * 1e-2, weighted.T @ light)
        fit[1:] = np.clip(fit[1:], -steepest, steepest)
        away = light - plane @ fit
        # Hair is darker than the skin under it: what is bright decides.
        fit[0] += np.float32(np.percentile(away, 55))
        away = light - plane @ fit
        scale = max(float(np.median(np.abs(away))) * 2, 4.0)
        weight = (1 / (1 + np.square(away / scale))).astype(np.float32)
    return fit


def _brows_covered(other: np.ndarray, points: np.ndarray) -> tuple[float, float]:
    """Return the shares that are not skin between and above the brows."""
    patches = (
        other[filled(other.shape, points, patch, hull=True)] for patch in (_BETWEEN_BROWS, worn.ABOVE_BROWS)
    )
    between, above = (float(patch.mean()) if patch.size > 8 else 0.0 for patch in patches)
    return between, above


def _over(
    other: np.ndarray, sure: np.ndarray, lit: np.ndarray, points: np.ndarray, up: np.ndarray, *, fringe: bool
) -> np.ndarray:
    """
    Return what to leave out of a swap: no specks, highlights or glasses, and brows only if a fringe reaches them.

    :param lit: where a pixel is lighter than the skin
    """
    shape = other.shape
    glasses = filled(shape, points, _GLASSES, hull=True)
    found: np.ndarray = np.zeros(shape, np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(other.astype(np.uint8), connectivity=8)
    inside, certain, bright = (np.bincount(labels[area], minlength=count) for area in (glasses, sure, lit))
    least_light = _HIGHLIGHT * np.prod(np.ptp(points[:, :2], axis=0))
    for number in range(1, count):
        area = int(stats[number, cv2.CC_STAT_AREA])
        if area < least_light and bright[number] > 0.5 * area:
            continue  # a highlight
        if area >= 24 and inside[number] < 0.6 * area and certain[number] > _SURE_SHARE * area:
            found[labels == number] = 1
    # A strand that crosses a brow or an eye is found on both sides of it.
    found = cv2.morphologyEx(found, cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8))
    if fringe:
        y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
        lids = points[list(_LIDS), :2].mean(axis=0) + up * 0.03 * shape[0]
        found[(x * up[0] + y * up[1]) > lids @ up] = 1
    found = cv2.dilate(found, np.ones((3, 3), np.uint8))
    return cv2.GaussianBlur(found.astype(np.float32), (0, 0), 1.0)
