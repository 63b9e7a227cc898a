# SPDX-License-Identifier: Apache-2.0
"""
Judge a kept picture by its reference: whether it is blank, another picture, blurred, or unchanged.

Nothing here recognizes a face or a person. A swap changes one area of the reference, and leaves the rest of it nearly
as it was: that is what is measured, on small copies of both pictures. All thresholds are relative to the reference.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..quality_codes import Quality
from .thumbnail import THUMBNAIL, description_of, encoded, flattened, shrunk

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

#: Edge of the copy on which sharpness is measured, pixels.
EDGE = 512
#: Cells of the grid on which two pictures are compared, in each direction. A face that is large enough to be replaced
#: covers several of them.
CELLS = 64
#: Cells in each direction of the area whose mean difference is compared with the rest of the picture.
AREA = 5
#: Standard deviation, of 255, below which a picture is blank.
BLANK = 2.0
#: Correlation with the reference below which it is another picture.
SIMILAR = 0.8
#: Share of the reference's sharpness below which it is blurred.
SHARP = 0.1
#: How much more than the rest of the picture its most changed area has changed, at least. Below a difference of
#: :data:`NOISE`, of 255, the rest counts as this much: that is what encoding a picture once more leaves.
CHANGED, NOISE = 3.0, 1.0
#: Cells by which a picture that was made smaller may be shifted: what that explains is no change.
SHIFT = 0.1
#: Difference of the rest of the picture, of 255, above which it is another picture.
RESTLESS = 10.0
#: Difference of the two shapes, width by height, above which it is another picture.
SHAPE = 0.05
#: Highest score: what is far from every threshold is not told apart.
MOST_SCORE = 10.0


@dataclass(frozen=True, slots=True)
class Appearance:
    """
    What of a picture is compared: small enough to keep that of many.

    :param width: pixels of the copy that it was taken from
    :param height: likewise
    :param sharpness: variance of the Laplacian on a copy of at most :data:`EDGE` pixels
    :param contrast: standard deviation of the brightness
    :param cells: mean colours, :data:`CELLS` x :data:`CELLS` x 3
    :param solid: which cells are not transparent; ``None`` if none is. What is behind the others is up to the encoder
    """

    width: int
    height: int
    sharpness: float
    contrast: float
    cells: np.ndarray[Any, np.dtype[np.uint8]]
    solid: np.ndarray[Any, np.dtype[np.bool_]] | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    What the look at a kept picture has found.

    :param score: the smallest of the measurements, each as a multiple of its threshold: suspicious below 1; ``None``
        if nothing could be measured
    :param figures: the measurements
    """

    quality: Quality
    score: float | None = None
    figures: dict[str, Any] = field(default_factory=dict)


def look_at(data: bytes) -> tuple[Appearance, bytes]:
    """
    Return the appearance of a picture, and its thumbnail, which carries what :func:`appearance_in` needs.

    :raises Exception: as :func:`.thumbnail.shrunk`
    """
    picture = shrunk(data, EDGE)
    flat = flattened(picture)
    sharpness, contrast = _sharpness(flat), _contrast(flat)
    small = picture
    if max(picture.size) > THUMBNAIL:
        small = picture.copy()
        small.thumbnail((THUMBNAIL, THUMBNAIL))
    facts = {"sharpness": round(sharpness, 2), "contrast": round(contrast, 2)}
    return _appearance(small, sharpness, contrast), encoded(small, json.dumps(facts))


def appearance_in(thumbnail: bytes) -> Appearance:
    """
    Return the appearance of the picture that a thumbnail of :func:`look_at` was made of.

    :raises Exception: it is no such thumbnail
    """
    import io

    from PIL import Image

    with Image.open(io.BytesIO(thumbnail), formats=["WEBP"]) as opened:
        facts = json.loads(description_of(opened))
        return _appearance(opened, float(facts["sharpness"]), float(facts["contrast"]))


