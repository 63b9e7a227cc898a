# SPDX-License-Identifier: Apache-2.0
"""Read from a mesh how far the head is turned and bowed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Points of the left and the right half that mirror each other, and points above and below each other.
# fmt: off
_ACROSS = ((33, 263), (127, 356), (234, 454), (93, 323), (132, 361), (61, 291), (172, 397), (70, 300), (50, 280))
_DOWN = ((10, 152), (9, 2), (151, 17), (67, 136), (297, 365), (109, 149), (338, 378))
# fmt: on
# The chin lies behind the forehead by this many degrees when a person looks straight ahead.
_LEVEL = 14.0


@dataclass(frozen=True)
class Pose:
    """
    The direction of a face, as the network sees it: it reads about two thirds of a large turn.

    :param yaw: degrees to the side, 0 when the person faces the camera
    :param pitch: degrees downwards
    """

    yaw: float
    pitch: float

    @property
    def turn(self) -> float:
        """The angle away from the camera, in degrees."""
        return float(np.hypot(self.yaw, self.pitch))

    @property
    def twist(self) -> float:
        """How hard the face is to read, in degrees: turned and bowed at once is harder than either."""
        yaw, pitch = abs(self.yaw), abs(self.pitch)
        return yaw + 1.3 * pitch + 0.015 * yaw * pitch

    def apart(self, other: Pose) -> float:
        """Return the angle between two faces, in degrees."""
        return float(np.hypot(self.yaw - other.yaw, self.pitch - other.pitch))


def pose_of(points: np.ndarray) -> Pose:
    """Return the pose of a mesh, whatever its tilt in the picture."""
    return Pose(_slope(points, _ACROSS), _slope(points, _DOWN) - _LEVEL)


def _slope(points: np.ndarray, pairs: tuple[tuple[int, int], ...]) -> float:
    first, second = (points[list(side)] for side in zip(*pairs, strict=True))
    x, y, depth = (second - first).mean(axis=0)
    return float(np.degrees(np.arctan2(depth, np.hypot(x, y))))
