# SPDX-License-Identifier: Apache-2.0
"""
Damage a photograph of a face the way photographs are damaged in real life.

Every function takes the pixels and the mesh of the face in them, and returns new pixels of the same size. The same
damage can thus be done to a picture before a swap and to a picture that was swapped undamaged.
"""

from __future__ import annotations

import io

import cv2
import numpy as np
from PIL import Image

from include.sandbox.engine.mesh import OVAL
from include.sandbox.engine.nets import triangles
from include.sandbox.engine.warp import triangle_maps

#: Rings outside the oval: how far out, how far they follow the head's turn, how far they lie behind it.
_RINGS = ((1.12, 0.95, 0.05), (1.35, 0.75, 0.25), (1.8, 0.35, 0.5), (2.6, 0.0, 0.8))
_BROW_ROW, _EYES, _MOUTH = (70, 105, 107, 336, 334, 300), ((33, 133), (362, 263)), (61, 291)


def png(rgb: np.ndarray) -> bytes:
    """Return the pixels as a PNG file."""
    out = io.BytesIO()
    Image.fromarray(rgb).save(out, "PNG", compress_level=1)
    return out.getvalue()


def size_of(points: np.ndarray) -> float:
    """Return the longer side of the face's box in pixels."""
    return float(np.ptp(points[:, :2], axis=0).max())


