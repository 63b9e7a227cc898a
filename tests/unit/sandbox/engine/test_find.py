# SPDX-License-Identifier: Apache-2.0
"""Finding faces: where they are, and what is not one."""

from __future__ import annotations

import numpy as np
import pytest

from airflow_provider_goenhance.detection import blazeface
from airflow_provider_goenhance.detection.nets import Net, checked, short_range_net
from include.sandbox.engine import mesh
from include.sandbox.engine.decode import decode
from include.sandbox.engine.nets import MESH, SHA256, mesh_net, triangles
from tests.unit.sandbox.engine.pictures import sample


@pytest.fixture(scope="module")
def nets() -> tuple[Net, Net]:
    return short_range_net(), mesh_net()


def rgb(name: str) -> np.ndarray:
    return decode(sample(name), "source_img").flat()


def faces(nets: tuple[Net, Net], name: str) -> list[mesh.Face]:
    return mesh.find_faces(*nets, rgb(name), only_largest=False)


# Middle of the face, and its height, read off the pictures by eye.
@pytest.mark.parametrize(
    ("name", "middles", "height"),
    [
        ("collins.jpg", [(226, 122)], 105),
        ("hopper.jpg", [(264, 234)], 200),
        ("hopper_tilted.jpg", [(360, 350)], 420),
        ("photographer.png", [(228, 162)], 70),
        ("crew.jpg", [(655, 218), (246, 134)], 186),
        ("portrait_wall.jpg", [(495, 270), (793, 236), (183, 221)], 165),
    ],
)
def test_each_face_is_found_once_and_in_its_place(nets, name, middles, height):
    found = faces(nets, name)
    assert len(found) == len(middles)
    for face, (x, y) in zip(sorted(found, key=lambda one: -one.size), middles, strict=True):
        left, top, right, bottom = face.box
        assert np.hypot((left + right) / 2 - x, (top + bottom) / 2 - y) < 0.12 * face.size
    assert abs(found[0].size - height) < 0.12 * height


@pytest.mark.parametrize("name", ["coffee.jpg", "rocket.jpg"])
def test_a_thing_is_not_a_face(nets, name):
    assert faces(nets, name) == []


def test_eyes_nose_mouth_and_chin_stand_in_order(nets):
    points = faces(nets, "hopper.jpg")[0].points
    brow, eye, nose, mouth, chin = (points[number, 1] for number in (105, 159, 1, 13, 152))
    assert brow < eye < nose < mouth < chin
    assert points[1, 2] < points[234, 2]  # the nose is nearer than the ear


def test_a_tilt_is_measured(nets):
    assert np.degrees(faces(nets, "hopper_tilted.jpg")[0].angle) == pytest.approx(-24, abs=5)


def test_the_largest_face_is_the_first_of_all_faces(nets):
    picture = rgb("portrait_wall.jpg")
    largest = mesh.find_faces(*nets, picture, only_largest=True)
    everyone = mesh.find_faces(*nets, picture, only_largest=False)
    assert len(largest) == 1
    assert np.hypot(*(largest[0].points[1, :2] - everyone[0].points[1, :2])) < 3


def test_the_detector_has_896_anchors_in_rows():
    anchors = blazeface.anchors()
    assert anchors.shape == (896, 2)
    assert anchors.min() > 0
    assert anchors.max() < 1
    assert anchors[0] == pytest.approx([1 / 32, 1 / 32])
    assert anchors[-1] == pytest.approx([15 / 16, 15 / 16])


@pytest.mark.parametrize("shape", [(600, 512), (128, 900), (90, 90)])
def test_each_level_of_windows_covers_the_picture(shape):
    for windows in blazeface.levels(np.zeros((*shape, 3), np.uint8)):
        covered = np.zeros(shape, bool)
        for x, y, side in windows:
            covered[max(y, 0) : max(y + side, 0), max(x, 0) : max(x + side, 0)] = True
        assert covered.all()


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_a_place_on_a_turned_picture_leads_back(turns):
    picture = np.zeros((40, 60), np.uint8)
    picture[11, 23] = 1
    y, x = np.argwhere(np.rot90(picture, turns))[0]
    point = np.array([x + 0.5, y + 0.5])
    found = blazeface.turned(blazeface.Candidate(1, np.tile(point, (6, 1)), point, 9), turns, 60, 40)
    assert found.centre == pytest.approx([23.5, 11.5])
    assert found.points[3] == pytest.approx([23.5, 11.5])


def test_boxes_of_one_face_become_one():
    def candidate(x: float, score: float) -> blazeface.Candidate:
        return blazeface.Candidate(score, np.full((6, 2), x), np.array([x, 50.0]), 40.0)

    merged = blazeface.merge([candidate(50, 0.6), candidate(54, 0.9), candidate(200, 0.7)])
    assert [one.score for one in merged] == [0.9, 0.7]
    assert merged[0].centre[0] == pytest.approx((50 * 0.6 + 54 * 0.9) / 1.5)


def test_the_mesh_is_one_sheet_over_468_points():
    corners = triangles()
    assert corners.shape == (898, 3)
    assert set(np.unique(corners)) == set(range(468))
    edges = np.sort(np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [0, 2]]]), axis=1)
    _, uses = np.unique(edges, axis=0, return_counts=True)
    assert (uses == 1).sum() == len(mesh.OVAL)  # only the oval is an open edge
    assert uses.max() == 2


def test_a_model_file_that_was_changed_is_refused(tmp_path):
    for name in SHA256:
        (tmp_path / name).write_bytes(b"not the model")
        with pytest.raises(RuntimeError, match=f"{name} has sha256 .* install it again"):
            checked(tmp_path / name, SHA256[name])


def test_a_model_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(RuntimeError, match=f"{MESH} cannot be read"):
        checked(tmp_path / MESH, SHA256[MESH])
