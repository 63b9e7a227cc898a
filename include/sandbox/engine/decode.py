# SPDX-License-Identifier: Apache-2.0
"""Decode a JPEG, PNG or WebP file to upright 8-bit pixels, or raise an error that names the defect."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageCms, ImageOps, JpegImagePlugin, UnidentifiedImageError

from .errors import EngineError

if TYPE_CHECKING:
    from .errors import Picture

# GoEnhance's page says "Max 5M" for each picture.
MAX_BYTES = 5 * 1024 * 1024
# A real photograph of 5 MB has fewer. A file that decodes to more is a decompression bomb.
MAX_PIXELS = 40_000_000
MIN_SIDE = 32

_FORMATS = ("JPEG", "PNG", "WEBP")
# What Pillow's readers raise on damaged files, beside OSError.
_DAMAGE = (
    OSError, SyntaxError, ValueError, TypeError, IndexError, KeyError, AttributeError, EOFError, OverflowError,
    struct.error, zlib.error,
)  # fmt: skip
_OTHER_KINDS = (
    (b"GIF8", "a GIF"),
    (b"BM", "a BMP"),
    (b"II*\0", "a TIFF"),
    (b"MM\0*", "a TIFF"),
    (b"%PDF", "a PDF"),
    (b"<svg", "an SVG"),
    (b"8BPS", "a Photoshop file"),
)


@dataclass(frozen=True)
class Photo:
    """
    A decoded picture.

    :param rgb: upright pixels, uint8 H x W x 3
    :param alpha: opacity, uint8 H x W, or ``None`` if the picture has none
    :param grey: the picture has no colour channels
    :param format: ``JPEG``, ``PNG`` or ``WEBP``
    :param save: what the encoder must know to write a file like this one (tables, colour profile, resolution)
    """

    rgb: np.ndarray
    alpha: np.ndarray | None
    grey: bool
    format: str
    save: dict[str, Any] = field(default_factory=dict)

    def flat(self, part: tuple[slice, slice] = (slice(None), slice(None))) -> np.ndarray:
        """Return the pixels over a mid-grey background, so that fully transparent pixels do not show."""
        rgb = self.rgb[part]
        if self.alpha is None:
            return rgb
        opacity = self.alpha[part][:, :, None].astype(np.uint16)
        mixed = (rgb * opacity + 128 * (255 - opacity) + 127) // 255
        return mixed.astype(np.uint8)


def decode(data: bytes, picture: Picture) -> Photo:
    """
    Decode a picture.

    :param data: the file's bytes
    :param picture: the field name of the picture, for messages
    :raises EngineError: ``empty_image``, ``not_an_image``, ``unsupported_format``, ``truncated_image``,
        ``broken_image``, ``image_too_large`` (bytes), ``image_too_small``, ``decompression_bomb`` (pixels)
    """
    if not data:
        raise EngineError("empty_image", picture, f"{picture} is empty: it has 0 bytes.")
    if len(data) > MAX_BYTES:
        raise EngineError(
            "image_too_large",
            picture,
            f"{picture} has {len(data) / 1024 / 1024:.1f} MB; the limit is {MAX_BYTES // 1024 // 1024} MB; "
            "send a smaller file.",
        )
    image = _open(data, picture)
    _check_size(image, picture)
    try:
        save = _save_options(image)
        image.load()
        return _photo(image, save)
    except MemoryError as error:
        raise EngineError("decompression_bomb", picture, f"{picture} does not fit into memory.") from error
    except _DAMAGE as error:
        code = "truncated_image" if "truncated" in str(error).lower() else "broken_image"
        what = "ends too early" if code == "truncated_image" else "is damaged"
        raise EngineError(
            code, picture, f"{picture} {what} and cannot be read: {error}. Upload it again."
        ) from error


def _open(data: bytes, picture: Picture) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError as error:
        raise _unknown_kind(data, picture) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _bomb(picture, "far too many") from error
    except _DAMAGE as error:
        raise EngineError(
            "broken_image", picture, f"{picture} is damaged and cannot be read: {error}."
        ) from error


def _unknown_kind(data: bytes, picture: Picture) -> EngineError:
    start = data[:512].lstrip()
    for magic, kind in _OTHER_KINDS:
        if start.startswith(magic):
            return EngineError(
                "unsupported_format", picture, f"{picture} is {kind}; send a JPEG, PNG or WebP."
            )
    if data[4:8] == b"ftyp":
        return EngineError(
            "unsupported_format",
            picture,
            f"{picture} is a HEIC, AVIF or video file; send a JPEG, PNG or WebP.",
        )
    if data[:2] == b"\xff\xd8" or data[:8] == b"\x89PNG\r\n\x1a\n" or data[:4] == b"RIFF":
        return EngineError("broken_image", picture, f"{picture} starts like a picture but cannot be read.")
    if start[:1] == b"<":
        return EngineError("not_an_image", picture, f"{picture} is a web page or XML, not a picture.")
    return EngineError("not_an_image", picture, f"{picture} is not a picture; send a JPEG, PNG or WebP.")


def _check_size(image: Image.Image, picture: Picture) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise _bomb(picture, f"{width} x {height}")
    if min(width, height) < MIN_SIDE:
        raise EngineError(
            "image_too_small",
            picture,
            f"{picture} has {width} x {height} pixels; each side needs at least {MIN_SIDE}.",
        )


def _bomb(picture: Picture, size: str) -> EngineError:
    return EngineError(
        "decompression_bomb",
        picture,
        f"{picture} unpacks to {size} pixels; the limit is {MAX_PIXELS // 1_000_000} million; send a smaller one.",
    )


def _save_options(image: Image.Image) -> dict[str, Any]:
    """Return the encoder options that preserve the reference's format. No EXIF, which may contain place and time."""
    options: dict[str, Any] = {}
    if image.info.get("icc_profile") and image.mode != "CMYK":
        options["icc_profile"] = image.info["icc_profile"]
    if image.info.get("dpi"):
        options["dpi"] = image.info["dpi"]
    if isinstance(image, JpegImagePlugin.JpegImageFile) and image.mode in {"RGB", "L"}:
        # With the same tables on the same 8 x 8 grid, blocks outside the face do not lose quality again.
        options["qtables"] = {number: list(table) for number, table in image.quantization.items()}
        sampling = JpegImagePlugin.get_sampling(image)
        if sampling >= 0:
            options["subsampling"] = sampling
    return options


