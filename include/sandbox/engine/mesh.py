# SPDX-License-Identifier: Apache-2.0
"""Read the 468 mesh points of a candidate face, or reject the candidate."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING

import cv2
import numpy as np

from airflow_provider_goenhance.detection.blazeface import SIDE as DETECTOR_SIDE
from airflow_provider_goenhance.detection.blazeface import Candidate, detect_in, levels, turned

if TYPE_CHECKING:
    from airflow_provider_goenhance.detection.nets import Net

SIDE = 192
MIN_PRESENCE = 0.9

# fmt: off
OVAL = (10, 109, 67, 103, 54, 21, 162, 127, 234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378,
        379, 365, 397, 288, 361, 323, 454, 356, 389, 251, 284, 332, 297, 338)
# fmt: on
_EYES = (33, 263)
# The mesh points that correspond to the detector's first four points: two eyes, nose, mouth.
_LANDMARKS = ((33, 133), (362, 263), (1, 1), (13, 14))
_AGREES = 0.1
_SURE, _STRONG = 0.68, 0.85
_LOOKS = (1.6, 2.0)
_TILTS = (0.7, -0.7)
_HOPELESS = 0.3
_STILL = 0.02


@dataclass(frozen=True)
class Face:
    """
    A face with its mesh.

    :param points: x, y, depth (smaller is nearer) in pixels of the picture, float32 468 x 3
    :param presence: how sure the network is that this is a face, 0 to 1
    """

    points: np.ndarray
    presence: float

    @cached_property
    def box(self) -> tuple[int, int, int, int]:
        """Bounding box of the points (left, top, right, bottom) in pixels; right and bottom are exclusive."""
        low = np.floor(self.points[:, :2].min(axis=0)).astype(int)
        high = np.ceil(self.points[:, :2].max(axis=0)).astype(int) + 1
        return int(low[0]), int(low[1]), int(high[0]), int(high[1])

    @property
    def size(self) -> float:
        """The longer side of the box, in pixels."""
        left, top, right, bottom = self.box
        return float(max(right - left, bottom - top))

    @property
    def angle(self) -> float:
        """Rotation of the line between the outer corners of the eyes, in radians."""
        across = self.points[_EYES[1], :2] - self.points[_EYES[0], :2]
        return float(np.arctan2(across[1], across[0]))


def read_mesh(net: Net, rgb: np.ndarray, candidate: Candidate) -> Face | None:
    """Return a candidate's mesh: try tilts until the network finds a face, then crop again until the mesh is stable."""
    face = _mesh_at(net, rgb, candidate.centre, candidate.size * 1.5, candidate.angle)
    for tilt in _TILTS:
        if face.presence >= MIN_PRESENCE:
            break
        tried = _mesh_at(net, rgb, candidate.centre, candidate.size * 1.5, candidate.angle + tilt)
        face = max(face, tried, key=lambda one: one.presence)
    if face.presence < _HOPELESS:
        return None
    for _ in range(3):
        again = _mesh_at(net, rgb, _middle(face), face.size * 1.4, face.angle)
        moved = abs(again.angle - face.angle)
        if again.presence < face.presence - 0.2:
            break
        face = again
        if moved < _STILL:
            break
    return face if face.presence >= MIN_PRESENCE else None


def confirmed(detector: Net, rgb: np.ndarray, face: Face, candidate: Candidate) -> bool:
    """
    Return whether the detector finds eyes, nose and mouth where the mesh has them.

    The mesh network alone sometimes takes a cup of coffee for a face, and misreads upside-down faces. A strong
    candidate that agrees is enough; otherwise the detector looks again, upright and at two good sizes.
    """
    seen = face.points[np.array(_LANDMARKS), :2].mean(axis=1)
    if candidate.score >= _STRONG and _apart(candidate.points[:4], seen) <= _AGREES / 2 * face.size:
        return True
    for scale in _LOOKS:
        to_picture = _frame(_middle(face), face.size * scale, face.angle, DETECTOR_SIDE)
        window = _crop(rgb, to_picture, face.size * scale / DETECTOR_SIDE, DETECTOR_SIDE)
        best = detect_in(detector, window, [(0, 0, DETECTOR_SIDE)])[:1]
        if not best or best[0].score < _SURE:
            return False
        points = best[0].points[:4] @ to_picture[:, :2].T + to_picture[:, 2]
        if _apart(points, seen) > _AGREES * face.size:
            return False
    return True


def _apart(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.hypot(*(one - other).T).mean())


def _middle(face: Face) -> np.ndarray:
    left, top, right, bottom = face.box
    return np.array([(left + right) / 2, (top + bottom) / 2], np.float32)


def _frame(centre: np.ndarray, side: float, angle: float, pixels: int) -> np.ndarray:
    """Return the 2 x 3 map from an upright square of `side` pixels to the rotated square in the picture."""
    cos, sin = np.cos(angle) * side / pixels, np.sin(angle) * side / pixels
    half = pixels / 2
    return np.array(
        [
            [cos, -sin, centre[0] - (cos - sin) * half],
            [sin, cos, centre[1] - (sin + cos) * half],
        ],
        np.float32,
    )


