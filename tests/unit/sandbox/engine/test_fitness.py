# SPDX-License-Identifier: Apache-2.0
"""What the engine cannot swap well, it refuses with the reason; ordinary pictures it does not refuse."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from benchmarks.engine_quality import damage
from include.sandbox.engine import EngineError, FaceSwapEngine
from include.sandbox.engine.decode import decode
from include.sandbox.engine.fitness import Look, check
from include.sandbox.engine.mesh import Face, find_faces
from include.sandbox.engine.pose import pose_of
from tests.unit.sandbox.engine.pictures import IMAGES, sample

PEOPLE = ("collins_closeup.jpg", "hopper_closeup.jpg")
SHOW_A_FACE = sorted(
    path.name
    for path in IMAGES.iterdir()
    if path.suffix in {".jpg", ".png"} and path.stem not in {"coffee", "rocket", "photographer"}
)
MESHES: dict[str, np.ndarray] = {}
CASES = {
    "turned": (partial(damage.turned, yaw=55), "face_turned", "to the side"),
    "bowed": (partial(damage.turned, pitch=40), "face_turned", "downwards"),
    "burnt out": (partial(damage.lit, gain=1.7, lift=60), "face_overexposed", "has lost its colour"),
    "burnt out on one side": (partial(damage.lit, gain=1.2, side=150), "face_overexposed", "darker picture"),
    "almost black": (partial(damage.lit, gain=0.1), "face_underexposed", "brighter picture"),
    "40 pixels high": (partial(damage.small, pixels=40), "face_too_small", "pixels high"),
    "behind dark glasses": (partial(damage.glasses, shade=0.95), "face_covered", "without dark glasses"),
    "behind a mask": (partial(damage.covered, what="mask"), "face_covered", "send one without"),
    "behind a cup": (partial(damage.covered, what="cup"), "face_covered", "partly covered"),
    "under a fringe": (partial(damage.strands, where="fringe"), "face_covered", "over the forehead"),
    "under a light fringe": (
        partial(damage.strands, where="fringe", colour=(170, 135, 90)),
        "face_covered",
        "over the forehead",
    ),
    "with a hand over an eye": (partial(damage.covered, what="hand"), "face_covered", "covered eye"),
    "half under hair": (partial(damage.strands, where="curtain"), "face_covered", "partly covered"),
}


def pixels(name: str) -> np.ndarray:
    return decode(sample(name), "source_img").flat()


def mesh(engine: FaceSwapEngine, name: str) -> np.ndarray:
    """The mesh of the largest face of a sample picture, read once."""
    if name not in MESHES:
        MESHES[name] = faces(engine, pixels(name))[0].points
    return MESHES[name]


def faces(engine: FaceSwapEngine, rgb: np.ndarray) -> list[Face]:
    return find_faces(engine._detector, engine._mesh, rgb, only_largest=False)


def look_at(engine: FaceSwapEngine, name: str, change: partial[np.ndarray] | None = None) -> Look:
    rgb = pixels(name)
    if change:
        rgb = change(rgb, mesh(engine, name))
    (face,) = find_faces(engine._detector, engine._mesh, rgb, only_largest=True)
    return Look.at(rgb, face)


def swapped(engine: FaceSwapEngine, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    return decode(engine.swap(damage.png(source), damage.png(target)).data, "reference_img").rgb


@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize("person", PEOPLE)
def test_a_source_face_that_would_be_ruined_is_refused(engine, person, kind):
    change, code, words = CASES[kind]
    damaged = change(pixels(person), mesh(engine, person))
    (other,) = set(PEOPLE) - {person}
    with pytest.raises(EngineError, match=words) as refused:
        engine.swap(damage.png(damaged), sample(other))
    assert (refused.value.code, refused.value.picture) == (code, "source_img")
    assert "; send " in str(refused.value)


@pytest.mark.parametrize("kind", ["burnt out", "behind a mask", "behind a cup", "half under hair"])
@pytest.mark.parametrize("person", PEOPLE[:1])
def test_a_target_face_that_would_be_ruined_is_refused(engine, person, kind):
    change, code, words = CASES[kind]
    with pytest.raises(EngineError, match=words) as refused:
        check(look_at(engine, person, change), "reference_img")
    assert (refused.value.code, refused.value.picture) == (code, "reference_img")


def test_a_blurred_face_is_refused(engine):
    with pytest.raises(EngineError, match="send a sharp one") as refused:
        check(look_at(engine, "collins_closeup.jpg", partial(damage.blurred, share=0.018)), "source_img")
    assert refused.value.code == "face_blurred"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (partial(damage.turned, yaw=-70), "face_turned"),
        (partial(damage.blurred, share=0.04), "face_blurred"),
        (partial(damage.blurred, share=0.18, motion=True), "face_blurred"),
    ],
)
def test_a_face_that_cannot_be_read_is_refused_with_the_cause_if_it_shows(engine, change, code):
    damaged = change(pixels("collins_closeup.jpg"), mesh(engine, "collins_closeup.jpg"))
    with pytest.raises(EngineError) as refused:
        engine.swap(damage.png(damaged), sample("hopper.jpg"))
    assert (refused.value.code, refused.value.picture) == (code, "source_img")


@pytest.mark.parametrize("name", SHOW_A_FACE)
@pytest.mark.parametrize("picture", ["source_img", "reference_img"])
def test_no_sample_picture_is_refused_in_either_role(engine, name, picture):
    rgb = pixels(name)
    for face in faces(engine, rgb):
        check(Look.at(rgb, face), picture)


@pytest.mark.parametrize(
    "change",
    [
        partial(damage.turned, yaw=20),
        partial(damage.turned, pitch=15),
        partial(damage.blurred, share=0.008),
        partial(damage.lit, gain=0.35),
        partial(damage.lit, gain=1.15),
        partial(damage.lit, gain=0.9, side=-90),
        partial(damage.toned, lightness=0.4, chroma=0.9),
        partial(damage.toned, lightness=1.1, chroma=0.8),
        partial(damage.strands, where="cheek"),
        partial(damage.strands, where="temple"),
        partial(damage.strands, where="beard"),
        partial(damage.glasses),
        partial(damage.noisy, level=20),
        partial(damage.tilted, degrees=35),
        partial(damage.small, pixels=80),
    ],
    ids=lambda change: f"{change.func.__name__} {change.keywords}",
)
def test_what_the_engine_can_do_is_not_refused(engine, change):
    for person in PEOPLE:
        check(look_at(engine, person, change), "source_img")


def test_a_turn_is_read_with_its_direction(engine):
    straight, left, down = (
        look_at(engine, "collins_closeup.jpg", change).pose
        for change in (None, partial(damage.turned, yaw=-35), partial(damage.turned, pitch=20))
    )
    assert straight.turn < 5
    assert left.yaw > 15
    assert abs(left.pitch) < 10
    assert down.pitch > 12


def test_the_tilt_of_a_picture_is_no_turn(engine):
    assert look_at(engine, "collins_closeup.jpg", partial(damage.tilted, degrees=40)).pose.turn < 8
    assert pose_of(look_at(engine, "hopper_tilted.jpg").points).turn < 8


def test_of_two_faces_turned_apart_the_one_that_is_turned_more_is_named(engine):
    photographer = sample("photographer.png")
    with pytest.raises(EngineError) as refused:
        engine.swap(photographer, sample("hopper.jpg"))
    assert (refused.value.code, refused.value.picture) == ("face_turned", "source_img")


def test_of_all_faces_those_that_cannot_be_swapped_stay(engine):
    rgb = pixels("crew.jpg")
    hopper, collins = faces(engine, rgb)
    covered = damage.covered(rgb, hopper.points, what="cup")
    swap = FaceSwapEngine("all").swap(sample("collins_closeup.jpg"), damage.png(covered))
    left, top, right, bottom = hopper.box
    assert len(swap.faces) == 1
    after = decode(swap.data, "reference_img").rgb
    assert np.array_equal(after[top:bottom, left:right], covered[top:bottom, left:right])
    assert abs(swap.faces[0][0] - collins.box[0]) < 4


def test_hair_over_the_target_stays_and_hair_over_the_source_does_not_come_along(engine):
    source, target = (pixels(name) for name in PEOPLE)
    clean = swapped(engine, source, target).astype(int)
    points = {name: mesh(engine, name) for name in PEOPLE}
    strands = partial(damage.strands, where="cheek")
    over_target = strands(target, points[PEOPLE[1]])
    painted = np.abs(over_target.astype(int) - target).max(axis=2) > 60
    cheek = np.zeros_like(painted)
    left, top, right, bottom = faces(engine, target)[0].box
    cheek[top + 6 * (bottom - top) // 10 : bottom - (bottom - top) // 5, left:right] = True
    painted &= cheek
    assert painted.sum() > 200
    kept = swapped(engine, source, over_target).astype(int)
    assert np.abs(kept - over_target).max(axis=2)[painted].mean() < 12
    without = swapped(engine, strands(source, points[PEOPLE[0]]), target).astype(int)
    dark, dark_when_clean = ((one.max(axis=2) < 70)[cheek].mean() for one in (without, clean))
    assert dark < dark_when_clean + 0.01


def test_no_line_on_darker_skin_turns_black(engine):
    source, target = pixels("hopper_closeup.jpg"), pixels("collins_closeup.jpg")
    dark = damage.toned(target, faces(engine, target)[0].points, lightness=0.4, chroma=0.9)
    after = swapped(engine, source, dark)
    left, top, right, bottom = faces(engine, target)[0].box
    face = (slice(top + (bottom - top) // 2, bottom - 20), slice(left + 40, right - 40))
    assert (after[face].max(axis=2) < 12).mean() < 0.01