def judge(result: Appearance, reference: Appearance | None) -> Verdict:
    """
    Return what a result is, compared with its reference.

    :param reference: ``None`` if there is none to compare it with: then only a blank picture is recognized
    """
    if reference is None:
        blank = result.contrast < BLANK
        quality = Quality.BLANK if blank else Quality.UNCHECKED
        score = round(result.contrast / BLANK, 3) if blank else None
        return Verdict(quality, score, {"contrast": round(result.contrast, 2)})
    measured = _compared(result, reference)
    figures = {name: round(value, 3) for name, value in measured.items()}
    floor = min(BLANK, reference.contrast)
    # In this order: what is blank is also blurred, and what is another picture has changed everywhere.
    scores = {
        Quality.BLANK: result.contrast / floor if floor else 1.0,
        Quality.OTHER_PICTURE: min(
            measured["similarity"] / SIMILAR,
            SHAPE / max(measured["shape"], SHAPE / MOST_SCORE),
            RESTLESS / max(measured["rest"], NOISE),
        ),
        Quality.BLURRED: measured["sharpness"] / SHARP,
        Quality.UNCHANGED: measured["changed"] / max(measured["rest"], NOISE) / CHANGED,
    }
    quality = next((code for code, score in scores.items() if score < 1), Quality.OK)
    score = scores[quality] if quality in scores else min(scores.values())
    return Verdict(quality, round(min(max(score, 0.0), MOST_SCORE), 3), figures)


def _compared(result: Appearance, reference: Appearance) -> dict[str, float]:
    """Return the measurements of a result beside its reference."""
    import numpy as np

    ours, theirs = result.cells.astype(np.float32), reference.cells.astype(np.float32)
    if (solid := _solid(result, reference)) is not None:
        # What is transparent in one of them is the same in both.
        ours[~solid] = theirs[~solid]
    difference = np.abs(ours - theirs).mean(axis=2)
    shapes = (result.width / result.height, reference.width / reference.height)
    return {
        "contrast": result.contrast,
        "shape": max(shapes) / min(shapes) - 1,
        "similarity": _correlation(ours.mean(axis=2), theirs.mean(axis=2)),
        "sharpness": result.sharpness / reference.sharpness if reference.sharpness > 0 else 1.0,
        "changed": float(_means_of_areas(np.maximum(difference - SHIFT * _slope(theirs), 0)).max()),
        "rest": float(np.median(difference if solid is None else difference[solid])),
    }


def _solid(result: Appearance, reference: Appearance) -> np.ndarray[Any, Any] | None:
    """Return which cells of two pictures can be compared, ``None`` if all can, or none."""
    masks = [look.solid for look in (result, reference) if look.solid is not None]
    if not masks:
        return None
    solid = masks[0] & masks[-1]
    return solid if solid.any() else None


def _correlation(ours: np.ndarray[Any, Any], theirs: np.ndarray[Any, Any]) -> float:
    """Return how alike two pictures are, from -1 to 1, whatever their brightness and contrast."""
    import numpy as np

    ours, theirs = ours - ours.mean(), theirs - theirs.mean()
    size = float(np.sqrt((ours**2).sum() * (theirs**2).sum()))
    # Two pictures of one colour each are alike.
    return float((ours * theirs).sum()) / size if size > 0 else 1.0


def _slope(cells: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return by how much the brightness changes from one cell to the next."""
    import numpy as np

    down, across = np.gradient(cells.mean(axis=2))
    slope: np.ndarray[Any, Any] = np.hypot(down, across)
    return slope


def _means_of_areas(cells: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the mean of each square of :data:`AREA` cells."""
    import numpy as np

    sums = np.pad(cells, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    whole: np.ndarray[Any, Any] = (
        sums[AREA:, AREA:] - sums[:-AREA, AREA:] - sums[AREA:, :-AREA] + sums[:-AREA, :-AREA]
    )
    return whole / AREA**2


def _appearance(small: Image, sharpness: float, contrast: float) -> Appearance:
    import numpy as np
    from PIL.Image import Resampling

    def cells(picture: Image) -> np.ndarray[Any, Any]:
        # Not BOX, which leaves out pixels where the sizes do not divide.
        return np.asarray(picture.resize((CELLS, CELLS), Resampling.BILINEAR), dtype=np.uint8)

    solid = cells(small.getchannel("A")) == 255 if small.mode == "RGBA" else None
    return Appearance(
        small.width,
        small.height,
        sharpness,
        contrast,
        cells(flattened(small if small.mode == "RGBA" else small.convert("RGB"))),
        solid,
    )


def _sharpness(picture: Image) -> float:
    import numpy as np

    grey = np.asarray(picture.convert("L"), dtype=np.float32)
    if min(grey.shape) < 3:
        return 0.0
    inner = grey[1:-1, 1:-1]
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * inner
    return float(laplacian.var())


def _contrast(picture: Image) -> float:
    import numpy as np

    return float(np.asarray(picture.convert("L"), dtype=np.float32).std())
