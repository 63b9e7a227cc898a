# SPDX-License-Identifier: Apache-2.0
"""What one swap promises: the face changes, the rest does not, and the same input gives the same bytes."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from include.sandbox.engine import EngineError, FaceSwapEngine
from tests.unit.sandbox.engine.pictures import encoded, opened, pixels, sample


def inside(box: tuple[int, int, int, int], shape: tuple[int, ...], margin: int = 0) -> np.ndarray:
    left, top, right, bottom = box
    area = np.zeros(shape[:2], bool)
    area[max(top - margin, 0) : bottom + margin, max(left - margin, 0) : right + margin] = True
    return area


def test_the_face_changes_and_every_pixel_off_the_face_stays(engine, collins, hopper_png):
    swap = engine.swap(collins, hopper_png)
    before, after = pixels(hopper_png), pixels(swap.data)
    change = np.abs(after - before).max(axis=2)
    face = inside(swap.faces[0], before.shape)
    assert change[~face].max() == 0
    assert change[face].mean() > 8
    assert (change[face] > 4).mean() > 0.5


def test_the_face_becomes_more_like_the_source_in_the_middle_of_the_face(engine, hopper_png):
    swap = engine.swap(sample("collins_closeup.jpg"), hopper_png)
    left, top, right, bottom = swap.faces[0]
    # Hopper wears dark glasses, Collins none: the brow line gets lighter, so the darkest fifth of the eye band shrinks.
    band = (slice(top + (bottom - top) // 5, top + (bottom - top) // 2), slice(left + 20, right - 20))
    before = pixels(hopper_png, "L")[band]
    after = pixels(swap.data, "L")[band]
    assert (after < 60).mean() < (before < 60).mean()


def test_the_skin_keeps_the_colour_of_the_reference(engine, collins):
    reference = sample("hopper_evening.jpg")
    swap = engine.swap(collins, reference)
    left, top, _, bottom = swap.faces[0]
    cheek = (
        slice(top + 6 * (bottom - top) // 10, top + 7 * (bottom - top) // 10),
        slice(left + 45, left + 75),
    )
    before, after = pixels(reference)[cheek].mean(axis=(0, 1)), pixels(swap.data)[cheek].mean(axis=(0, 1))
    assert np.abs(before - after).max() < 25


def test_the_hat_above_the_face_stays(engine, hopper_png):
    swap = engine.swap(sample("collins_closeup.jpg"), hopper_png)
    hat = (slice(60, 130), slice(190, 330))
    assert np.array_equal(pixels(hopper_png)[hat], pixels(swap.data)[hat])


def test_the_same_pictures_give_the_same_bytes(engine, collins, hopper):
    once = engine.swap(collins, hopper).data
    assert engine.swap(collins, hopper).data == once
    assert FaceSwapEngine().swap(collins, hopper).data == once


def test_threads_share_one_engine_and_get_the_same_bytes(engine, collins, hopper):
    alone = engine.swap(collins, hopper).data, engine.swap(hopper, collins).data
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(engine.swap, *pair) for pair in [(collins, hopper), (hopper, collins)] * 2]
        results = [job.result().data for job in jobs]
    assert results == list(alone) * 2


def test_only_the_largest_face_changes_unless_all_are_asked_for(engine, collins):
    crew = opened(sample("portrait_wall.jpg")).convert("RGB")
    png = encoded(crew, "PNG", compress_level=1)
    largest = engine.swap(sample("hopper.jpg"), png)
    everyone = FaceSwapEngine("all").swap(sample("hopper.jpg"), png)
    assert len(largest.faces) == 1
    assert len(everyone.faces) == 3
    for box in everyone.faces[1:]:
        area = inside(box, (crew.height, crew.width))
        assert np.abs(pixels(largest.data) - pixels(png))[area].max() == 0
        assert np.abs(pixels(everyone.data) - pixels(png))[area].mean() > 3


def test_faces_come_largest_first():
    boxes = FaceSwapEngine("all").swap(sample("collins.jpg"), sample("crew.jpg")).faces
    heights = [bottom - top for _, top, _, bottom in boxes]
    assert len(boxes) == 2
    assert heights == sorted(heights, reverse=True)


def test_a_face_held_upside_down_is_found_and_changed(engine, collins, hopper_png):
    turned = encoded(opened(hopper_png).transpose(Image.Transpose.ROTATE_180), "PNG", compress_level=1)
    swap = engine.swap(collins, turned)
    left, top, right, bottom = swap.faces[0]
    assert abs((left + right) / 2 - (512 - 263)) < 12
    assert abs((top + bottom) / 2 - (600 - 233)) < 12
    assert (
        np.abs(pixels(swap.data) - pixels(turned)).max(axis=2)[inside(swap.faces[0], (600, 512))].mean() > 5
    )


@pytest.mark.parametrize("degrees", [-40, 25])
def test_a_tilted_face_is_changed(engine, collins, hopper, degrees):
    tilted = encoded(opened(hopper).rotate(degrees, Image.Resampling.BICUBIC), "PNG", compress_level=1)
    swap = engine.swap(collins, tilted)
    change = np.abs(pixels(swap.data) - pixels(tilted)).max(axis=2)
    assert change[inside(swap.faces[0], change.shape)].mean() > 5


def test_a_face_cut_by_the_edge_is_changed_inside_the_picture(engine, collins, hopper):
    cut = encoded(opened(hopper).crop((220, 60, 512, 420)), "PNG", compress_level=1)
    swap = engine.swap(collins, cut)
    left, top, right, bottom = swap.faces[0]
    assert left == 0
    assert min(top, right, bottom) > 0
    assert opened(swap.data).size == (292, 360)


def test_a_large_face_is_changed_at_full_size(engine, hopper):
    big = opened(sample("collins_closeup.jpg")).resize((1100, 1230), Image.Resampling.BICUBIC)
    png = encoded(big, "PNG", compress_level=1)
    swap = engine.swap(hopper, png)
    change = np.abs(pixels(swap.data) - pixels(png)).max(axis=2)
    face = inside(swap.faces[0], change.shape)
    assert change[~face].max() == 0
    assert change[face].mean() > 8


def test_importing_the_engine_loads_no_picture_library():
    code = (
        "import sys; import include.sandbox.engine; "
        "print([name for name in ('cv2', 'numpy', 'PIL') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_an_unknown_choice_of_faces_is_refused():
    with pytest.raises(ValueError, match="'largest' or 'all'"):
        FaceSwapEngine("some")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["coffee.jpg", "rocket.jpg"])
def test_a_picture_without_a_face_is_named(engine, collins, name):
    with pytest.raises(EngineError, match="source_img shows no face") as refused:
        engine.swap(sample(name), collins)
    assert (refused.value.code, refused.value.picture) == ("no_face", "source_img")
    with pytest.raises(EngineError, match="reference_img shows no face") as refused:
        engine.swap(collins, sample(name))
    assert (refused.value.code, refused.value.picture) == ("no_face", "reference_img")


def test_a_tiny_face_is_refused_by_its_size(engine, collins, hopper):
    canvas = Image.new("RGB", (100, 100), (90, 120, 160))
    canvas.paste(opened(hopper).resize((58, 68), Image.Resampling.LANCZOS), (21, 14))
    with pytest.raises(EngineError, match="needs at least 48") as refused:
        engine.swap(encoded(canvas, "PNG"), collins)
    assert (refused.value.code, refused.value.picture) == ("face_too_small", "source_img")
