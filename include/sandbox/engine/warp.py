# SPDX-License-Identifier: Apache-2.0
"""Warp one face's pixels onto another face's mesh: piecewise affine, far to near, in one remap."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

from .mesh import OVAL
from .nets import mirror, triangles

if TYPE_CHECKING:
    from .fitness import Look

# Extent of the texture beyond the face oval, relative to the distance from the middle of the face.
_RINGS = (1.03, 1.08)
_SHIFT = 4
_OVER_SIDE = 200
# Sharpness and the blur that leads to it, measured on the sample faces. Above, faces differ by their own detail.
_BLUR = (0.12, 0.18, 0.25, 0.35, 0.45), (0.022, 0.014, 0.01, 0.006, 0.0)
_VISIBLE_BLUR, _SHARPEN = 0.003, 0.6


@dataclass(frozen=True)
class FaceTexture:
    """
    The source face: its pixels and its mesh.

    :param rgb: the part of the picture around the face, uint8
    :param points: mesh and rings in pixels of ``rgb``, float32 N x 3
    :param grey: the pixels carry no colour of their own
    :param size: the face's size in pixels of ``rgb``
    :param over: what lies over the face, over the same area in fewer pixels, float32 0 to 1
    :param sharpness: fine detail in proportion to coarse detail
    :param bearded: chin and jaw are under a beard
    :param glasses: the person wears glasses
    """

    rgb: np.ndarray
    points: np.ndarray
    grey: bool
    size: float
    over: np.ndarray
    sharpness: float
    bearded: bool
    glasses: bool

    @classmethod
    def cut(cls, rgb: np.ndarray, look: Look, *, grey: bool) -> FaceTexture:
        """Crop the face from its picture, so that the picture can be freed."""
        face = look.face
        points = with_rings(face.points)
        height, width = rgb.shape[:2]
        low = np.clip(np.floor(points[:, :2].min(axis=0)).astype(int) - 8, 0, [width - 1, height - 1])
        high = np.ceil(points[:, :2].max(axis=0)).astype(int) + 8
        part = rgb[low[1] : max(high[1], low[1] + 1), low[0] : max(high[0], low[0] + 1)].copy()
        moved = points.copy()
        moved[:, :2] -= low
        across, down = part.shape[1], part.shape[0]
        scale = min(1.0, _OVER_SIDE / max(across, down))
        fit = (max(2, round(across * scale)), max(2, round(down * scale)))
        over = look.foreign_in(low[0], low[1], (fit[0] / across, fit[1] / down), fit)
        return cls(
            part,
            moved,
            grey or _colourless(part),
            face.size,
            over,
            look.sharpness,
            look.foreign.bearded,
            look.glasses,
        )

    def scaled_to(self, size: float) -> FaceTexture:
        """Return the face at the size needed; a much larger one would alias in the remap."""
        scale = size / self.size
        if scale >= 0.9:
            return self
        height, width = self.rgb.shape[:2]
        fit = (max(2, round(width * scale)), max(2, round(height * scale)))
        points = self.points * np.array([fit[0] / width, fit[1] / height, scale], np.float32)
        small = cv2.resize(self.rgb, fit, interpolation=cv2.INTER_AREA)
        return replace(self, rgb=small, points=points, size=size)

    def as_sharp_as(self, sharpness: float) -> FaceTexture:
        """Return the face with the sharpness of another picture, where one of the two is clearly soft."""
        own, other = _blur_of(self.sharpness), _blur_of(sharpness)
        if abs(own - other) < _VISIBLE_BLUR:
            return self
        sigma = float(np.sqrt(abs(other**2 - own**2))) * self.size
        soft = cv2.GaussianBlur(self.rgb, (0, 0), sigma)
        if own > other:
            soft = cv2.addWeighted(self.rgb, 1 + _SHARPEN, soft, -_SHARPEN, 0)
        return replace(self, rgb=soft)


def _blur_of(sharpness: float) -> float:
    """Return the blur of a face, as the sigma of a Gaussian in shares of the face's size; 0 for a sharp one."""
    return float(np.interp(sharpness, *_BLUR))


def _colourless(rgb: np.ndarray) -> bool:
    small = cv2.resize(rgb, (64, 64), interpolation=cv2.INTER_AREA).astype(np.int16)
    return bool(np.percentile(small.max(axis=2) - small.min(axis=2), 98) <= 6)


def with_rings(points: np.ndarray) -> np.ndarray:
    """Return the mesh with rings of extra points outside its oval, on lines from the middle of the face."""
    oval = points[list(OVAL)]
    middle = oval.mean(axis=0)
    rings = [middle + (oval - middle) * reach for reach in _RINGS]
    return np.concatenate([points, *rings]).astype(np.float32)


@cache
def topology() -> np.ndarray:
    """Return the triangles of the mesh and its rings, int32 T x 3."""
    count = len(OVAL)
    inner = np.array(OVAL)
    parts = [triangles()]
    for number in range(len(_RINGS)):
        outer = 468 + number * count + np.arange(count)
        parts.extend(
            (
                np.stack([inner, np.roll(inner, -1), outer], axis=1),
                np.stack([np.roll(inner, -1), np.roll(outer, -1), outer], axis=1),
            )
        )
        inner = outer
    return np.concatenate(parts).astype(np.int32)


@cache
def mirrored() -> np.ndarray:
    """Return for each point of the mesh and its rings the number of the one on the other half of the face."""
    place = {number: at for at, number in enumerate(OVAL)}
    across = np.array([place[number] for number in mirror()[list(OVAL)].tolist()])
    count = len(OVAL)
    return np.concatenate([mirror(), *(468 + ring * count + across for ring in range(len(_RINGS)))])


