# SPDX-License-Identifier: Apache-2.0
"""Refuse a face that the engine would ruin: turned, blurred, too small, badly lit or covered."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import cv2
import numpy as np

from . import colour
from .errors import EngineError
from .foreign import Foreign, find_foreign
from .mask import polygon
from .mesh import OVAL
from .pose import Pose, pose_of
from .surface import Surface, surface_of
from .worn import SIDE, bridge_of_glasses

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_goenhance.detection.blazeface import Candidate

    from .errors import Picture
    from .mesh import Face

#: Code, what the picture shows, what to send.
Fault = tuple[str, str, str]

#: Height of the smallest usable face in pixels.
SMALLEST = 48.0
#: The largest turn of a face image, and the largest angle to the target, which falls as the face image is turned more:
#: a turned target hides what the face image shows, but a turned face image lacks what the target shows.
_MOST_TURN, _MOST_APART, _FREE_TURN, _FALLS = 45.0, 52.0, 12.0, 1.2
#: The mesh of a target that is both turned and bowed is not exact.
_MOST_TWIST, _MOST_YAW = 60.0, 50.0
#: Least share of the face that is inside the picture.
_INSIDE = {"source_img": 0.75, "reference_img": 0.6}
_SHARPEST_BLUR = 0.17
#: The same, and the proportion of the distances from eye to ear, where the mesh cannot be read.
_UNREAD_BLUR, _PROFILE = 0.3, 2.2
#: The least scores of the detector and of the mesh, either of which may be a face's; those of an armchair are lower.
_SURELY_A_FACE, _PERHAPS_A_FACE = 0.82, 0.3
_CLIPPED, _BURNT, _MOST_CLIPPED, _MOST_BURNT = 250, 240, 0.75, 0.16
_PALE, _MOST_PALE = 92.0, 0.28
_DARKEST = 9.0
#: Shares from which a face is covered: of the face, of one half more than of the other, around both eyes.
_GLASSES, _GLASSES_APART = 5.5, 28.0
_COVERED, _ONE_SIDED, _EYES_COVERED = 0.16, 0.3, 0.42
#: Patches of light and shade, or of hair, from which a face is refused; a target may have more of them than a source.
_PATCHY = {"source_img": 0.18, "reference_img": 0.22}
#: From this difference of the halves on, the patches come from the light. A face turned further has them by itself.
_UNEVEN, _TURNED_SURFACE = 0.3, 34.0
_DIM_EYES = 0.27
#: A drawing has flat colours and sharp edges. A blurred photograph is flat, and its edges are soft; an overexposed one
#: is flat too, but not as sharp as lines on paper.
_FLAT, _DRAWN_SHARPNESS = 0.45, 0.6
_LINES, _LINES_SHARPNESS = 0.6, 0.85
_NOT_PHOTOGRAPHED: Fault = (
    "face_not_photographed",
    "a face that does not look like a photograph of a person",
    "a photograph in its natural colours",
)


@dataclass(frozen=True)
class Look:
    """
    A face as the checks see it.

    :param face: the face
    :param small: its pixels, at most `SIDE` high, uint8 RGB
    :param points: its mesh in them
    :param left: column of the picture at which `small` begins
    :param top: row of the picture at which `small` begins
    :param scale: pixels of `small` for one of the picture
    """

    face: Face
    small: np.ndarray
    points: np.ndarray
    left: int
    top: int
    scale: np.ndarray

    @classmethod
    def at(cls, rgb: np.ndarray, face: Face) -> Look:
        """Cut a face out of its picture."""
        height, width = rgb.shape[:2]
        left, top, right, bottom = face.box
        left, top = min(max(left - 4, 0), width - 2), min(max(top - 4, 0), height - 2)
        right, bottom = max(min(right + 4, width), left + 2), max(min(bottom + 4, height), top + 2)
        scale = min(1.0, SIDE / face.size)
        fit = (max(2, round((right - left) * scale)), max(2, round((bottom - top) * scale)))
        small = cv2.resize(rgb[top:bottom, left:right], fit, interpolation=cv2.INTER_AREA)
        ratio = np.array([fit[0] / (right - left), fit[1] / (bottom - top), scale], np.float32)
        points = (face.points - np.array([left, top, 0], np.float32)) * ratio
        return cls(face, small, points.astype(np.float32), left, top, ratio)

    @cached_property
    def lab(self) -> np.ndarray:
        """The pixels in Lab."""
        return colour.to_lab(self.small)

    @cached_property
    def oval(self) -> np.ndarray:
        """Where the face is."""
        return polygon(self.points, OVAL, self.small.shape[1], self.small.shape[0]) > 0.5

    @cached_property
    def pose(self) -> Pose:
        """How the head is turned."""
        return pose_of(self.points)

    @cached_property
    def foreign(self) -> Foreign:
        """What lies over the face."""
        return find_foreign(self.lab, self.points, self.small.max(axis=2) >= _CLIPPED)

    @cached_property
    def surface(self) -> Surface:
        """What the skin looks like."""
        foreign = self.foreign
        # What lies over a face is left out of the swap; but a beard comes along, and all that looks like one.
        left_out = None if foreign.bearded else foreign.over
        return surface_of(self.lab, self.points, left_out, bearded=foreign.bearded)

    @cached_property
    def glasses(self) -> bool:
        """Whether the person wears glasses."""
        return bridge_of_glasses(self.lab, self.points) > _GLASSES

    @cached_property
    def inside(self) -> float:
        """Share of the face that is inside the picture."""
        whole = cv2.contourArea(self.points[list(OVAL), :2])
        return float(self.oval.sum() / max(whole, 1.0))

    @cached_property
    def sharpness(self) -> float:
        """Fine detail in proportion to coarse detail: 0.5 to 1 in a sharp picture, whatever its contrast."""
        light = np.ascontiguousarray(self.lab[:, :, 0])
        one, two, four = (cv2.GaussianBlur(light, (0, 0), sigma) for sigma in (1.0, 2.0, 4.0))
        coarse = float((two - four)[self.oval].std())
        return float((light - one)[self.oval].std()) / max(coarse, 0.1)

    def foreign_in(
        self, left: float, top: float, scale: tuple[float, float], fit: tuple[int, int]
    ) -> np.ndarray:
        """
        Return what lies over the face for another part of the picture.

        :param left: column of the picture at which the part begins
        :param top: row of the picture at which the part begins
        :param scale: pixels of the part for one of the picture, across and down
        :param fit: width and height of the part in its own pixels
        """
        across, down = float(self.scale[0]) / scale[0], float(self.scale[1]) / scale[1]
        to_small = np.array(
            [
                [across, 0, (left - self.left) * self.scale[0] + (across - 1) / 2],
                [0, down, (top - self.top) * self.scale[1] + (down - 1) / 2],
            ],
            np.float32,
        )
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(self.foreign.over, to_small, fit, flags=flags, borderMode=cv2.BORDER_REPLICATE)


def check(look: Look, picture: Picture) -> None:
    """
    Refuse a face that no pair can use.

    :raises EngineError: ``face_too_small``, ``face_covered``, ``face_overexposed``, ``face_underexposed``,
        ``face_turned`` or ``face_blurred``
    """
    for code, what, send in _faults(look, picture):
        raise EngineError(code, picture, f"{picture} shows {what}; send {send}.")


def _faults(look: Look, picture: Picture) -> Iterator[Fault]:
    size, smallest = look.face.size, SMALLEST
    if size < smallest:
        yield (
            "face_too_small",
            f"a face too small to use: it is {size:.0f} pixels high; it needs at least {smallest:.0f}",
            "a larger picture of the face",
        )
    if look.inside < _INSIDE[picture]:
        yield "face_covered", "a face that is cut by the frame", "one that shows the whole face"
    if _on_paper(look):
        yield _NOT_PHOTOGRAPHED
    yield from _light(look)
    if _too_far_turned(look.pose, picture):
        yield _turned(look, "that faces the camera")
    if look.sharpness < _SHARPEST_BLUR:
        yield "face_blurred", "a face that is blurred", "a sharp one"
    yield from _covered(look, picture)


def _on_paper(look: Look) -> bool:
    """Return whether a face is drawn on white paper, which is as bright as an overexposed face."""
    flat = look.surface.flat > _LINES and look.foreign.share <= _COVERED
    return flat and look.sharpness > _LINES_SHARPNESS


def _covered(look: Look, picture: Picture) -> Iterator[Fault]:
    """Yield what hides the skin, the eyes or the brows, or shows that there is no skin."""
    foreign = look.foreign
    if foreign.share > _COVERED or foreign.one_sided > _ONE_SIDED:
        where = (
            f"{foreign.share:.0%} of it" if foreign.share > _COVERED else "one half, or it lies in the dark"
        )
        yield (
            "face_covered",
            f"a face that is partly covered ({where})",
            "one without hair, hands, a mask or other things over the face",
        )
    if look.surface.false_colour or (look.surface.flat > _FLAT and look.sharpness > _DRAWN_SHARPNESS):
        yield _NOT_PHOTOGRAPHED
    if foreign.eyes > _EYES_COVERED or look.surface.eyes < _DIM_EYES:
        yield (
            "face_covered",
            "a face whose eyes cannot be seen",
            "one without dark glasses and without hair over the eyes",
        )
    if foreign.eye_hidden:
        yield "face_covered", "a face with a covered eye", "one that shows both eyes"
    yield from _patches(look, picture)
    if picture == "source_img" and foreign.fringe:
        yield (
            "face_covered",
            "a face with hair or a hat over the forehead and brows",
            "one that shows the brows",
        )


def _patches(look: Look, picture: Picture) -> Iterator[Fault]:
    surface = look.surface
    if surface.patchy <= _PATCHY[picture] or look.pose.turn > _TURNED_SURFACE:
        return
    if surface.uneven > _UNEVEN:
        yield "face_unevenly_lit", "a face partly in hard light and partly in the dark", "one in even light"
    else:
        yield (
            "face_covered",
            "a face with hair, shadows or other things in patches over it",
            "one in even light",
        )


def _too_far_turned(pose: Pose, picture: Picture) -> bool:
    if picture == "source_img":
        return pose.turn > _MOST_TURN
    return pose.twist > _MOST_TWIST or abs(pose.yaw) > _MOST_YAW


def _light(look: Look) -> Iterator[Fault]:
    pixels = look.small[look.oval]
    if not len(pixels):
        return
    clipped = float((pixels.max(axis=1) >= _CLIPPED).mean())
    burnt = float((pixels.min(axis=1) >= _BURNT).mean())
    pale = float((look.lab[:, :, 0][look.oval] > _PALE).mean())
    if clipped > _MOST_CLIPPED or burnt > _MOST_BURNT or pale > _MOST_PALE:
        yield (
            "face_overexposed",
            f"an overexposed face: {max(clipped, burnt, pale):.0%} of it has lost its colour",
            "a darker picture",
        )
    if float(np.median(look.lab[:, :, 0][look.oval])) < _DARKEST:
        yield "face_underexposed", "a face that is almost black", "a brighter picture"


def _turned(look: Look, send: str) -> Fault:
    yaw, pitch = look.pose.yaw, look.pose.pitch
    way = "to the side" if abs(yaw) >= abs(pitch) else "downwards" if pitch > 0 else "upwards"
    return "face_turned", f"a face turned {way} by about {look.pose.turn * 1.4:.0f} degrees", f"one {send}"


def refusal_of_unread(rgb: np.ndarray, found: tuple[Candidate, Face] | None, picture: Picture) -> EngineError:
    """
    Return why no face can be read in a picture.

    :param found: what comes closest to a face
    """
    code, what, send = "no_face", "no face that can be read", "a picture with an uncovered face"
    if found is not None and (found[0].score >= _SURELY_A_FACE or found[1].presence >= _PERHAPS_A_FACE):
        candidate, face = found
        low, high = candidate.centre - candidate.size / 2, candidate.centre + candidate.size / 2
        if low.min() < 0 or (high > rgb.shape[1::-1]).any():
            code, what, send = (
                "face_covered",
                "a face that is cut by the frame",
                "one that shows the whole face",
            )
        elif candidate.turn > _PROFILE:
            code, what, send = "face_turned", "a face in profile", "one that faces the camera"
        elif Look.at(rgb, face).sharpness < _UNREAD_BLUR:
            code, what, send = "face_blurred", "a face that is blurred", "a sharp one"
    return EngineError(code, picture, f"{picture} shows {what}; send {send}.")


def check_pair(giver: Look, receiver: Look) -> None:
    """
    Refuse a pair whose faces look in directions too different: what one shows, the other hides.

    :raises EngineError: ``face_turned``; ``picture`` is the one that faces the camera less
    """
    apart = giver.pose.apart(receiver.pose)
    most = _MOST_APART - _FALLS * max(0.0, giver.pose.turn - _FREE_TURN)
    if apart <= (min(most, _GLASSES_APART) if giver.glasses else most):
        return
    picture: Picture = "source_img"
    other: Picture = "reference_img"
    named = giver
    if giver.pose.turn < receiver.pose.turn:
        picture, other, named = other, picture, receiver
    also = ", or a source_img without glasses" if giver.glasses else ""
    code, what, send = _turned(named, f"that faces the camera, or looks the same way as {other}{also}")
    raise EngineError(code, picture, f"{picture} shows {what}; send {send}.")
