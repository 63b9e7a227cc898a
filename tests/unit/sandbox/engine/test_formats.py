# SPDX-License-Identifier: Apache-2.0
"""Every kind of JPEG, PNG and WebP goes in, and comes out in its own format, size and orientation."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from tests.unit.sandbox.engine.pictures import encoded, opened, pixels, sample

KINDS = {
    "JPEG": ("image/jpeg", ".jpg"),
    "PNG": ("image/png", ".png"),
    "WEBP": ("image/webp", ".webp"),
}


@pytest.fixture(scope="module")
def hopper() -> bytes:
    """A smaller Hopper than the other tests use: kinds of files are tried here, not faces."""
    return encoded(
        opened(sample("hopper.jpg")).resize((320, 375), Image.Resampling.LANCZOS), "JPEG", quality=92
    )


@pytest.fixture(scope="module")
def hopper_png(hopper: bytes) -> bytes:
    return encoded(opened(hopper), "PNG", compress_level=1)


def changed(before: np.ndarray, after: np.ndarray, box: tuple[int, int, int, int]) -> float:
    left, top, right, bottom = box
    return float(np.abs(after - before)[top:bottom, left:right].mean())


@pytest.mark.parametrize("kind", KINDS)
def test_the_result_has_the_format_and_size_of_the_reference(engine, collins, hopper, kind):
    reference = encoded(opened(hopper).convert("RGB"), kind)
    swap = engine.swap(collins, reference)
    assert (swap.media_type, swap.extension) == KINDS[kind]
    assert opened(swap.data).format == kind
    assert opened(swap.data).size == (320, 375)
    assert changed(pixels(reference), pixels(swap.data), swap.faces[0]) > 5


@pytest.mark.parametrize("kind", KINDS)
def test_the_source_may_be_of_any_kind(engine, collins, hopper, kind):
    swap = engine.swap(encoded(opened(collins).convert("RGB"), kind), hopper)
    assert changed(pixels(hopper), pixels(swap.data), swap.faces[0]) > 5


def test_a_jpeg_off_the_face_is_as_good_as_it_was(engine, collins, hopper):
    swap = engine.swap(collins, hopper)
    left, top, right, bottom = swap.faces[0]
    difference = np.abs(pixels(swap.data) - pixels(hopper)).max(axis=2)
    difference[top - 16 : bottom + 16, left - 16 : right + 16] = 0
    assert difference.mean() < 0.8
    assert 0.5 < len(swap.data) / len(hopper) < 1.5


@pytest.mark.parametrize(
    ("orientation", "stored"),
    [
        (3, Image.Transpose.ROTATE_180),
        (6, Image.Transpose.ROTATE_90),
        (8, Image.Transpose.ROTATE_270),
        (5, Image.Transpose.TRANSPOSE),
    ],
)
def test_a_picture_stored_on_its_side_comes_out_upright(engine, collins, hopper_png, orientation, stored):
    exif = Image.Exif()
    exif[0x0112] = orientation
    sideways = encoded(opened(hopper_png).transpose(stored), "PNG", exif=exif, compress_level=1)
    swap = engine.swap(collins, sideways)
    result = opened(swap.data)
    assert result.size == (320, 375)
    assert result.getexif().get(0x0112, 1) == 1
    upright = engine.swap(collins, hopper_png)
    assert swap.faces == upright.faces
    assert np.array_equal(pixels(swap.data), pixels(upright.data))


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_transparency_is_kept(engine, collins, kind):
    badge = encoded(
        opened(sample("hopper_badge.png")), kind, **({"lossless": True} if kind == "WEBP" else {})
    )
    swap = engine.swap(collins, badge)
    result = opened(swap.data)
    assert result.mode == "RGBA"
    assert np.array_equal(np.asarray(result.getchannel("A")), np.asarray(opened(badge).getchannel("A")))
    if kind == "PNG":
        off = np.ones((432, 432), bool)
        left, top, right, bottom = swap.faces[0]
        off[top:bottom, left:right] = False
        assert np.array_equal(pixels(swap.data, "RGBA")[off], pixels(badge, "RGBA")[off])


def test_a_transparent_source_lends_its_face(engine, collins):
    swap = engine.swap(sample("hopper_badge.png"), collins)
    assert changed(pixels(collins), pixels(swap.data), swap.faces[0]) > 5


@pytest.mark.parametrize("kind", KINDS)
def test_a_grey_reference_stays_grey(engine, collins, kind):
    grey = encoded(opened(sample("hopper_grey.jpg")), kind, **({"lossless": True} if kind == "WEBP" else {}))
    result = opened(engine.swap(collins, grey).data)
    if kind != "WEBP":  # WebP has no grey of its own
        assert result.mode == "L"
    channels = np.asarray(result.convert("RGB")).astype(int)
    assert np.ptp(channels, axis=2).max() <= 4


def test_a_grey_picture_stored_as_rgb_stays_grey(engine, collins):
    grey = encoded(opened(sample("hopper_grey.jpg")).convert("RGB"), "PNG", compress_level=1)
    result = pixels(engine.swap(collins, grey).data)
    assert np.ptp(result, axis=2).max() <= 2


def test_a_grey_source_takes_the_colour_of_the_reference(engine, collins):
    swap = engine.swap(sample("hopper_grey.jpg"), collins)
    left, top, right, bottom = swap.faces[0]
    cheek = (slice(top + (bottom - top) // 2, top + 3 * (bottom - top) // 4), slice(left + 25, right - 25))
    before, after = pixels(collins)[cheek], pixels(swap.data)[cheek]
    warmth = (before[..., 0] - before[..., 2]).mean(), (after[..., 0] - after[..., 2]).mean()
    assert warmth[1] > 0.5 * warmth[0] > 5


def test_grey_with_transparency_keeps_both(engine, collins):
    image = opened(sample("hopper_grey.jpg")).convert("LA")
    image.putalpha(200)
    result = opened(engine.swap(collins, encoded(image, "PNG")).data)
    assert result.mode == "LA"
    assert set(np.unique(np.asarray(result.getchannel("A")))) == {200}


def test_a_palette_picture_comes_out_in_full_colour(engine, hopper):
    palette = sample("collins_mirrored.png")
    swap = engine.swap(hopper, palette)
    result = opened(swap.data)
    assert result.mode == "RGB"
    off = np.ones((400, 452), bool)
    left, top, right, bottom = swap.faces[0]
    off[top:bottom, left:right] = False
    assert np.array_equal(pixels(swap.data)[off], pixels(palette)[off])


def test_a_palette_with_a_transparent_colour_keeps_it(engine, collins, hopper_png):
    palette = opened(hopper_png).quantize(64)
    corner = palette.getpixel((0, 0))
    data = encoded(palette, "PNG", transparency=corner)
    result = opened(engine.swap(collins, data).data)
    assert result.mode == "RGBA"
    assert result.getpixel((0, 0))[3] == 0


def test_sixteen_bit_pictures_are_read(engine, collins):
    eight = np.asarray(opened(sample("hopper_grey.jpg")))
    sixteen = encoded(Image.fromarray(eight.astype(np.uint16) * 257), "PNG")
    assert opened(sixteen).mode.startswith("I")
    swap = engine.swap(collins, sixteen)
    result = np.asarray(opened(swap.data)).astype(int)
    left, top, right, bottom = swap.faces[0]
    off = np.ones(eight.shape, bool)
    off[top:bottom, left:right] = False
    assert np.array_equal(result[off], eight[off])
    assert np.abs(result - eight)[~off].mean() > 3


def test_a_cmyk_jpeg_comes_out_as_a_colour_jpeg(engine, collins, hopper):
    cmyk = encoded(opened(hopper).convert("CMYK"), "JPEG", quality=92)
    swap = engine.swap(collins, cmyk)
    result = opened(swap.data)
    assert (result.mode, result.format) == ("RGB", "JPEG")
    difference = np.abs(pixels(swap.data) - pixels(cmyk))[250:]
    assert difference.mean() < 3


def test_a_colour_profile_is_carried_over(engine, collins, hopper):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for kind in KINDS:
        tagged = encoded(opened(hopper).convert("RGB"), kind, icc_profile=profile)
        assert opened(engine.swap(collins, tagged).data).info["icc_profile"] == profile


def test_where_the_reference_was_taken_is_not_passed_on(engine, collins, hopper):
    exif = Image.Exif()
    exif[0x010F] = "Camera maker"
    exif.get_ifd(0x8825)[1] = "N"
    swap = engine.swap(collins, encoded(opened(hopper), "JPEG", exif=exif))
    written = opened(swap.data).getexif()
    assert 0x010F not in written
    assert not written.get_ifd(0x8825)


def test_only_the_first_picture_of_an_animation_is_used(engine, collins, hopper):
    first, second = opened(hopper).convert("RGB"), Image.new("RGB", (320, 375))
    animation = io.BytesIO()
    first.save(animation, format="WEBP", save_all=True, append_images=[second], lossless=True)
    swap = engine.swap(collins, animation.getvalue())
    assert np.abs(pixels(swap.data) - pixels(hopper))[250:].mean() < 4
