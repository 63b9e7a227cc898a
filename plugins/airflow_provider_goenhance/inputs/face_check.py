# SPDX-License-Identifier: Apache-2.0
"""Look for faces in the file of a picture, in bounded memory."""

from __future__ import annotations

import importlib.util
import io
from typing import TYPE_CHECKING, Any

from ..pictures.decode_budget import BUDGET, MOST_BYTES, bytes_to_decode
from ..pictures.kinds import HEAD, kind_of_bytes
from .shrink import decoder_of, upright

if TYPE_CHECKING:
    from ..detection.faces import Faces

#: The longer side at which a picture is searched.
SEARCHED_SIDE = 1280


def is_available() -> bool:
    """Return whether what the face check needs is installed."""
    return all(importlib.util.find_spec(name) is not None for name in ("cv2", "numpy"))


def faces_in(data: bytes) -> Faces | None:
    """
    Return the faces of a picture; ``None`` if it cannot be decoded here, which says nothing about faces.

    :param data: the file
    """
    from ..detection.faces import find_faces

    try:
        pixels = _pixels(data)
    except Exception:  # noqa: BLE001  Pillow's plug-ins raise almost anything about a damaged file
        return None
    return None if pixels is None else find_faces(pixels)


def _pixels(data: bytes) -> Any:
    """Return upright pixels, uint8 H x W x 3, no larger than they are searched; ``None`` if there are too many."""
    import numpy as np
    from PIL import Image

    kind = kind_of_bytes(data[:HEAD])
    if kind is None:
        return None
    with Image.open(io.BytesIO(data), formats=[decoder_of(kind)]) as picture:
        size = picture.size
        picture.draft(None, (SEARCHED_SIDE, SEARCHED_SIDE))
        scale = max(1, size[0] // max(1, picture.width))
        progressive = bool(picture.info.get("progressive"))
        needed = bytes_to_decode(kind, *size, scale=scale, progressive=progressive)
        if needed > MOST_BYTES:
            return None
        with BUDGET.of(needed):
            return np.asarray(upright(picture, SEARCHED_SIDE).convert("RGB"))
