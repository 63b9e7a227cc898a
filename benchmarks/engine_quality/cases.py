# SPDX-License-Identifier: Apache-2.0
"""The kinds of damage, in both roles, and what may become of a swap of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from . import damage

Damage = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Kind:
    """
    One kind of damage.

    :param group: the line of the table
    :param do: the damage
    :param codes: the reasons with which a swap may be refused; a refusal with another is wrong
    :param source: what must become of it as the face image: ``swap``, ``refuse`` or ``either``
    :param target: the same for the target image
    :param either_way: the result may show what was added to the picture, or not: hair, glasses
    """

    name: str
    group: str
    do: Damage
    codes: tuple[str, ...] = ()
    source: str = "swap"
    target: str = "swap"
    either_way: bool = False


def _kind(name: str, group: str, do: Any, codes: str = "", roles: str = "swap swap", **how: Any) -> Kind:
    source, target = roles.split()
    return Kind(
        name, group, partial(do, **how), tuple(codes.split()), source, target, group in {"hair", "covered"}
    )


TURNED, COVERED = "face_turned no_face", "face_covered no_face"
KINDS = (
    _kind("clean", "clean", lambda rgb, points: rgb),
    _kind("yaw 20", "turned", damage.turned, TURNED, yaw=20),
    _kind("yaw -35", "turned", damage.turned, TURNED, "either swap", yaw=-35),
    _kind("yaw 50", "turned", damage.turned, TURNED, "refuse either", yaw=50),
    _kind("yaw -70", "turned", damage.turned, TURNED, "refuse refuse", yaw=-70),
    _kind("bowed 20", "bowed", damage.turned, TURNED, "either swap", pitch=20),
    _kind("bowed 40", "bowed", damage.turned, TURNED, "refuse either", pitch=40),
    _kind("raised 25", "bowed", damage.turned, TURNED, "either swap", pitch=-25),
    _kind("bowed 25 yaw 40", "bowed", damage.turned, TURNED, "refuse either", pitch=25, yaw=40),
    _kind("soft 1 %", "blurred", damage.blurred, "face_blurred", "either swap", share=0.01),
    _kind("soft 4 %", "blurred", damage.blurred, "face_blurred no_face", "refuse either", share=0.04),
    _kind("motion 6 %", "blurred", damage.blurred, "face_blurred", "either either", share=0.06, motion=True),
    _kind(
        "motion 18 %",
        "blurred",
        damage.blurred,
        "face_blurred no_face",
        "refuse refuse",
        share=0.18,
        motion=True,
    ),
    _kind("100 px", "small", damage.small, "face_too_small", pixels=100),
    _kind("64 px", "small", damage.small, "face_too_small face_blurred", "either either", pixels=64),
    _kind("40 px", "small", damage.small, "face_too_small face_blurred no_face", "refuse either", pixels=40),
    _kind("cut 10 %", "cut", damage.cut, COVERED, "either swap", share=0.1, side="left"),
    _kind("cut 40 %", "cut", damage.cut, COVERED, "refuse either", share=0.4, side="left"),
    _kind("cut above the brows", "cut", damage.cut, COVERED, "either swap", share=0.22, side="top"),
    _kind("dark", "light", damage.lit, "face_underexposed", gain=0.35),
    _kind("very dark", "light", damage.lit, "face_underexposed no_face", "either either", gain=0.12),
    _kind("bright", "light", damage.lit, "face_overexposed", "either either", gain=1.25, lift=10),
    _kind("burnt out", "light", damage.lit, "face_overexposed no_face", "refuse either", gain=1.7, lift=60),
    _kind("half burnt out", "light", damage.lit, "face_overexposed", "refuse either", gain=1.2, side=150),
    _kind(
        "burnt and tilted",
        "light",
        lambda rgb, points: damage.tilted(damage.lit(rgb, points, gain=1.6, lift=50), points, degrees=30),
        "face_overexposed no_face",
        "refuse either",
    ),
    _kind("tilted 40", "tilted", damage.tilted, degrees=40),
    _kind("strands on the cheek", "hair", damage.strands, "face_covered", "swap either", where="cheek"),
    _kind("fringe", "hair", damage.strands, "face_covered", "either either", where="fringe"),
    _kind(
        "light fringe",
        "hair",
        damage.strands,
        "face_covered",
        "either either",
        where="fringe",
        colour=(170, 135, 90),
    ),
    _kind("hair on the temple", "hair", damage.strands, "face_covered", "swap swap", where="temple"),
    _kind("beard", "hair", damage.strands, "face_covered", "either either", where="beard"),
    _kind("half under hair", "hair", damage.strands, COVERED, "refuse refuse", where="curtain"),
    _kind("glasses", "covered", damage.glasses, "face_covered", "either swap"),
    _kind("sunglasses", "covered", damage.glasses, COVERED, "refuse either", shade=0.95),
    _kind("mask", "covered", damage.covered, COVERED, "refuse refuse", what="mask"),
    _kind("cup", "covered", damage.covered, COVERED, "refuse refuse", what="cup"),
    _kind("hand", "covered", damage.covered, COVERED, "refuse either", what="hand"),
    _kind("dark skin", "skin", damage.toned, lightness=0.5, chroma=0.9),
    _kind("very dark skin", "skin", damage.toned, lightness=0.33, chroma=0.8),
    _kind("pale skin", "skin", damage.toned, lightness=1.12, chroma=0.7),
    _kind(
        "posterised", "texture", damage.posterised, "face_overexposed face_blurred", "either swap", levels=6
    ),
    _kind("noisy", "texture", damage.noisy, level=22),
)
