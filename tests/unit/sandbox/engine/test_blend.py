# SPDX-License-Identifier: Apache-2.0
"""Warping, colour, mask and edge, each alone."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from airflow_provider_goenhance.detection.nets import short_range_net
from include.sandbox.engine import colour, mask, warp
from include.sandbox.engine.decode import decode
from include.sandbox.engine.edge import edge_correction
from include.sandbox.engine.fitness import Look
from include.sandbox.engine.mesh import OVAL, Face, find_faces
from include.sandbox.engine.nets import mesh_net
from include.sandbox.engine.shape import lend_shape
from include.sandbox.engine.warp import FaceTexture, remap_tables, topology, with_rings
from tests.unit.sandbox.engine.pictures import sample


@pytest.fixture(scope="module")
def faces() -> dict[str, tuple[np.ndarray, Face]]:
    nets = short_range_net(), mesh_net()
    pictures = {
        name: decode(sample(f"{name}.jpg"), "source_img").rgb
        for name in ("collins", "hopper", "hopper_tilted")
    }
    return {name: (rgb, find_faces(*nets, rgb, only_largest=True)[0]) for name, rgb in pictures.items()}


def test_laying_a_face_on_itself_moves_nothing(faces):
    rgb, face = faces["hopper"]
    points = with_rings(face.points)
    tables, _ = remap_tables(points, points, rgb.shape[1], rgb.shape[0])
    y, x = np.nonzero(tables.trust > 0)
    assert np.abs(tables.x[y, x] - x).max() < 0.02
    assert np.abs(tables.y[y, x] - y).max() < 0.02


def test_each_point_of_the_mesh_takes_its_colour_from_its_twin(faces):
    source, target = (with_rings(faces[name][1].points) for name in ("collins", "hopper"))
    tables, _ = remap_tables(source, target, 512, 600)
    for number in (1, 9, 50, 280, 152, 61, 291, 205, 425):
        x, y = np.round(target[number, :2]).astype(int)
        assert np.hypot(tables.x[y, x] - source[number, 0], tables.y[y, x] - source[number, 1]) < 1.5


def test_the_map_of_each_triangle_leads_its_corners_to_their_twins(faces):
    source, target = (with_rings(faces[name][1].points) for name in ("collins", "hopper"))
    corners = topology()
    affine = warp.triangle_maps(source, target, corners)
    reached = np.einsum("tij,tcj->tci", affine[:, :, :2], target[corners, :2]) + affine[:, None, :, 2]
    (a, b), (c, d) = (target[corners, :2][:, 1:] - target[corners, :2][:, :1]).transpose(1, 2, 0)
    whole = np.abs(a * d - b * c) > 1e-3
    assert whole.mean() > 0.99
    assert np.abs(reached - source[corners, :2])[whole].max() < 0.01


def test_a_triangle_is_trusted_less_the_more_it_is_drawn_out():
    # Turned by any angle, most triangles keep their size; one is drawn out to three times its length, one to ten.
    turns = [np.array([[np.cos(t), -np.sin(t)], [np.sin(t), np.cos(t)]]) for t in np.linspace(0, 6, 21)]
    thinner = [turns[3] @ np.diag([1, 1 / 3]) @ turns[7], turns[5] @ np.diag([0.1, 1]) @ turns[2]]
    trust = warp.stretch_trust(np.stack([*turns, *thinner]))
    assert trust[:21] == pytest.approx(1)
    assert trust[21:] == pytest.approx([(1 / 3 - 0.2) / 0.3, 0])


def test_the_laid_face_has_no_holes(faces):
    source, target = (with_rings(faces[name][1].points) for name in ("collins", "hopper"))
    tables, _ = remap_tables(source, target, 512, 600)
    inside = mask.polygon(target, OVAL, 512, 600) > 0.99
    assert (tables.trust[inside] > 0).mean() > 0.995


def test_larger_tables_lead_to_the_same_places(faces):
    rgb, face = faces["hopper"]
    texture = FaceTexture.cut(rgb, Look.at(rgb, face), grey=False)
    half = texture.scaled_to(face.size / 2)
    target = with_rings(face.points)
    fine, _ = remap_tables(texture.points, target, 512, 600)
    x, y = remap_tables(half.points, target / 2, 256, 300)[0].enlarged(half, texture, 600, 512)
    inside = mask.polygon(target, OVAL, 512, 600) > 0.99
    assert np.median(np.abs(x - fine.x)[inside]) < 0.6
    assert np.median(np.abs(y - fine.y)[inside]) < 0.6


def test_the_rings_close_around_the_oval():
    corners = topology()
    assert corners.max() == 468 + 2 * len(OVAL) - 1
    edges = np.sort(np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [0, 2]]]), axis=1)
    _, uses = np.unique(edges, axis=0, return_counts=True)
    assert (uses == 1).sum() == len(OVAL)


def test_lent_shape_leaves_the_oval_and_moves_the_eyes(faces):
    giver, receiver = (with_rings(faces[name][1].points) for name in ("collins", "hopper"))
    moved = lend_shape(giver, receiver) - receiver
    size = faces["hopper"][1].size
    assert np.abs(moved[list(OVAL)]).max() < 1e-3
    assert np.abs(moved[468:]).max() < 1e-3
    shift = np.hypot(moved[:468, 0], moved[:468, 1])
    assert 0.01 < shift.max() / size < 0.12


def test_lending_a_face_its_own_shape_in_another_pose_moves_little(faces):
    upright, tilted = faces["hopper"][1], faces["hopper_tilted"][1]
    moved = lend_shape(with_rings(upright.points), with_rings(tilted.points)) - with_rings(tilted.points)
    assert np.hypot(moved[:, 0], moved[:, 1]).max() < 0.05 * tilted.size


def test_lab_is_opencvs_own_and_leads_back_to_the_picture(faces):
    rgb = faces["hopper"][0]
    lab = colour.to_lab(rgb)
    assert np.array_equal(lab, cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB))
    assert np.abs(colour.to_rgb(lab) - rgb).max() < 1
    assert all(lab[:, :, channel].flags.c_contiguous for channel in range(3))


def test_a_pixel_is_less_like_skin_the_farther_its_colour_is_away():
    skin = colour.Skin(np.array([70, 12, 16], np.float32), np.array([4, 2, 2], np.float32))
    lab = np.array([[[70, 12, 16], [70, 26, 16], [70, 40, 16], [30, 12, 16], [110, 12, 16]]], np.float32)
    like = colour.likeness(lab, skin)[0]
    assert like[0] > 0.99
    assert like[0] > like[1] > like[2]
    assert like[2] < 0.01
    assert like[3] > like[4]  # skin in the shade is still skin


def test_matched_skin_has_the_receivers_colour(faces):
    skins, labs, areas = [], [], []
    for name in ("collins", "hopper"):
        rgb, face = faces[name]
        lab, area = colour.to_lab(rgb), colour.bare_area(face.points, rgb.shape[1], rgb.shape[0])
        labs.append(lab)
        areas.append(area)
        skins.append(colour.measure(lab, area))
    matched = colour.match(labs[0], skins[0], skins[1], keep_colourless=False)
    assert np.median(matched[areas[0]], axis=0) == pytest.approx(skins[1].middle, abs=4)


def test_neutral_things_stay_neutral_when_skin_is_matched():
    pale = colour.Skin(np.array([70, 10, 15], np.float32), np.array([5, 2, 2], np.float32))
    red = colour.Skin(np.array([60, 30, 28], np.float32), np.array([5, 3, 3], np.float32))
    white = np.full((4, 4, 3), [95, 0, 0], np.float32)
    assert np.abs(colour.match(white, pale, red, keep_colourless=False)[:, :, 1:]).max() < 1e-3
    assert np.abs(colour.match(white, red, pale, keep_colourless=False)[:, :, 1:]).max() < 1e-3


def test_skin_is_told_from_hat_hair_and_sky(faces):
    rgb, face = faces["hopper"]
    lab = colour.to_lab(rgb)
    like = colour.likeness(lab, colour.measure(lab, colour.bare_area(face.points, 512, 600)))
    assert like[290:300, 215:235].mean() > 0.8  # cheek
    assert like[85:115, 200:320].mean() < 0.05  # hat
    assert like[60:120, 420:500].mean() < 0.05  # sky


def test_the_mask_keeps_the_hat_and_covers_the_features(faces):
    rgb, face = faces["hopper"]
    here = np.ones(rgb.shape[:2], np.float32)
    hat = here.copy()
    hat[:165] = 0
    points = with_rings(face.points)
    shown = mask.face_mask(points, face.size, face.angle, hat, here)
    assert shown[:152].max() < 0.05
    for number in (1, 13, 159, 386, 50, 280):
        x, y = np.round(points[number, :2]).astype(int)
        assert shown[y, x] > 0.95
    assert shown[mask.polygon(points, OVAL, 512, 600) == 0].max() == 0


def test_what_lies_above_hair_is_hair_whatever_its_colour(faces):
    rgb, face = faces["hopper"]
    skin = np.ones(rgb.shape[:2], np.float32)
    fringe = skin.copy()
    fringe[150:166] = 0  # a dark lower edge, light strands above it
    points = with_rings(face.points)
    shown = mask.face_mask(points, face.size, face.angle, skin, fringe)
    assert shown[:150].max() < 0.1
    assert mask.face_mask(points, face.size, face.angle, skin, skin)[140:150].max() > 0.4


def test_a_shut_mouth_is_told_from_an_open_one(faces):
    open_mouth, shut = faces["collins"][1].points, faces["hopper"][1].points
    assert mask.openness(open_mouth) > mask.openness(shut)
    assert mask.keeps_own_mouth(shut, open_mouth)
    assert mask.keeps_own_mouth(open_mouth, shut)
    assert not mask.keeps_own_mouth(shut, shut)
    assert not mask.keeps_own_mouth(open_mouth, open_mouth)


def test_the_edge_correction_lifts_a_dark_face_at_its_edge_only():
    shown = np.zeros((120, 120), np.float32)
    shown[30:90, 30:90] = 1
    scene = np.full((120, 120, 3), 150, np.float32)
    dark = np.full((120, 120, 3), 120, np.float32)
    change = edge_correction(dark, scene, shown)
    assert change[33, 60].mean() > 15
    assert change[60, 60].mean() < 0.6 * change[33, 60].mean()
    assert np.abs(edge_correction(scene, scene, shown)).max() < 2


def test_grain_is_the_same_each_time_and_as_strong_as_asked():
    once = colour.grain(1.5, 300, 500)
    assert np.array_equal(once, colour.grain(1.5, 300, 500))
    assert once.std() == pytest.approx(1.5, rel=0.05)
    assert colour.grain(0.0, 8, 8).max() == 0
