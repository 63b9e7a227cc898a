# SPDX-License-Identifier: Apache-2.0
"""Skin colour: sample a person's skin, find skin pixels, and match one skin tone to another."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

# Mesh points around patches that are bare on nearly every face: cheeks below any glasses, nose, chin above any collar.
# fmt: off
CHEEKS = ((50, 101, 100, 142, 203, 206, 216, 192, 187, 147, 123),
          (280, 330, 329, 371, 423, 426, 436, 416, 411, 376, 352))
_BARE = (
    *CHEEKS,
    (5, 51, 45, 4, 275, 281),
    (18, 83, 182, 194, 32, 140, 171, 175, 396, 369, 262, 418, 406, 313),
)
# fmt: on
_SPREAD = (0.8, 1.25)
_CHROMA_SPREAD = (0.7, 1.15)
# How far a swap onto darker or lighter skin scales the differences below and above the skin.
_FOLLOWS, _DOWN = 0.75, (0.35, 2.0)
_LEAST_COLOUR = 0.8
_MOST_SHARE = 0.3
_DEEPEST_SHADE = 2.5
_BLUSH = 8.0
_GRAIN_TILE = 256
_NO_COLOUR = 2.0
# How much of the scene's light and shade, and of its local skin colour, the new face adopts.
_TONE_SHARE = (0.75, 0.85, 0.85)
_MOST_TONE = 40


@dataclass(frozen=True)
class Skin:
    """
    A person's bare skin in Lab.

    :param middle: L, a, b (L 0 to 100)
    :param spread: their standard deviations without outliers
    """

    middle: np.ndarray
    spread: np.ndarray

    @property
    def colourless(self) -> bool:
        """Whether the picture appears to be grey."""
        return bool(np.abs(self.middle[1:]).max() < _NO_COLOUR and self.spread[1:].max() < _NO_COLOUR)


def to_lab(rgb: np.ndarray) -> np.ndarray:
    """
    Float32 Lab (L 0 to 100) of uint8 RGB.

    H x W x 3 as ever, but in memory one channel lies behind the other: what NumPy does to a channel, or to all of them
    with one number each or with a mask, then runs along whole rows instead of three values at a time.
    """
    values = rgb.astype(np.float32)
    values /= 255
    return _apart(cv2.cvtColor(values, cv2.COLOR_RGB2LAB, dst=values))


def _apart(pixels: np.ndarray) -> np.ndarray:
    """The same H x W x 3 values with one channel behind the other in memory."""
    planes = np.empty((3, *pixels.shape[:2]), np.float32)
    cv2.mixChannels([pixels], list(planes), [0, 0, 1, 1, 2, 2])
    return planes.transpose(1, 2, 0)


def packed(planes: np.ndarray) -> np.ndarray:
    """The same H x W x 3 values with the three of a pixel side by side, as OpenCV wants them."""
    return cv2.merge([planes[:, :, channel] for channel in range(3)])


def spread_out(share: np.ndarray) -> np.ndarray:
    """A share for each pixel as one for each of its three channels, side by side."""
    return cv2.merge([share, share, share])


def to_rgb(lab: np.ndarray) -> np.ndarray:
    """Float32 RGB, 0 to 255, of float32 Lab; the three values of a pixel lie side by side."""
    rgb = cv2.cvtColor(packed(lab), cv2.COLOR_LAB2RGB)
    rgb *= 255
    return rgb


def bare_area(points: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return a mask that is True on cheeks, nose and chin."""
    area = np.zeros((height, width), np.uint8)
    for patch in _BARE:
        cv2.fillPoly(area, [np.round(points[list(patch), :2]).astype(np.int32)], 1)
    return area.astype(bool)


def measure(lab: np.ndarray, area: np.ndarray) -> Skin | None:
    """Return the skin of an area, or ``None`` if the area is too small."""
    channels = np.stack([lab[:, :, channel][area] for channel in range(3)])
    if channels.shape[1] < 24:
        return None
    away = np.abs(channels - np.median(channels, axis=1, keepdims=True))
    # Beards, hair and highlights are not skin: keep the values near the median.
    reach = np.maximum(np.percentile(away, 75, axis=1, keepdims=True) * 2.2, 2)
    near = channels[:, (away / reach).max(axis=0) <= 1]
    if near.shape[1] < 16:
        near = channels
    near = np.ascontiguousarray(near.T)
    return Skin(near.mean(axis=0, dtype=np.float32), near.std(axis=0, dtype=np.float32))