def turned(rgb: np.ndarray, points: np.ndarray, *, yaw: float = 0, pitch: float = 0) -> np.ndarray:
    """
    Turn the head in space by the mesh's own depth; what was hidden is drawn out from its nearest neighbours.

    :param yaw: degrees to the side
    :param pitch: degrees downwards
    """
    oval = points[list(OVAL)]
    middle, size = oval.mean(axis=0), size_of(points)
    parts, follow = [points], [np.ones(len(points))]
    for reach, share, behind in _RINGS:
        parts.append(middle + (oval - middle) * [reach, reach, 1] + [0, 0, behind * size])
        follow.append(np.full(len(oval), share))
    at = np.concatenate(parts).astype(np.float64)
    share = np.concatenate(follow)[:, None]
    centre = middle + np.array([0, 0, 0.25 * size])
    moved = at + share * ((at - centre) @ _turn(yaw, pitch).T + centre - at)
    corners = _corners()
    order = np.argsort(-moved[corners, 2].mean(axis=1), kind="stable")
    painted = np.zeros(rgb.shape[:2], np.int32)
    for number in order.tolist():
        fixed = np.round(moved[corners[number], :2] * 16).astype(np.int32)
        cv2.fillConvexPoly(painted, fixed, number + 1, cv2.LINE_8, 4)
    maps = triangle_maps(at, moved, corners)
    maps = np.concatenate([[[[1, 0, 0], [0, 1, 0]]], maps]).astype(np.float32)[painted]
    y, x = np.mgrid[: rgb.shape[0], : rgb.shape[1]].astype(np.float32)
    from_x, from_y = (maps[:, :, row, 0] * x + maps[:, :, row, 1] * y + maps[:, :, row, 2] for row in (0, 1))
    return cv2.remap(rgb, from_x, from_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def _turn(yaw: float, pitch: float) -> np.ndarray:
    a, b = np.radians(yaw), np.radians(pitch)
    about_y = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    return about_x @ about_y


def _corners() -> np.ndarray:
    count, inner, parts = len(OVAL), np.array(OVAL), [triangles()]
    for number in range(len(_RINGS)):
        outer = 468 + number * count + np.arange(count)
        parts += [
            np.stack([inner, np.roll(inner, -1), outer], axis=1),
            np.stack([np.roll(inner, -1), np.roll(outer, -1), outer], axis=1),
        ]
        inner = outer
    return np.concatenate(parts).astype(np.int32)


def blurred(rgb: np.ndarray, points: np.ndarray, *, share: float, motion: bool = False) -> np.ndarray:
    """Blur the picture by a share of the face's size, out of focus or along a line."""
    reach = share * size_of(points)
    if not motion:
        return cv2.GaussianBlur(rgb, (0, 0), reach)
    side = max(3, round(reach) | 1)
    line = np.zeros((side, side), np.float32)
    cv2.line(line, (0, side // 4), (side - 1, side - 1 - side // 4), 1.0, 1, cv2.LINE_AA)
    return cv2.filter2D(rgb, -1, line / line.sum(), borderType=cv2.BORDER_REPLICATE)


def lit(
    rgb: np.ndarray, points: np.ndarray, *, gain: float = 1, lift: float = 0, side: float = 0
) -> np.ndarray:
    """
    Change the light.

    :param gain: factor on every pixel
    :param lift: added to every pixel
    :param side: added on one side of the face, fading to nothing on the other, as hard light does
    """
    left, right = points[:, 0].min(), points[:, 0].max()
    ramp = np.clip((np.arange(rgb.shape[1]) - left) / (right - left), 0, 1)[None, :, None]
    return np.clip(rgb * gain + lift + side * ramp, 0, 255).astype(np.uint8)


def toned(rgb: np.ndarray, points: np.ndarray, *, lightness: float, chroma: float = 1) -> np.ndarray:
    """Make the skin, and what is coloured like it, darker or lighter, with its chroma scaled."""
    lab = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    cheeks = np.concatenate([_around(lab, points[number], size_of(points) * 0.04) for number in (50, 280, 5)])
    skin = np.median(cheeks, axis=0)
    lighter = lab[:, :, 0] - skin[0]
    away = np.linalg.norm((lab - skin)[:, :, 1:] / 11, axis=2) + np.where(
        lighter > 0, lighter / 120, -lighter / 45
    )
    like = cv2.GaussianBlur(np.clip(2 - away, 0, 1).astype(np.float32), (0, 0), size_of(points) * 0.01)[
        :, :, None
    ]
    other = lab * [lightness, chroma, chroma]
    mixed = lab + like * (other - lab)
    return np.round(cv2.cvtColor(mixed.astype(np.float32), cv2.COLOR_LAB2RGB) * 255).astype(np.uint8)


def _around(lab: np.ndarray, point: np.ndarray, reach: float) -> np.ndarray:
    x, y, r = round(float(point[0])), round(float(point[1])), max(2, round(reach))
    return lab[max(y - r, 0) : y + r, max(x - r, 0) : x + r].reshape(-1, 3)


def posterised(rgb: np.ndarray, points: np.ndarray, *, levels: int) -> np.ndarray:
    """Leave only a few levels in each channel."""
    step = 256 / levels
    return np.clip((np.floor(rgb / step) + 0.5) * step, 0, 255).astype(np.uint8)


def noisy(rgb: np.ndarray, points: np.ndarray, *, level: float) -> np.ndarray:
    """Add the grain of a high sensitivity."""
    noise = np.random.default_rng(7).normal(0, level, rgb.shape)
    return np.clip(rgb + noise, 0, 255).astype(np.uint8)


def strands(
    rgb: np.ndarray, points: np.ndarray, *, where: str, colour: tuple[int, int, int] = (38, 26, 20)
) -> np.ndarray:
    """
    Paint hair over the face.

    :param where: ``cheek`` (a few strands), ``fringe`` (down to the brows), ``temple``, ``beard``, ``curtain`` (half
        of the face)
    """
    dice = np.random.default_rng(11)
    size, out = size_of(points), rgb.copy()
    for start, end, bend in _paths(points[:, :2], size, where, dice):
        t = np.linspace(0, 1, 24)[:, None]
        path = start + (end - start) * t + np.sin(t * np.pi) * bend
        shade = np.clip(np.array(colour) * dice.uniform(0.6, 1.7), 0, 255).tolist()
        wide = max(1, round(size * (0.006 if where in {"beard", "cheek"} else 0.01)))
        cv2.polylines(out, [np.round(path * 16).astype(np.int32)], False, shade, wide, cv2.LINE_AA, 4)
    return out


def _paths(points: np.ndarray, size: float, where: str, dice: np.random.Generator):
    down = (points[152] - points[10]) / np.linalg.norm(points[152] - points[10])
    across = np.array([down[1], -down[0]]) * np.sign(points[454, 0] - points[234, 0])
    if where == "beard":
        lower = [132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361]
        edge, lips = points[lower], points[list(_MOUTH)].mean(axis=0)
        for _ in range(1600):
            at = edge[dice.integers(len(edge))]
            start = lips + (at - lips) * dice.uniform(0.45, 1.0) + dice.normal(0, 0.012 * size, 2)
            yield start, start + (down + across * dice.normal(0, 0.5)) * size * 0.035, across * 0
        return
    count, left, right, length = {
        "cheek": (9, 0.15, 0.3, 0.85),
        "fringe": (240, -0.45, 0.45, 0.33),
        "temple": (120, 0.28, 0.5, 0.6),
        "curtain": (420, 0.0, 0.5, 1.0),
    }[where]
    top = points[10] - down * size * 0.08
    for _ in range(count):
        start = top + across * size * dice.uniform(left, right)
        end = start + down * size * length * dice.uniform(0.85, 1.1) + across * size * dice.normal(0, 0.03)
        yield start, end, across * size * dice.normal(0, 0.04)


def glasses(rgb: np.ndarray, points: np.ndarray, *, shade: float = 0.0) -> np.ndarray:
    """
    Draw glasses.

    :param shade: how dark the lenses are, 0 to 1
    """
    out, size, thick = rgb.copy(), size_of(points), max(2, round(size_of(points) * 0.02))
    middles = []
    for corners in _EYES:
        eye = points[list(corners), :2].mean(axis=0)
        middle = tuple(np.round(eye + np.array([0, size * 0.03])).astype(int).tolist())
        axes = (round(size * 0.16), round(size * 0.12))
        lens = out.copy()
        cv2.ellipse(lens, middle, axes, 0, 0, 360, (18, 18, 22), -1, cv2.LINE_AA)
        out = cv2.addWeighted(lens, shade, out, 1 - shade, 0)
        cv2.ellipse(out, middle, axes, 0, 0, 360, (22, 18, 18), thick, cv2.LINE_AA)
        middles.append((middle, axes))
    (one, axes), (other, _) = middles
    cv2.line(
        out, (one[0] + axes[0], one[1]), (other[0] - axes[0], other[1]), (22, 18, 18), thick, cv2.LINE_AA
    )
    return out


def covered(rgb: np.ndarray, points: np.ndarray, *, what: str) -> np.ndarray:
    """
    Cover a part of the face.

    :param what: ``mask`` (nose, mouth and chin under cloth), ``cup`` (a dark disc over mouth and nose), ``hand`` (skin
        over an eye and the cheek)
    """
    out, size = rgb.copy(), size_of(points)
    if what == "mask":
        edge = points[[234, 123, 5, 352, 454, 361, 397, 378, 152, 149, 172, 132], :2]
        cv2.fillPoly(out, [np.round(edge).astype(np.int32)], (150, 190, 205), cv2.LINE_AA)
        for row in (0.35, 0.5, 0.65):
            y = round(float(points[5, 1] + (points[152, 1] - points[5, 1]) * row))
            cv2.line(
                out, (round(float(points[132, 0])), y), (round(float(points[361, 0])), y), (120, 160, 178), 2
            )
    elif what == "cup":
        at = np.round(points[13, :2]).astype(int).tolist()
        cv2.circle(out, at, round(size * 0.24), (30, 42, 70), -1, cv2.LINE_AA)
    else:
        skin = np.median(_around(rgb.astype(np.float32), points[50], size * 0.05), axis=0) * 0.92
        for number in range(4):
            start = points[33, :2] + np.array([-0.35 * size, (0.16 * number - 0.12) * size])
            end = start + np.array([0.52 * size, -0.06 * size])
            ends = [np.round(one).astype(int).tolist() for one in (start, end)]
            cv2.line(
                out, *ends, (skin * (0.94 if number % 2 else 1)).tolist(), round(size * 0.13), cv2.LINE_AA
            )
    return out


def small(rgb: np.ndarray, points: np.ndarray, *, pixels: float) -> np.ndarray:
    """Scale the picture until the face has this many pixels, in a canvas of at least 200."""
    scale = pixels / size_of(points)
    fit = (max(2, round(rgb.shape[1] * scale)), max(2, round(rgb.shape[0] * scale)))
    little = cv2.resize(rgb, fit, interpolation=cv2.INTER_AREA)
    pad_x, pad_y = max(0, 200 - fit[0]) // 2, max(0, 200 - fit[1]) // 2
    return cv2.copyMakeBorder(little, pad_y, pad_y, pad_x, pad_x, cv2.BORDER_REPLICATE)


def cut(rgb: np.ndarray, points: np.ndarray, *, share: float, side: str) -> np.ndarray:
    """Cut the picture so that a share of the face is outside it."""
    low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    at = np.round(low + (high - low) * share).astype(int)
    return np.ascontiguousarray(rgb[:, at[0] :] if side == "left" else rgb[at[1] :])


def tilted(rgb: np.ndarray, points: np.ndarray, *, degrees: float) -> np.ndarray:
    """Rotate the picture about the middle of the face."""
    centre = points[:, :2].mean(axis=0).tolist()
    turn = cv2.getRotationMatrix2D(centre, degrees, 1)
    return cv2.warpAffine(rgb, turn, rgb.shape[1::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