@dataclass(frozen=True)
class Tables:
    """
    For each pixel of the target, the source coordinates of its colour.

    :param x: column in the source, float32
    :param y: row in the source, float32
    :param trust: how far to trust it, 0 to 1: less where few pixels of the source are drawn out over many, 0 where the
        mesh does not reach
    :param seen: pixels of the source for one of the target, 0 where the mesh does not reach
    """

    x: np.ndarray
    y: np.ndarray
    trust: np.ndarray
    seen: np.ndarray

    def over(self, texture: FaceTexture) -> np.ndarray:
        """Return what lies over the texture's face for each pixel of the target."""
        height, width = texture.over.shape
        across, down = width / texture.rgb.shape[1], height / texture.rgb.shape[0]
        x, y = (self.x + np.float32(0.5)) * np.float32(across), (self.y + np.float32(0.5)) * np.float32(down)
        half = np.float32(0.5)
        return cv2.remap(texture.over, x - half, y - half, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    def enlarged(
        self, small: FaceTexture, large: FaceTexture, height: int, width: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the tables for a larger target and texture; they are linear inside each triangle."""
        tables = []
        for table, axis in ((self.x, 1), (self.y, 0)):
            ratio = large.rgb.shape[axis] / small.rgb.shape[axis]
            wide = cv2.resize(table, (width, height), interpolation=cv2.INTER_LINEAR)
            tables.append((wide + np.float32(0.5)) * np.float32(ratio) - np.float32(0.5))
        return tables[0], tables[1]


def remap_tables(source: np.ndarray, target: np.ndarray, width: int, height: int) -> tuple[Tables, Tables]:
    """
    Build the tables by painting the triangles from far to near.

    :param source: mesh points with rings in the source, N x 3
    :param target: the same in the target
    :return: the tables of the face, and those of the face in a mirror
    """
    corners = topology()
    order = np.argsort(-target[corners, 2].mean(axis=1), kind="stable")
    painted = np.zeros((height, width), np.int32)
    fixed = np.round(target[:, :2] * (1 << _SHIFT)).astype(np.int32)
    for number, polygon in zip((order + 1).tolist(), fixed[corners[order]], strict=True):
        cv2.fillConvexPoly(painted, polygon, number, cv2.LINE_8, _SHIFT)
    first, second = (_tables(points, target, painted) for points in (source, source[mirrored()]))
    return first, second


def _tables(source: np.ndarray, target: np.ndarray, painted: np.ndarray) -> Tables:
    """Return the tables of a source mesh for the triangles painted."""
    height, width = painted.shape
    corners = topology()
    affine = triangle_maps(source, target, corners)
    # One look-up per coefficient: each result is contiguous, which makes the sums fast.
    rows = np.zeros((8, len(corners) + 1), np.float32)
    rows[:6, 1:] = affine.reshape(-1, 6).T
    rows[6, 1:] = stretch_trust(affine[:, :, :2])
    rows[7, 1:] = np.abs(np.linalg.det(affine[:, :, :2]))
    x = np.arange(width, dtype=np.float32)
    y = np.arange(height, dtype=np.float32)[:, None]
    from_x, from_y = (_straight(rows[first : first + 3], painted, x, y) for first in (0, 3))
    trust, seen = (row.take(painted, mode="clip") for row in rows[6:])
    return Tables(from_x, from_y, trust, seen)


def _straight(rows: np.ndarray, painted: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return across * x + down * y + shift for the triangle painted at each pixel."""
    # No index is out of range; in other modes NumPy would copy the indices first.
    out: np.ndarray
    out, down, shift = (row.take(painted, mode="clip") for row in rows)
    out *= x
    down *= y
    out += down
    out += shift
    return out


def triangle_maps(source: np.ndarray, target: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Return each triangle's 2 x 3 map from target to source; degenerate triangles get a translation."""
    at = target[corners, :2].astype(np.float64)
    to = source[corners, :2].astype(np.float64)
    sides = at[:, 1:] - at[:, :1]
    area = sides[:, 0, 0] * sides[:, 1, 1] - sides[:, 0, 1] * sides[:, 1, 0]
    flat = np.abs(area) < 1e-3
    sides[flat] = np.eye(2)
    area[flat] = 1
    across = to[:, 1:] - to[:, :1]
    across[flat] = np.eye(2)
    (one_x, one_y), (other_x, other_y) = sides.transpose(1, 2, 0)[:, :, :, None]
    one, other = across[:, 0], across[:, 1]
    by_x = (other_y * one - one_y * other) / area[:, None]
    by_y = (one_x * other - other_x * one) / area[:, None]
    linear = np.stack([by_x, by_y], axis=2)
    middle = to.mean(axis=1) - np.einsum("nij,nj->ni", linear, at.mean(axis=1))
    return np.concatenate([linear, middle[:, :, None]], axis=2)


def stretch_trust(linear: np.ndarray) -> np.ndarray:
    """Return 1 for triangles stretched up to twice as much as the mesh, falling to 0 at five times."""
    (a, b), (c, d) = linear.transpose(1, 2, 0)
    # The smaller singular value of a 2 x 2 matrix.
    narrow = np.abs(np.hypot(a + d, c - b) - np.hypot(a - d, c + b)) / 2
    usual = np.median(narrow[: len(triangles())])
    trust: np.ndarray = np.clip((narrow / max(usual, 1e-6) - 0.2) / 0.3, 0, 1)
    return trust
