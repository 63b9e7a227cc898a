# SPDX-License-Identifier: Apache-2.0
"""Pictures damaged in many ways, the same ones in each run."""

from __future__ import annotations

import random

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from tests.unit.sandbox.engine.pictures import encoded, opened, sample

PICTURES = (
    "collins.jpg", "hopper.jpg", "hopper_grey.jpg", "hopper_badge.png", "crew.jpg", "photographer.png",
    "collins_mirrored.png", "hopper_tilted.jpg", "coffee.jpg", "collins_phone.jpg",
)  # fmt: skip
CODES = {
    "no_face", "face_too_small", "face_turned", "face_blurred", "face_overexposed", "face_underexposed", "face_covered",
    "empty_image", "not_an_image", "unsupported_format", "truncated_image",
    "broken_image", "image_too_large", "image_too_small", "decompression_bomb",
}  # fmt: skip


def _cut(image: Image.Image, dice: random.Random) -> Image.Image:
    left, top = dice.randrange(image.width // 2), dice.randrange(image.height // 2)
    right = dice.randrange(left + 1, image.width + 1)
    return image.crop((left, top, right, dice.randrange(top + 1, image.height + 1)))


def _turned(image: Image.Image, dice: random.Random) -> Image.Image:
    return image.rotate(dice.uniform(-180, 180), Image.Resampling.BICUBIC, expand=dice.random() < 0.5)


def _scaled(image: Image.Image, dice: random.Random) -> Image.Image:
    wide = max(1, round(image.width * dice.choice((0.05, 0.15, 0.4, 0.7, 1.3))))
    return image.resize((wide, max(1, round(image.height * dice.choice((0.1, 0.4, 0.8, 1.2))))))


def _noisy(image: Image.Image, dice: random.Random) -> Image.Image:
    values = np.asarray(image).astype(np.int16)
    noise = np.random.default_rng(dice.randrange(2**32)).normal(0, dice.choice((8, 40, 120)), values.shape)
    return Image.fromarray(np.clip(values + noise, 0, 255).astype(np.uint8))


def _flat(image: Image.Image, dice: random.Random) -> Image.Image:
    return Image.new("RGB", image.size, tuple(dice.randrange(256) for _ in range(3)))


def _blurred(image: Image.Image, dice: random.Random) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(dice.choice((1, 4, 12))))


def _covered(image: Image.Image, dice: random.Random) -> Image.Image:
    image = image.copy()
    corner = dice.randrange(image.width), dice.randrange(image.height)
    image.paste((0, 0, 0), (*corner, corner[0] + image.width // 3, corner[1] + image.height // 3))
    return image


def _toned(image: Image.Image, dice: random.Random) -> Image.Image:
    return dice.choice((ImageOps.invert, ImageOps.flip, ImageOps.mirror, ImageOps.equalize))(image)


def _posterised(image: Image.Image, dice: random.Random) -> Image.Image:
    return ImageOps.posterize(image, dice.choice((1, 2, 4)))


_CHANGES = (_cut, _turned, _scaled, _noisy, _flat, _blurred, _covered, _toned, _posterised)
_MODES = {
    "JPEG": ("RGB", "L", "CMYK", "YCbCr"),
    "PNG": ("RGB", "L", "LA", "RGBA", "P", "1", "I;16"),
    "WEBP": ("RGB", "RGBA"),
    "GIF": ("P",),
    "BMP": ("RGB",),
    "TIFF": ("RGB", "CMYK"),
}


def _stored(image: Image.Image, dice: random.Random) -> bytes:
    kind = dice.choices(list(_MODES), weights=(12, 9, 6, 1, 1, 1))[0]
    mode = dice.choice(_MODES[kind])
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    else:
        image = image.convert(mode)
    options = {"quality": dice.choice((1, 30, 90))} if kind in {"JPEG", "WEBP"} else {}
    if kind in {"JPEG", "PNG"} and dice.random() < 0.3:
        exif = Image.Exif()
        exif[0x0112] = dice.randrange(10)
        options["exif"] = exif
    return encoded(image, kind, **options)


def _damaged(data: bytes, dice: random.Random) -> bytes:
    kind = dice.randrange(6)
    if kind == 0:
        return data[: dice.randrange(len(data))]
    if kind == 1:
        broken = bytearray(data)
        for _ in range(dice.choice((1, 5, 50))):
            broken[dice.randrange(len(broken))] = dice.randrange(256)
        return bytes(broken)
    if kind == 2:
        start = dice.randrange(len(data))
        return data[:start] + data[start + dice.randrange(1, 400) :]
    if kind == 3:
        return data[: dice.choice((2, 8, 12, 40))] + dice.randbytes(dice.randrange(2000))
    if kind == 4:
        return dice.randbytes(dice.randrange(2000))
    return data + dice.randbytes(500)


def mangled(number: int) -> bytes:
    """The picture of this number: a few changes, one way of storing it, and at times damage to the file."""
    dice = random.Random(number)
    image = opened(sample(dice.choice(PICTURES))).convert("RGB")
    image.thumbnail((300, 300))
    for change in dice.choices(_CHANGES, weights=(4, 4, 3, 2, 1, 2, 3, 2, 1), k=dice.randrange(3)):
        image = change(image, dice)
    data = _stored(image, dice)
    return _damaged(data, dice) if dice.random() < 0.35 else data