def _mesh_at(net: Net, rgb: np.ndarray, centre: np.ndarray, side: float, angle: float) -> Face:
    scale = max(side, 8.0) / SIDE
    to_picture = _frame(centre, max(side, 8.0), angle, SIDE)
    out = net(cv2.dnn.blobFromImage(_crop(rgb, to_picture, scale, SIDE), 1 / 255))
    raw = out["conv2d_21"].reshape(-1, 3)
    points = np.empty((len(raw), 3), np.float32)
    points[:, :2] = raw[:, :2] @ to_picture[:, :2].T + to_picture[:, 2]
    points[:, 2] = raw[:, 2] * scale
    return Face(points, float(1 / (1 + np.exp(-np.clip(out["conv2d_31"][0], -80, 80)))))


def _crop(rgb: np.ndarray, to_picture: np.ndarray, scale: float, pixels: int) -> np.ndarray:
    """Return the rotated square, upright; a large one is scaled down first to avoid aliasing."""
    if scale > 1.5:
        ends = np.array([[0, 0], [pixels, 0], [0, pixels], [pixels, pixels]])
        corners = ends @ to_picture[:, :2].T + to_picture[:, 2]
        low = np.clip(np.floor(corners.min(axis=0)).astype(int), 0, None)
        high = np.ceil(corners.max(axis=0)).astype(int)
        part = rgb[low[1] : max(high[1], 0), low[0] : max(high[0], 0)]
        if part.shape[0] > 8 and part.shape[1] > 8:
            fit = (max(4, round(part.shape[1] / scale * 1.2)), max(4, round(part.shape[0] / scale * 1.2)))
            ratio = np.array([fit[0] / part.shape[1], fit[1] / part.shape[0]], np.float32)
            rgb = cv2.resize(part, fit, interpolation=cv2.INTER_AREA)
            to_picture = to_picture.copy()
            to_picture[:, 2] -= low
            to_picture *= ratio[:, None]
    return cv2.warpAffine(rgb, to_picture, (pixels, pixels), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)


def find_faces(detector: Net, mesh: Net, rgb: np.ndarray, *, only_largest: bool) -> list[Face]:
    """
    Return the faces in a picture, largest first.

    :param only_largest: stop at the first level of windows that shows a face: it holds the largest one
    """
    faces: list[Face] = []
    for turns in range(4):
        view = np.ascontiguousarray(np.rot90(rgb, turns)) if turns else rgb
        # Rotated pictures are rare, so they are searched less finely; this keeps pictures without a face fast.
        for windows in islice(levels(view), 2 if turns else None):
            _add_faces(detector, mesh, rgb, _candidates(detector, view, windows, turns, faces), faces)
            if faces and only_largest:
                break
        if faces:  # a picture has one orientation: try the others only if this one shows no face
            break
    faces.sort(key=lambda face: (-face.size, face.box))
    return faces[:1] if only_largest else faces


def unread_face(detector: Net, mesh: Net, rgb: np.ndarray) -> tuple[Candidate, Face] | None:
    """Return the best candidate of a picture without a face that can be read, and the mesh as far as it goes."""
    for windows in islice(levels(rgb), 2):
        for candidate in detect_in(detector, rgb, windows)[:1]:
            return candidate, _mesh_at(mesh, rgb, candidate.centre, candidate.size * 1.5, candidate.angle)
    return None


def _candidates(
    detector: Net, view: np.ndarray, windows: list[tuple[int, int, int]], turns: int, faces: list[Face]
) -> list[Candidate]:
    """Return candidates in windows of the rotated picture, in coordinates of the original."""
    height, width = view.shape[:2]
    if turns % 2:
        height, width = width, height
    if turns == 0:
        windows = [window for window in windows if not any(_inside(window, face) for face in faces)]
    return [turned(one, turns, width, height) for one in detect_in(detector, view, windows)]


def _inside(window: tuple[int, int, int], face: Face) -> bool:
    """Return whether a window shows only a part of a known face."""
    x, y, side = window
    left, top, right, bottom = face.box
    return x >= left and y >= top and x + side <= right and y + side <= bottom


def _add_faces(
    detector: Net, mesh: Net, rgb: np.ndarray, candidates: list[Candidate], faces: list[Face]
) -> None:
    """Read the candidates and return those that are new faces."""
    for candidate in candidates:
        if _known(candidate, faces):
            continue
        face = read_mesh(mesh, rgb, candidate)
        if face is None or any(_same(face, other) for other in faces):
            continue
        if confirmed(detector, rgb, face, candidate):
            faces.append(face)


def _known(candidate: Candidate, faces: list[Face]) -> bool:
    """Return whether the candidate overlaps a known face."""
    return any(
        np.hypot(*(candidate.centre - _middle(face))) < 0.3 * face.size
        and 0.4 < candidate.size / max(face.size, 1) < 1.8
        for face in faces
    )


def _same(one: Face, other: Face) -> bool:
    return bool(np.hypot(*(_middle(one) - _middle(other))) < 0.4 * max(one.size, other.size))