def likeness(lab: np.ndarray, skin: Skin, *, shade: float = 0.75) -> np.ndarray:
    """
    Return each pixel's similarity to a person's skin, 0 to 1.

    :param shade: weight of darkness in the difference: skin in the shade is still skin
    """
    reach = np.array([13.0, 5.0, 6.0], np.float32) + 2 * skin.spread
    squares = []
    for channel in range(3):
        away = (lab[:, :, channel] - skin.middle[channel]) / reach[channel]
        if channel == 0:
            np.multiply(away, np.float32(shade), out=away, where=away < 0)
        squares.append(np.square(away, out=away))
    distance = squares[0]
    distance += squares[1]
    distance += squares[2]
    np.sqrt(distance, out=distance)
    distance -= np.float32(1.75)
    distance *= 4
    np.exp(distance, out=distance)
    distance += 1
    like: np.ndarray = np.divide(1, distance, out=distance)
    return like


def likeness_in_shade(lab: np.ndarray, skin: Skin) -> np.ndarray:
    """Return each pixel's similarity to a person's skin, 0 to 1, however little light falls on it."""
    light = np.maximum(lab[:, :, 0], np.float32(1))
    # Skin in the shade has less colour, in proportion to its light.
    brighter = np.clip(skin.middle[0] / light, 1, np.float32(_DEEPEST_SHADE))
    lifted = np.empty_like(lab)
    lifted[:, :, 0] = np.maximum(lab[:, :, 0] * brighter, np.minimum(lab[:, :, 0], skin.middle[0]))
    for channel in (1, 2):
        lifted[:, :, channel] = lab[:, :, channel] * brighter
    return likeness(lifted, skin)


def match(
    lab: np.ndarray,
    giver: Skin,
    receiver: Skin,
    *,
    keep_colourless: bool,
    neutral: np.ndarray | None = None,
    lips: np.ndarray | None = None,
) -> np.ndarray:
    """
    Move Lab pixels from the giver's skin tone to the receiver's.

    :param keep_colourless: the giver's picture is grey: use the receiver's colour unchanged
    :param neutral: where the pixels have a colour of their own: eyes and teeth, 0 to 1; elsewhere, what has lost its
        colour to the light gets the receiver's
    :param lips: where the lips are, 0 to 1: elsewhere on skin, colour differs little from that of the skin
    """
    ratio = receiver.spread / np.maximum(giver.spread, 0.5)
    out = np.empty_like(lab)
    out[:, :, 0] = _lightness(lab[:, :, 0], giver, receiver, float(np.clip(ratio[0], *_SPREAD)))
    if receiver.colourless:
        out[:, :, 1:] = 0
        return out
    # Bright and middle tones have the skin's colour in full, dark ones less.
    full = full_light = np.clip(lab[:, :, 0] / max(giver.middle[0], np.float32(1)), 0, 1)
    if keep_colourless or giver.colourless:
        out[:, :, 1:] = full[:, :, None] * receiver.middle[1:]
        return out
    # Only skin-coloured pixels are shifted: eyes, teeth and glass stay neutral.
    tone = giver.middle[1:]
    along = tone / max(float(tone @ tone), 1e-3)
    share = lab[:, :, 1] * along[0] + lab[:, :, 2] * along[1]
    # On skin of much more colour, uneven colour in pale skin would turn into spots.
    stronger = float(np.hypot(*receiver.middle[1:]) / max(float(np.hypot(*tone)), 1.0))
    np.clip(share, 0, np.float32(1 + _MOST_SHARE / max(stronger, 1.0)), out=share)
    if neutral is not None:
        full = full_light * (np.float32(_LEAST_COLOUR) * (1 - neutral))
        np.maximum(share, full, out=share)
    steep = np.clip(ratio[1:], *_CHROMA_SPREAD).astype(np.float32)
    for channel in (0, 1):
        # (chroma - share * giver) * steep + share * receiver
        offset = np.float32(receiver.middle[channel + 1] - tone[channel] * steep[channel])
        out[:, :, channel + 1] = lab[:, :, channel + 1] * steep[channel] + share * offset
    if neutral is not None and lips is not None:
        _calm(out, receiver, full_light, np.maximum(neutral, lips))
    return out


