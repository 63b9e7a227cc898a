# SPDX-License-Identifier: Apache-2.0
"""
Make a picture fit for GoEnhance: at most 5,000,000 bytes, in a format that every decoder reads.

GoEnhance says "Max 5M" and names no formats. A picture that is fit stays byte for byte as it is.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ..error_codes import ErrorCode
from ..pictures.decode_budget import BUDGET, MOST_BYTES, bytes_to_decode
from ..pictures.kinds import HEAD, describe_content, kind_of_bytes
from ..pictures.verify import PILLOW_FORMATS

if TYPE_CHECKING:
    from ..pictures.kinds import PictureKind

PictureRole = Literal["source", "reference"]
#: Which pictures are shrunk.
Shrink = Literal["source", "all", "never"]

#: The largest picture that GoEnhance takes.
MAX_INPUT_BYTES = 5_000_000
#: The largest picture that is read to be shrunk.
MAX_READ_BYTES = 96 * 2**20
#: The longer side of a picture that had to be shrunk. Of a source image only the face matters; the result has the size
#: of the reference image.
LONGEST_SIDE: dict[PictureRole, int] = {"source": 2048, "reference": 4096}

#: Sent as they are.
_SENT_AS_IS = frozenset({"jpeg", "png", "webp"})
_QUALITIES = (92, 88, 82)
#: By how much the sides shrink where the lowest quality is still too large.
_STEP = 0.8
#: A JPEG profile larger than one segment is replaced by sRGB.
_LARGEST_PROFILE = 60_000
_SMALLEST_SIDE = 32
#: Formats that Pillow reads with a package of its own: the package, and the name that it registers.
_PLUGINS: dict[PictureKind, tuple[str, str, str]] = {
    "heic": ("pillow_heif", "pillow-heif", "HEIF"),
    "jxl": ("pillow_jxl", "pillow-jxl-plugin", "JXL"),
}


class UnfitPictureError(ValueError):
    """
    A picture is not fit for GoEnhance, and could not be made so. The message is a clause about "it".

    :param code: the cause
    """

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class FitPicture:
    """
    A picture that was made fit.

    :param data: a JPEG file
    :param width: pixels
    :param height: pixels
    :param note: what was done, for the row
    """

    data: bytes
    width: int
    height: int
    note: str


def may_shrink(role: PictureRole, shrink: Shrink) -> bool:
    """Return whether a picture in this role may be shrunk."""
    return shrink == "all" or (shrink == "source" and role == "source")


def fit_picture(data: bytes, role: PictureRole, shrink: Shrink = "source") -> FitPicture | None:
    """
    Return a picture that GoEnhance takes; ``None`` if this one is fit as it is.

    Orientation is applied; a colour profile is kept, or converted to sRGB; nothing is ever enlarged. The metadata is
    left out: GoEnhance has no use for the place where a picture was taken.

    :param data: the file
    :param role: what the picture is in its pair
    :param shrink: which pictures may be made smaller. A format is converted in any case
    :raises UnfitPictureError: ``input_not_an_image``, ``input_no_decoder``, ``input_unreadable`` or
        ``input_too_large``
    """
    kind = kind_of_bytes(data[:HEAD])
    if kind is None:
        raise UnfitPictureError(
            ErrorCode.INPUT_NOT_AN_IMAGE, f"it is not a picture of a known format: {describe_content(data)}"
        )
    too_large = len(data) > MAX_INPUT_BYTES
    if too_large and not may_shrink(role, shrink):
        raise UnfitPictureError(
            ErrorCode.INPUT_TOO_LARGE,
            f"it has {len(data):,} bytes, and GoEnhance takes at most {MAX_INPUT_BYTES:,}; shrink is {shrink!r}",
        )
    if kind in _SENT_AS_IS and not too_large and not _is_odd(data, kind):
        return None
    from PIL import Image

    failure: UnfitPictureError
    try:
        return _made_fit(data, kind, role, too_large=too_large)
    except UnfitPictureError:
        raise
    except Image.DecompressionBombError:
        failure = UnfitPictureError(ErrorCode.INPUT_TOO_LARGE, "it has too many pixels to be decoded here")
    except Exception:  # noqa: BLE001  Pillow's plug-ins raise almost anything about a damaged file
        failure = UnfitPictureError(
            ErrorCode.INPUT_UNREADABLE, f"it is a damaged {kind.upper()} file that cannot be decoded"
        )
    raise failure


def _is_odd(data: bytes, kind: PictureKind) -> bool:
    """Return whether not every decoder reads it: CMYK, a palette, or 16 bits a channel. Reads its header only."""
    from PIL import Image

    if kind == "png":
        # IHDR: bits a channel, and the type of colours, of which 3 is a palette.
        return data[24:25] == b"\x10" or data[25:26] == b"\x03"
    if kind == "webp":
        return False
    try:
        with Image.open(io.BytesIO(data), formats=[PILLOW_FORMATS[kind]]) as picture:
            return picture.mode not in {"RGB", "L"}
    except Exception:  # noqa: BLE001  that is for GoEnhance to say
        return False


def _made_fit(data: bytes, kind: PictureKind, role: PictureRole, *, too_large: bool) -> FitPicture:
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=[decoder_of(kind)]) as picture:
        size, mode = picture.size, picture.mode
        longest = LONGEST_SIDE[role] if too_large else max(size)
        picture.draft(None, _within(size, longest))
        needed = _bytes_needed(picture, kind, size)
        if needed > MOST_BYTES:
            raise UnfitPictureError(
                ErrorCode.INPUT_TOO_LARGE, f"it has {size[0]} x {size[1]} pixels, too many to shrink here"
            )
        frames = int(getattr(picture, "n_frames", 1)) if kind != "jpeg" else 1
        with BUDGET.of(needed):
            pixels = upright(picture, longest)
            made, fitted, quality = _encoded(pixels, pixels.info.get("icc_profile"))
    what = _what_was_done(kind, mode, frames, too_large=too_large)
    return FitPicture(
        made,
        *fitted,
        f"{what}: {len(data):,} bytes, {size[0]} x {size[1]} became {len(made):,} bytes, "
        f"{fitted[0]} x {fitted[1]}, JPEG quality {quality}",
    )


def decoder_of(kind: PictureKind) -> str:
    """
    Return Pillow's name of a format, with its decoder loaded.

    :raises UnfitPictureError: ``input_no_decoder``
    """
    import importlib

    from PIL import Image

    Image.init()
    name = PILLOW_FORMATS.get(kind)
    advice = "convert it to JPEG"
    if kind in _PLUGINS:
        module, package, name = _PLUGINS[kind]
        advice = f"install {package}, or {advice}"
        try:
            plugin = importlib.import_module(module)
        except ImportError:
            name = None
        else:
            if kind == "heic":
                plugin.register_heif_opener()
    if name is None or name not in Image.OPEN:
        raise UnfitPictureError(
            ErrorCode.INPUT_NO_DECODER,
            f"it is a {kind.upper()} file, and there is no decoder for it: {advice}",
        )
    return name


def _within(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """Return a size of the same proportions whose longer side is at most this long."""
    scale = min(1.0, longest / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _bytes_needed(picture: Any, kind: PictureKind, size: tuple[int, int]) -> int:
    scale = max(1, size[0] // max(1, picture.width))
    return bytes_to_decode(kind, *size, scale=scale, progressive=bool(picture.info.get("progressive")))


def upright(picture: Any, longest: int) -> Any:
    """Return the pixels of an opened picture as RGB or L, upright, and no larger than allowed."""
    from PIL import ImageOps

    workable = _workable(picture)
    # Shrunk before it is turned or converted, which would hold a second copy of its full size.
    workable.thumbnail((longest, longest), reducing_gap=2.0)
    return _flat(ImageOps.exif_transpose(workable))


def _workable(picture: Any) -> Any:
    """Return a picture in a mode that can be resized: the picture itself in most cases."""
    if picture.mode in {"RGB", "L", "CMYK", "RGBA", "LA"}:
        return picture
    if picture.mode.startswith("I"):
        # 16 bits a channel, which Pillow would clip and not scale.
        return picture.convert("I").point(lambda value: value / 256).convert("L")
    if picture.mode == "1":
        return picture.convert("L")
    return picture.convert("RGBA" if picture.has_transparency_data else "RGB")


def _flat(picture: Any) -> Any:
    """Return a picture as RGB or L; what is transparent becomes white."""
    from PIL import Image

    if picture.has_transparency_data:
        layered = picture.convert("RGBA")
        flat = Image.new("RGB", layered.size, "white")
        flat.paste(layered, mask=layered.getchannel("A"))
        flat.info = dict(picture.info)
        picture = flat
    large_profile = len(picture.info.get("icc_profile") or b"") > _LARGEST_PROFILE
    return _in_srgb(picture) if picture.mode == "CMYK" or large_profile else picture


def _in_srgb(picture: Any) -> Any:
    """Return a picture in sRGB, by its own profile if that can be used."""
    from PIL import ImageCms

    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(picture.info.get("icc_profile") or b""))
        converted = ImageCms.profileToProfile(picture, own, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        converted = None
    if converted is None:
        converted = picture.convert("RGB")
        # It does not describe these pixels.
        converted.info.pop("icc_profile", None)
    return converted


def _encoded(picture: Any, profile: bytes | None) -> tuple[bytes, tuple[int, int], int]:
    """Return a JPEG that is small enough, its size and its quality: first by lower quality, then by fewer pixels."""
    from PIL import Image

    for quality in _QUALITIES:
        data = _jpeg(picture, quality, profile)
        if len(data) <= MAX_INPUT_BYTES:
            return data, picture.size, quality
    while min(picture.size) * _STEP >= _SMALLEST_SIDE:
        smaller = round(picture.width * _STEP), round(picture.height * _STEP)
        picture = picture.resize(smaller, Image.Resampling.LANCZOS)
        data = _jpeg(picture, _QUALITIES[-1], profile)
        if len(data) <= MAX_INPUT_BYTES:
            return data, picture.size, _QUALITIES[-1]
    raise UnfitPictureError(ErrorCode.INPUT_TOO_LARGE, f"it could not be shrunk to {MAX_INPUT_BYTES:,} bytes")


def _jpeg(picture: Any, quality: int, profile: bytes | None) -> bytes:
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality, icc_profile=profile, exif=b"")
    return out.getvalue()


def _what_was_done(kind: PictureKind, mode: str, frames: int, *, too_large: bool) -> str:
    of = {"CMYK": " CMYK", "P": " palette", "PA": " palette"}.get(mode, "")
    converted = f"converted from{of} {kind.upper()}" + (f", first of {frames} frames" if frames > 1 else "")
    if not too_large:
        return converted
    return "shrunk" if kind == "jpeg" and not of else f"shrunk and {converted}"
