# SPDX-License-Identifier: Apache-2.0
"""What a kept picture is found to be, beside its reference: drawn pictures, and all swaps of the sample."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from airflow_provider_goenhance.pictures.quality import Verdict, appearance_in, judge, look_at
from airflow_provider_goenhance.pictures.thumbnail import THUMBNAIL

ROOT = Path(__file__).resolve().parents[3]
IMAGES = ROOT / "include/images"


def opened(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as picture:
        return ImageOps.exif_transpose(picture).convert("RGB")


def encoded(picture: Image.Image, kind: str = "JPEG", quality: int = 92) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, quality=quality)
    return out.getvalue()


def verdict(result: bytes, reference: bytes | None) -> Verdict:
    return judge(look_at(result)[0], look_at(reference)[0] if reference else None)


@pytest.fixture(scope="module")
def swaps() -> dict[str, tuple[bytes, bytes]]:
    """Reference and result of each pair of the sample manifest that has two faces, by the sandbox's engine."""
    from include.sandbox.engine.engine import FaceSwapEngine
    from include.sandbox.engine.errors import EngineError

    engine = FaceSwapEngine()
    made: dict[str, tuple[bytes, bytes]] = {}
    with (ROOT / "include/manifests/sample.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            source, reference = (
                (IMAGES / Path(row[name]).name).read_bytes() for name in ("source_img", "reference_img")
            )
            try:
                made[row["pair_id"]] = (reference, engine.swap(source, reference).data)
            except EngineError:
                continue
    assert len(made) == 15
    return made


# -- the sample --------------------------------------------------------------------------------------------------------


def test_every_swap_of_the_sample_is_ok(swaps: dict[str, tuple[bytes, bytes]]) -> None:
    found = {pair: verdict(result, reference) for pair, (reference, result) in swaps.items()}
    assert {pair: seen for pair, seen in found.items() if seen.quality != "ok"} == {}
    assert min(float(seen.score or 0) for seen in found.values()) > 1


@pytest.mark.parametrize("how", ["as it is", "q75", "75 % size", "75 % and back", "WebP q60"])
def test_the_reference_itself_is_unchanged_however_it_is_encoded(
    swaps: dict[str, tuple[bytes, bytes]], how: str
) -> None:
    found = {}
    for pair, (reference, _) in swaps.items():
        scene = opened(reference)
        smaller = scene.resize((scene.width * 3 // 4, scene.height * 3 // 4))
        data = {
            "as it is": lambda r=reference: r,
            "q75": lambda s=scene: encoded(s, quality=75),
            "75 % size": lambda s=smaller: encoded(s, quality=70),
            "75 % and back": lambda s=smaller, size=scene.size: encoded(s.resize(size), quality=75),
            "WebP q60": lambda s=scene: encoded(s, "WEBP", 60),
        }[how]()
        found[pair] = verdict(data, reference)
    assert {pair: seen for pair, seen in found.items() if seen.quality != "unchanged"} == {}


def test_a_black_result_is_blank_and_a_blurred_one_is_blurred(swaps: dict[str, tuple[bytes, bytes]]) -> None:
    for reference, result in swaps.values():
        swap = opened(result)
        assert verdict(encoded(Image.new("RGB", swap.size)), reference).quality == "blank"
        assert verdict(encoded(swap.filter(ImageFilter.GaussianBlur(4))), reference).quality == "blurred"


def test_the_result_of_another_pair_is_another_picture(swaps: dict[str, tuple[bytes, bytes]]) -> None:
    looks = {pair: (look_at(reference)[0], look_at(result)[0]) for pair, (reference, result) in swaps.items()}
    found = {
        (pair, other): judge(looks[other][1], looks[pair][0])
        for pair in looks
        for other in looks
        if swaps[pair][0] != swaps[other][0]
    }
    assert {pairs: seen for pairs, seen in found.items() if seen.quality != "other_picture"} == {}


# -- drawn pictures ----------------------------------------------------------------------------------------------------


def scene(size: tuple[int, int] = (640, 480)) -> Image.Image:
    bands = [Image.linear_gradient("L").resize(size), Image.radial_gradient("L").resize(size)]
    picture = Image.merge("RGB", [*bands, Image.effect_noise(size, 40)])
    draw = ImageDraw.Draw(picture)
    draw.ellipse((200, 120, 330, 290), fill=(210, 160, 130))
    draw.rectangle((380, 250, 600, 460), fill=(30, 60, 120))
    return picture


def test_without_a_reference_only_a_blank_picture_is_recognized() -> None:
    assert verdict(encoded(scene()), None).quality == "unchecked"
    assert verdict(encoded(Image.new("RGB", (64, 64), "white")), None).quality == "blank"


def test_a_swap_in_a_scene_of_one_colour_is_not_blank() -> None:
    flat = Image.new("RGB", (640, 480), (128, 128, 128))
    changed = flat.copy()
    ImageDraw.Draw(changed).ellipse((200, 120, 330, 290), fill=(138, 128, 128))
    assert verdict(encoded(changed), encoded(flat)).quality == "ok"


def test_a_picture_that_was_given_another_exposure_all_over_is_the_same_scene() -> None:
    changed = scene()
    ImageDraw.Draw(changed).ellipse((200, 120, 330, 290), fill=(120, 90, 90))
    brighter = changed.point(lambda value: min(255, int(value * 1.03 + 2)))
    assert verdict(encoded(brighter), encoded(scene())).quality == "ok"


def test_a_result_that_is_turned_by_its_orientation_is_compared_upright() -> None:
    turned = scene().transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    out = io.BytesIO()
    turned.save(out, "JPEG", quality=92, exif=exif)
    assert verdict(out.getvalue(), encoded(scene())).quality == "unchanged"


def test_a_crop_is_another_picture() -> None:
    assert verdict(encoded(scene().crop((0, 0, 640, 360))), encoded(scene())).quality == "other_picture"


def test_the_score_is_below_one_for_what_is_suspicious_only() -> None:
    blurred = scene().filter(ImageFilter.GaussianBlur(6))
    for result, good in ((scene(), False), (blurred, False), (Image.new("RGB", (640, 480)), False)):
        assert (float(verdict(encoded(result), encoded(scene())).score or 0) >= 1) is good


def test_a_thumbnail_says_what_the_picture_looked_like() -> None:
    for name in ("crew.jpg", "hopper_badge.png"):
        look, thumbnail = look_at((IMAGES / name).read_bytes())
        again = appearance_in(thumbnail)
        assert max(opened(thumbnail).size) == min(THUMBNAIL, max(look.width, look.height))
        assert judge(again, look).quality == "unchanged"
        assert again.sharpness == pytest.approx(look.sharpness, abs=0.01)


def test_a_picture_that_is_no_thumbnail_of_ours_says_nothing() -> None:
    with pytest.raises(ValueError, match=r"Expecting value|no JSON"):
        appearance_in(encoded(scene((200, 150)), "WEBP"))
