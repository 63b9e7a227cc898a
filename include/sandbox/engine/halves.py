# SPDX-License-Identifier: Apache-2.0
"""Fill what the source picture hides of a face with the other half of the face."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from . import colour

if TYPE_CHECKING:
    from .warp import FaceTexture, Tables

# Shares of what both halves show at which a half begins to give way to the other, and at which it has.
_BEGINS, _ENDS = 0.42, 0.25
# The same for eyes and mouth: a mirrored eye may look another way than its neighbour, and halves of a mouth not meet.
_EYE_BEGINS, _EYE_ENDS = 0.25, 0.12
# A half in the dark, in proportion to the light on the other, that gives way.
_DIM, _DARK, _SHADOW = 0.76, 0.45, 0.08
_CHOSEN, _BETTER, _LEAST_SHARE, _LEAST_AREA = 0.4, 0.3, 0.1, 0.01


@dataclass(frozen=True)
class Laid:
    """
    The source face on the target's mesh, at work scale.

    :param lab: its pixels, Lab
    :param trust: how far to trust them, 0 to 1
    :param over: what lies over the source face, 0 to 1
    :param other: share of the mirrored face, 0 to 1, or ``None`` if the face needs nothing of it
    """

    lab: np.ndarray
    trust: np.ndarray
    over: np.ndarray
    other: np.ndarray | None


def lay_halves(
    texture: FaceTexture, tables: tuple[Tables, Tables], eyes: np.ndarray, lips: np.ndarray, size: float
) -> Laid:
    """
    Lay the source face on the target's mesh, with the other half where one cannot be seen.

    :param texture: the source face
    :param tables: of the face and of the face in a mirror
    :param eyes: where the eyes are, 0 to 1
    :param lips: where the lips are, 0 to 1
    :param size: the face's size in pixels of the tables
    """
    own, mirror = tables
    lab, over = colour.to_lab(lay(texture, own.x, own.y)), own.over(texture)
    total = own.seen + mirror.seen
    own_share = np.divide(own.seen, total, out=np.full_like(total, 0.5), where=total > 0)
    features = np.maximum(eyes, lips)
    begins, ends = _BEGINS + features * (_EYE_BEGINS - _BEGINS), _ENDS + features * (_EYE_ENDS - _ENDS)
    other = np.clip((begins - own_share) / (begins - ends), 0, 1)
    mirror_over = mirror.over(texture)
    back = colour.to_lab(lay(texture, mirror.x, mirror.y))
    other = np.maximum(np.maximum(other, over), _in_the_dark(lab, back, size) * (1 - lips) * (total > 0))
    other *= (1 - mirror_over) * (mirror.trust > 0.5)
    # Two halves mixed in equal parts would be a double exposure: take one or the other, and fade only at the border.
    chosen = cv2.medianBlur(_grown(other, features > 0.5), 5)
    other = cv2.GaussianBlur(chosen.astype(np.float32), (0, 0), max(size * 0.02, 0.8))
    if (other > _LEAST_SHARE).mean() < _LEAST_AREA:
        return Laid(lab, own.trust, over, None)
    lab += other[:, :, None] * (back - lab)
    return Laid(
        lab, own.trust + other * (mirror.trust - own.trust), over + other * (mirror_over - over), other
    )


def _grown(other: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Return where to take the other half: where it is clearly better, and the skin around as far as it is better."""
    count, labels = cv2.connectedComponents((other > _BETTER).astype(np.uint8), connectivity=8)
    clear = np.bincount(labels[other > _CHOSEN], minlength=count) > 0
    clear[0] = False
    return np.where(features, other > _CHOSEN, clear[labels]).astype(np.uint8)


def _in_the_dark(lab: np.ndarray, back: np.ndarray, size: float) -> np.ndarray:
    """Return how much darker a part is than the same part of the other half, 0 to 1; a shadow tells no colour."""
    height, width = lab.shape[:2]
    scale = min(1.0, 4.0 / max(size * _SHADOW, 1.0))
    fit = (max(4, round(width * scale)), max(4, round(height * scale)))
    one, other = (
        cv2.GaussianBlur(
            cv2.resize(np.ascontiguousarray(part[:, :, 0]), fit, interpolation=cv2.INTER_AREA),
            (0, 0),
            size * _SHADOW * scale,
        )
        for part in (lab, back)
    )
    ratio = one / np.maximum(other, 1)
    dark = np.clip((_DIM - ratio) / (_DIM - _DARK), 0, 1).astype(np.float32)
    return cv2.resize(dark, (width, height), interpolation=cv2.INTER_LINEAR)


def lay(texture: FaceTexture, from_x: np.ndarray, from_y: np.ndarray) -> np.ndarray:
    """Return the texture's pixels at these coordinates, uint8 RGB."""
    return cv2.remap(texture.rgb, from_x, from_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
