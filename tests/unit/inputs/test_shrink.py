# SPDX-License-Identifier: Apache-2.0
"""Pictures are made fit for GoEnhance: small enough, and of a kind that every decoder reads."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from airflow_provider_goenhance.inputs import shrink
from airflow_provider_goenhance.inputs.shrink import MAX_INPUT_BYTES, UnfitPictureError, fit_picture
from tests.unit.inputs.photos import encoded, opened, photo, sample

ORIENTATION = 0x0112


@pytest.fixture(scope="module")
def large() -> bytes:
    data = encoded(photo(4000, 3000), "JPEG", quality=93)
    assert len(data) > MAX_INPUT_BYTES
    return data


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> int:
    """Lower the limit, so that small pictures are too large."""
    monkeypatch.setattr(shrink, "MAX_INPUT_BYTES", 40_000)
    return 40_000


def test_a_picture_that_is_fit_stays_as_it_is() -> None:
    assert fit_picture(sample("collins.jpg"), "source") is None
    assert fit_picture(sample("hopper_grey.jpg"), "source") is None
    assert fit_picture(encoded(photo(64, 64), "WEBP"), "reference") is None


def test_a_source_that_is_too_large_fits_afterwards_and_the_note_says_what_was_done(large: bytes) -> None:
    fit = fit_picture(large, "source")

    assert fit is not None
    assert len(fit.data) <= MAX_INPUT_BYTES
    assert opened(fit.data).size == (fit.width, fit.height) == (2048, 1536)
    assert fit.note.startswith(
        f"shrunk: {len(large):,} bytes, 4000 x 3000 became {len(fit.data):,} bytes, 2048 x 1536"
    )


def test_a_reference_is_shrunk_by_choice_only_and_keeps_more_pixels(large: bytes) -> None:
    with pytest.raises(UnfitPictureError, match="takes at most 5,000,000; shrink is 'source'") as caught:
        fit_picture(large, "reference")
    assert caught.value.code == "input_too_large"

    fit = fit_picture(large, "reference", "all")
    assert fit is not None
    assert len(fit.data) <= MAX_INPUT_BYTES
    assert (fit.width, fit.height) == (3200, 2400)


def test_nothing_is_shrunk_if_that_is_switched_off(large: bytes) -> None:
    with pytest.raises(UnfitPictureError, match="shrink is 'never'"):
        fit_picture(large, "source", "never")


def test_a_picture_is_encoded_until_it_fits(small_limit: int) -> None:
    fit = fit_picture(encoded(photo(600, 400), "JPEG", quality=95), "source")

    assert fit is not None
    assert len(fit.data) <= small_limit
    assert fit.width < 600, "the lowest quality alone is too large"
    assert fit.width / fit.height == pytest.approx(1.5, abs=0.02)


def test_a_picture_is_never_enlarged(small_limit: int) -> None:
    fit = fit_picture(encoded(photo(200, 150), "PNG"), "source")

    assert fit is not None
    assert (fit.width, fit.height) == (200, 150)
    assert "shrunk and converted from PNG" in fit.note


def test_the_orientation_is_applied_and_the_metadata_left_out(small_limit: int) -> None:
    picture = photo(400, 200)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    exif[0x010E] = "taken at home"

    fit = fit_picture(encoded(picture, "JPEG", quality=95, exif=exif), "source")

    assert fit is not None
    assert fit.height > fit.width
    assert not opened(fit.data).getexif()
    assert b"taken at home" not in fit.data


def test_the_colour_profile_is_kept(small_limit: int) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

    fit = fit_picture(encoded(photo(400, 300), "JPEG", quality=95, icc_profile=profile), "source")

    assert fit is not None
    assert opened(fit.data).info["icc_profile"] == profile


def test_a_profile_as_large_as_a_picture_is_replaced(small_limit: int) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    large_profile = struct.pack(">I", 100_000) + profile[4:] + bytes(100_000 - len(profile))

    fit = fit_picture(encoded(photo(300, 200), "JPEG", quality=95, icc_profile=large_profile), "source")

    assert fit is not None
    assert len(fit.data) <= small_limit
    assert len(opened(fit.data).info.get("icc_profile", b"")) < 10_000


@pytest.mark.parametrize(
    ("kind", "mode", "said"),
    [
        ("JPEG", "CMYK", "converted from CMYK JPEG"),
        ("TIFF", "RGB", "converted from TIFF"),
        ("TIFF", "CMYK", "converted from CMYK TIFF"),
        ("PNG", "P", "converted from palette PNG"),
        ("GIF", "P", "converted from palette GIF"),
        ("BMP", "RGB", "converted from BMP"),
        ("AVIF", "RGB", "converted from AVIF"),
    ],
)
def test_an_odd_format_becomes_a_jpeg_with_the_same_picture(kind: str, mode: str, said: str) -> None:
    picture = opened(sample("collins.jpg")).resize((256, 256))

    fit = fit_picture(encoded(picture.convert(mode), kind), "reference")

    assert fit is not None
    assert said in fit.note
    made = opened(fit.data)
    assert (made.format, made.mode, made.size) == ("JPEG", "RGB", (256, 256))
    difference = np.abs(np.asarray(made, np.int16) - np.asarray(picture, np.int16))
    assert difference.mean() < 12


def test_sixteen_bits_become_eight_without_being_clipped() -> None:
    grey = np.linspace(0, 65535, 128 * 128).reshape(128, 128).astype(np.uint16)

    fit = fit_picture(encoded(Image.fromarray(grey), "PNG"), "source")

    assert fit is not None
    made = np.asarray(opened(fit.data).convert("L"))
    assert made[0].mean() < 10
    assert 110 < made[64].mean() < 145
    assert made[-1].mean() > 245


def test_what_is_transparent_becomes_white() -> None:
    palette = Image.new("P", (64, 64), 0)
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.info["transparency"] = 0

    fit = fit_picture(encoded(palette, "PNG", transparency=0), "source")

    assert fit is not None
    assert opened(fit.data).getpixel((32, 32)) == (255, 255, 255)


def test_the_first_frame_of_an_animation_is_taken_and_the_note_says_so() -> None:
    frames = [photo(64, 64, seed=seed) for seed in (1, 2, 3)]

    fit = fit_picture(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]), "source")

    assert fit is not None
    assert "first of 3 frames" in fit.note


def test_a_format_without_a_decoder_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    heic = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(100)

    with pytest.raises(
        UnfitPictureError, match=r"HEIC .* install pillow-heif, or convert it to JPEG"
    ) as caught:
        fit_picture(heic, "source")
    assert caught.value.code == "input_no_decoder"


def test_what_is_no_picture_and_what_is_damaged_is_said() -> None:
    with pytest.raises(UnfitPictureError, match="it is an HTML page") as caught:
        fit_picture(b"<html>Not found</html>", "source")
    assert caught.value.code == "input_not_an_image"

    with pytest.raises(UnfitPictureError, match="damaged TIFF") as caught:
        fit_picture(encoded(photo(64, 64), "TIFF")[:200], "source")
    assert caught.value.code == "input_unreadable"


def test_a_picture_with_too_many_pixels_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shrink, "MOST_BYTES", 1000)

    with pytest.raises(UnfitPictureError, match="64 x 64 pixels, too many to shrink here"):
        fit_picture(encoded(photo(64, 64), "TIFF"), "source")


def test_a_decompression_bomb_is_too_large_and_not_called_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    bomb = encoded(photo(40, 30), "TIFF")
    with pytest.raises(UnfitPictureError, match="too many pixels") as refused:
        fit_picture(bomb, "source")
    assert refused.value.code == "input_too_large"
