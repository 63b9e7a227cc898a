# SPDX-License-Identifier: Apache-2.0
"""
Judge a swap of a damaged picture by the swap of the undamaged one.

A face image that is damaged should still lead to the picture that the undamaged one leads to. A target that is damaged
should lead to that picture, damaged in the same way. The difference is what the engine got wrong: seams, foreign
matter, wrong colour, a smeared half. What is right and merely elsewhere by a pixel does not count.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from include.sandbox.engine import EngineError, FaceSwapEngine
from include.sandbox.engine.decode import decode
from include.sandbox.engine.mesh import OVAL, Face, find_faces

from .cases import KINDS, Kind
from .damage import png, size_of

Role = Literal["source", "target"]
#: Mean and 95th percentile of the difference (Delta E) from which a swap is faulty, and from which it is destroyed.
FAULTY, DESTROYED = (5.0, 14.0), (8.5, 28.0)


@dataclass(frozen=True)
class Case:
    """One damaged picture in one role of one pair."""

    kind: Kind
    role: Role
    pair: tuple[str, str]
    given: np.ndarray
    other: np.ndarray
    ideal: np.ndarray
    other_ideal: np.ndarray | None = None


@dataclass(frozen=True)
class Outcome:
    """
    What became of a case.

    :param verdict: ``good``, ``refused``, ``refused wrongly``, ``faulty`` or ``destroyed``
    """

    case: Case
    verdict: str
    note: str
    mean: float = 0.0
    worst: float = 0.0
    result: np.ndarray | None = None


def cases(engine: FaceSwapEngine, pairs: list[tuple[str, str]], read: dict[str, bytes]) -> Iterator[Case]:
    """Build all damaged pictures of the pairs."""
    for pair in pairs:
        source, target = (decode(read[name], "source_img").rgb for name in pair)
        points = {"source": mesh_of(engine, source), "target": mesh_of(engine, target)}
        swapped = decode(engine.swap(png(source), png(target)).data, "reference_img").rgb
        for kind in KINDS:
            damaged = kind.do(swapped, points["target"])
            other = _inside_face(damaged, swapped, points["target"]) if kind.either_way else None
            yield Case(kind, "source", pair, kind.do(source, points["source"]), target, swapped, other)
            other = swapped if kind.either_way else None
            yield Case(kind, "target", pair, kind.do(target, points["target"]), source, damaged, other)


def _inside_face(damaged: np.ndarray, whole: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return what was painted over a face, as far as a swap can carry it: inside the face."""
    area = np.zeros(whole.shape[:2], np.uint8)
    cv2.fillPoly(area, [np.round(points[list(OVAL), :2]).astype(np.int32)], 1)
    return np.where(area[:, :, None] > 0, damaged, whole)


def mesh_of(engine: FaceSwapEngine, rgb: np.ndarray) -> np.ndarray:
    """Return the mesh of the largest face."""
    return _largest(engine, rgb)[0].points


def _largest(engine: FaceSwapEngine, rgb: np.ndarray) -> list[Face]:
    return find_faces(engine._detector, engine._mesh, rgb, only_largest=True)


def judge(engine: FaceSwapEngine, case: Case) -> Outcome:
    """Swap and judge one case."""
    wanted = getattr(case.kind, case.role)
    files = (case.given, case.other) if case.role == "source" else (case.other, case.given)
    try:
        swap = engine.swap(*map(png, files))
    except EngineError as error:
        right = wanted != "swap" and error.code in case.kind.codes and _named(error, case.role)
        return Outcome(case, "refused" if right else "refused wrongly", error.code)
    result, before = decode(swap.data, "reference_img").rgb, files[1]
    ideals = [one for one in (case.ideal, case.other_ideal) if one is not None]
    if case.kind.name == "beard":
        # A beard may come along or stay away, and it is read a little differently in each picture.
        ideals = [nearest(result, ideals)]
    mean, worst = min(difference(result, ideal, before) for ideal in ideals)
    verdict = "good"
    if mean > DESTROYED[0] or worst > DESTROYED[1]:
        verdict = "destroyed"
    elif mean > FAULTY[0] or worst > FAULTY[1]:
        verdict = "faulty" if _still_a_face(engine, result, before) else "destroyed"
    return Outcome(case, verdict, f"{mean:.1f} {worst:.0f}", mean, worst, result)


def _named(error: EngineError, role: Role) -> bool:
    return error.picture == ("source_img" if role == "source" else "reference_img")


def difference(result: np.ndarray, ideal: np.ndarray, before: np.ndarray) -> tuple[float, float]:
    """Return mean and 95th percentile of Delta E where the result or the ideal differs from the target."""
    changed = np.zeros(before.shape[:2], bool)
    for one in (result, ideal):
        changed |= np.abs(one.astype(np.int16) - before).max(axis=2) > 3
    if changed.sum() < 16:
        return 99.0, 99.0
    sigma = max(0.7, 0.02 * float(np.sqrt(changed.sum())))
    # A pixel may have moved a little: compare smoothed pictures.
    one, other = (
        cv2.GaussianBlur(cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), (0, 0), sigma)
        for rgb in (result, ideal)
    )
    away = np.linalg.norm(one - other, axis=2)[changed]
    return float(away.mean()), float(np.percentile(away, 95))


def nearest(result: np.ndarray, ideals: list[np.ndarray]) -> np.ndarray:
    """Return for each pixel that of the ideal that is nearest to the result."""
    away = [np.abs(one.astype(np.int16) - result).sum(axis=2) for one in ideals]
    return np.choose(np.argmin(away, axis=0)[:, :, None], ideals)


def _still_a_face(engine: FaceSwapEngine, result: np.ndarray, before: np.ndarray) -> bool:
    """Return whether the mesh finds a face where there was one before."""
    had, has = _largest(engine, before), _largest(engine, result)
    if not had or not has:
        return not had
    apart = np.hypot(*(had[0].points[:, :2] - has[0].points[:, :2]).T).mean()
    return float(apart) < 0.12 * size_of(had[0].points)