def _photo(image: Image.Image, save: dict[str, Any]) -> Photo:
    kind = "JPEG" if image.format in {"JPEG", "MPO"} else str(image.format)
    ImageOps.exif_transpose(image, in_place=True)
    image = _eight_bit(image)
    grey = image.mode in {"L", "LA"}
    alpha: np.ndarray | None = None
    if image.mode in {"LA", "RGBA"}:
        alpha = np.array(image.getchannel("A"))
    rgb = np.array(image.convert("RGB") if image.mode != "RGB" else image)
    return Photo(rgb=rgb, alpha=alpha, grey=grey, format=kind, save=save)


def _eight_bit(image: Image.Image) -> Image.Image:
    """Return the picture as L, LA, RGB or RGBA with 8 bits a channel."""
    if image.mode.startswith("I"):
        values = np.asarray(image)
        return Image.fromarray((np.clip(values, 0, 65535).astype(np.uint16) >> 8).astype(np.uint8))
    if image.mode == "CMYK":
        return _from_cmyk(image)
    if image.mode == "1":
        return image.convert("L")
    if image.mode in {"L", "LA", "RGB", "RGBA"}:
        if "transparency" in image.info:
            return image.convert("LA" if image.mode == "L" else "RGBA")
        return image
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _from_cmyk(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    if profile:
        try:
            ink = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            screen = ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(image, ink, screen, outputMode="RGB")
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            pass  # a profile that does not work is as good as none
    return image.convert("RGB")
