# SPDX-License-Identifier: Apache-2.0
"""What a source picture hides of a face comes from the other half of the face; a beard and glasses are seen."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from benchmarks.engine_quality import damage
from include.sandbox.engine import EngineError, FaceSwapEngine
from include.sandbox.engine.decode import decode
from include.sandbox.engine.fitness import Look, check_pair
from include.sandbox.engine.halves import Laid, lay_halves
from include.sandbox.engine.mesh import find_faces
from include.sandbox.engine.nets import mirror
from include.sandbox.engine.warp import FaceTexture, mirrored, remap_tables, with_rings
from tests.unit.sandbox.engine.pictures import sample


def look(
    engine: FaceSwapEngine, name: str, change: partial[np.ndarray] | None = None
) -> tuple[np.ndarray, Look]:
    rgb = decode(sample(name), "source_img").flat()
    if change:
        rgb = change(rgb, find_faces(engine._detector, engine._mesh, rgb, only_largest=True)[0].points)
    (face,) = find_faces(engine._detector, engine._mesh, rgb, only_largest=True)
    return rgb, Look.at(rgb, face)


def laid(engine: FaceSwapEngine, change: partial[np.ndarray] | None = None) -> Laid:
    """Collins, changed, on the mesh of Hopper."""
    rgb, giver = look(engine, "collins_closeup.jpg", change)
    texture = FaceTexture.cut(rgb, giver, grey=False)
    _, receiver = look(engine, "hopper_closeup.jpg")
    height, width = receiver.small.shape[:2]
    nothing = np.zeros((height, width), np.float32)
    tables = remap_tables(texture.points, with_rings(receiver.points), width, height)
    return lay_halves(texture, tables, nothing, nothing, 160.0)


def shares(result: Laid) -> tuple[float, float]:
    """How much of the left and of the right half of the picture is mirrored."""
    other = np.zeros_like(result.trust) if result.other is None else result.other
    middle = other.shape[1] // 2
    return float(other[:, :middle].mean()), float(other[:, middle:].mean())


def test_the_mirror_of_the_mirror_is_the_face():
    assert np.array_equal(mirror()[mirror()], np.arange(468))
    assert np.array_equal(mirrored()[mirrored()], np.arange(len(mirrored())))
    assert mirror()[33] == 263
    assert mirror()[1] == 1


def test_a_face_that_shows_both_halves_keeps_them(engine):
    assert max(shares(laid(engine))) < 0.1


@pytest.mark.parametrize("yaw", [-35, 35])
def test_a_half_that_is_turned_away_is_filled_with_the_other(engine, yaw):
    left, right = shares(laid(engine, partial(damage.turned, yaw=yaw)))
    hidden, seen = (left, right) if yaw > 0 else (right, left)
    assert hidden > 0.15
    assert seen < 0.12


def test_hair_over_a_temple_is_replaced_by_the_other_temple(engine):
    bare = laid(engine)
    covered = laid(engine, partial(damage.strands, where="temple"))
    assert max(shares(covered)) > max(shares(bare)) + 0.02
    assert covered.over.max() < 1.0


def test_a_half_in_deep_shade_is_replaced_by_the_lit_one(engine):
    def shaded(rgb, points):
        left, right = points[:, 0].min(), points[:, 0].max()
        ramp = np.clip((np.arange(rgb.shape[1]) - left) / (right - left), 0, 1)
        factor = np.where(ramp > 0.55, 0.3, 1.0)[None, :, None]
        return (rgb * factor).astype(np.uint8)

    left, right = shares(laid(engine, partial(shaded)))
    assert right > 0.15
    assert left < 0.06


def test_a_beard_is_seen_and_a_bare_chin_is_none(engine):
    assert look(engine, "collins_closeup.jpg", partial(damage.strands, where="beard"))[1].foreign.bearded
    assert not look(engine, "collins_closeup.jpg")[1].foreign.bearded
    assert not look(engine, "hopper_closeup.jpg")[1].foreign.bearded


def test_glasses_are_seen(engine):
    assert look(engine, "hopper_closeup.jpg")[1].glasses
    assert look(engine, "collins_closeup.jpg", partial(damage.glasses))[1].glasses
    assert not look(engine, "collins_closeup.jpg")[1].glasses


def test_glasses_are_not_drawn_out_over_a_face_that_looks_another_way(engine):
    turned = look(engine, "collins_closeup.jpg", partial(damage.turned, yaw=50))[1]
    check_pair(look(engine, "collins_closeup.jpg")[1], turned)
    with pytest.raises(EngineError, match="without glasses") as refused:
        check_pair(look(engine, "hopper_closeup.jpg")[1], turned)
    assert (refused.value.code, refused.value.picture) == ("face_turned", "reference_img")
