# SPDX-License-Identifier: Apache-2.0
"""Move the replaced face's eyes, nose and brows towards the proportions of the source face, for likeness."""

from __future__ import annotations

import numpy as np

from .mesh import OVAL

_STRENGTH = 0.6
# fmt: off
# Points that facial expressions do not move: brow ridge, eye corners, nose, temples. They determine the pose.
_RIGID = (33, 133, 362, 263, 6, 168, 197, 195, 5, 4, 1, 98, 327, 127, 356, 234, 454, 151, 9, 8, 93, 323)
_LIPS = (61, 291, 0, 17, 13, 14, 78, 308)
# fmt: on


def lend_shape(giver: np.ndarray, receiver: np.ndarray) -> np.ndarray:
    """
    Return the receiver's mesh with its inner points moved towards the giver's; the oval and rings do not move.

    :param giver: mesh with rings, N x 3
    :param receiver: mesh with rings, N x 3
    :return: where to draw the giver's points, N x 3
    """
    count = 468
    posed = _in_pose(giver[:count], receiver[:count])
    weight = _weights(receiver[:count]) * _STRENGTH
    moved = receiver.copy()
    moved[:count, :2] += weight[:, None] * (posed[:, :2] - receiver[:count, :2])
    return moved.astype(np.float32)


def _in_pose(giver: np.ndarray, receiver: np.ndarray) -> np.ndarray:
    """Return the giver's mesh in the receiver's pose (least squares over the rigid points)."""
    rigid = list(_RIGID)
    one, other = giver[rigid].astype(np.float64), receiver[rigid].astype(np.float64)
    centre_one, centre_other = one.mean(axis=0), other.mean(axis=0)
    one, other = one - centre_one, other - centre_other
    left, strength, right = np.linalg.svd(other.T @ one)
    flip = np.array([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    turn = (left * flip) @ right
    scale = float((strength * flip).sum() / max((one**2).sum(), 1e-9))
    posed: np.ndarray = scale * (giver - centre_one) @ turn.T + centre_other
    return posed


def _weights(points: np.ndarray) -> np.ndarray:
    """Return a weight for each point: 1 in the middle of the face, 0 on the oval and at the mouth."""
    oval = points[list(OVAL)]
    size = float(np.ptp(points[:, :2], axis=0).max())
    x, y = (points[:, axis, None] - oval[None, :, axis] for axis in (0, 1))
    distance = np.sqrt((x * x + y * y).min(axis=1))
    weight = np.clip(distance / (0.18 * size), 0, 1)
    # The shape of the mouth shows the receiver's expression, not the giver's identity.
    lips = points[list(_LIPS), :2].mean(axis=0)
    near = np.exp(-((np.linalg.norm(points[:, :2] - lips, axis=1) / (0.2 * size)) ** 2))
    follow: np.ndarray = weight * (1 - near)
    return follow