def _calm(lab: np.ndarray, skin: Skin, full: np.ndarray, own: np.ndarray) -> None:
    """
    Limit how far the colour of skin is from the usual one: blushes in a pale face would be stains in a tanned one.

    :param full: share of the skin's colour that the light on each pixel shows
    :param own: where the pixels have a colour of their own, 0 to 1
    """
    for channel in (1, 2):
        reach = np.float32(_BLUSH + skin.spread[channel])
        usual = full * skin.middle[channel]
        away = lab[:, :, channel] - usual
        limited = reach * np.tanh(away / reach)
        lab[:, :, channel] = usual + limited + own * (away - limited)


def _lightness(light: np.ndarray, giver: Skin, receiver: Skin, contrast: float) -> np.ndarray:
    """
    Return the giver's lightness on the receiver's skin.

    Brows and creases reflect a share of what the skin beside them reflects. So on darker skin they are less far below
    it, and on lighter skin farther, and nothing turns black or pale; highlights keep below white.
    """
    own, other = float(giver.middle[0]), float(receiver.middle[0])
    down = float(np.clip((other / max(own, 1)) ** _FOLLOWS * contrast**0.5, *_DOWN))
    up = contrast * min(1.0, ((100 - other) / max(100 - own, 1)) ** _FOLLOWS)
    away = light - giver.middle[0]
    away *= np.where(away < 0, np.float32(down), np.float32(up))
    moved: np.ndarray = np.add(away, receiver.middle[0], out=away)
    return moved


def tone_field(laid: np.ndarray, here: np.ndarray, weight: np.ndarray, sigma: float) -> np.ndarray:
    """
    Return the low-frequency tone difference (light and shade) between the new and the replaced face, from skin only.

    :param laid: matched Lab of the new face
    :param here: Lab of the scene
    :param weight: where both are bare skin, 0 to 1
    :param sigma: of the low-pass filter, in pixels
    """
    height, width = weight.shape
    # Low frequencies need few pixels.
    scale = min(1.0, 4.0 / sigma)
    fit = (max(4, round(width * scale)), max(4, round(height * scale)))
    difference = here - laid
    np.clip(difference, -_MOST_TONE, _MOST_TONE, out=difference)
    difference *= weight[:, :, None]
    difference = cv2.resize(packed(difference), fit, interpolation=cv2.INTER_AREA)
    small = cv2.resize(weight, fit, interpolation=cv2.INTER_AREA)
    # A small weight on zero keeps the field stable where there is no skin.
    total = cv2.GaussianBlur(small, (0, 0), sigma * scale)[:, :, None] + np.float32(0.08)
    field: np.ndarray = (
        cv2.GaussianBlur(difference, (0, 0), sigma * scale) / total * np.array(_TONE_SHARE, np.float32)
    )
    return _apart(cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC))


def grain_level(lab: np.ndarray, area: np.ndarray) -> float:
    """Return the grain of the skin: the typical lightness difference of a pixel from its surroundings."""
    light = np.ascontiguousarray(lab[:, :, 0])
    steps = np.abs(light - cv2.GaussianBlur(light, (0, 0), 1.2))[area]
    return float(np.median(steps)) * 1.48 if len(steps) else 0.0


def grain(level: float, height: int, width: int) -> np.ndarray:
    """Return deterministic grain: normally distributed lightness, float32 height x width."""
    across, down = -(-width // _GRAIN_TILE), -(-height // _GRAIN_TILE)
    return np.tile(_grain_tile() * np.float32(level), (down, across))[:height, :width]


@cache
def _grain_tile() -> np.ndarray:
    return np.random.default_rng(468).standard_normal((_GRAIN_TILE, _GRAIN_TILE), np.float32)
