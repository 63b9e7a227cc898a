# SPDX-License-Identifier: Apache-2.0
"""Correct the edge of a new face so that it matches the scene around it."""

from __future__ import annotations

import cv2
import numpy as np

from .colour import spread_out

# The correction is smooth, so it is computed at no more than this many pixels a side.
_SIDE = 176
_LIMIT = 45.0
_FADE = 0.7


def edge_correction(laid: np.ndarray, here: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """
    Return what to add to the new face so that its edge matches the scene: float32 RGB, smooth.

    Gradient-domain cloning alone bleeds the colour of hats and hair across the face. Only its difference to the plain
    face is used: limited, and weaker towards the middle.
    """
    height, width = shown.shape
    scale = min(1.0, _SIDE / max(height, width))
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
    change *= spread_out(1 - _FADE * np.clip(depth / (0.5 * depth.max()), 0, 1))
    change = _spread(change, inside, max(fit) * 0.02)
    return cv2.resize(change, (width, height), interpolation=cv2.INTER_LINEAR)


def _spread(change: np.ndarray, inside: np.ndarray, sigma: float) -> np.ndarray:
    """Smooth the correction over the inside, and extend it slightly beyond."""
    weight = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), sigma)
    smooth = cv2.GaussianBlur(change * spread_out(inside), (0, 0), sigma)
    spread: np.ndarray = smooth / spread_out(np.maximum(weight, 0.02))
    return spread
