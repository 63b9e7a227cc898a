# SPDX-License-Identifier: Apache-2.0
"""
The check of kept pictures, on all swaps of the sample manifest by the sandbox's engine, and on wrong results.

Each result is judged as it is, and replaced by its reference re-encoded at quality 75, re-encoded at 75 % of its size,
by black, by itself blurred, and by the result of another pair. Prints what each is found to be, the figures that
decide, and what a look costs. ``python benchmarks/bench_quality.py [--json FILE]``
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import resource
import statistics
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "plugins")]

from PIL import Image, ImageFilter, ImageOps

from airflow_provider_goenhance.pictures.quality import judge, look_at
from airflow_provider_goenhance.pictures.thumbnail import thumbnail_of
from include.sandbox.engine.engine import FaceSwapEngine
from include.sandbox.engine.errors import EngineError


def sample_swaps() -> dict[str, tuple[bytes, bytes]]:
    """Return reference and result of each pair of the sample manifest that the engine can swap."""
    engine = FaceSwapEngine()
    found = {}
    with (ROOT / "include/manifests/sample.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            source, reference = (
                (ROOT / "include/images" / row[name].rpartition("/")[2]).read_bytes()
                for name in ("source_img", "reference_img")
            )
            try:
                found[row["pair_id"]] = (reference, engine.swap(source, reference).data)
            except EngineError as error:
                print(f"  {row['pair_id']}: no swap ({error.code})")
    return found


def encoded(picture: Image.Image, kind: str = "JPEG", quality: int = 92) -> bytes:
    out = io.BytesIO()
    picture.convert("RGB").save(out, kind, quality=quality)
    return out.getvalue()


def wrong_results(reference: bytes, result: bytes) -> dict[str, tuple[str, bytes]]:
    """Return what a result is replaced by: name -> what it must be found to be, and the picture."""
    with Image.open(io.BytesIO(reference)) as opened:
        scene = ImageOps.exif_transpose(opened).convert("RGB")
    with Image.open(io.BytesIO(result)) as opened:
        swap = ImageOps.exif_transpose(opened).convert("RGB")
    smaller = scene.resize((scene.width * 3 // 4, scene.height * 3 // 4))
    return {
        "reference as it is": ("unchanged", reference),
        "reference, q75": ("unchanged", encoded(scene, quality=75)),
        "reference, 75 % size, q70": ("unchanged", encoded(smaller, quality=70)),
        "reference, 75 % and back": ("unchanged", encoded(smaller.resize(scene.size), quality=75)),
        "reference, WebP q60": ("unchanged", encoded(scene, "WEBP", 60)),
        "black": ("blank", encoded(Image.new("RGB", swap.size))),
        "blurred by 4": ("blurred", encoded(swap.filter(ImageFilter.GaussianBlur(4)))),
    }


def cost(pictures: list[bytes]) -> dict[str, float]:
    """Return milliseconds for a look, for a thumbnail alone, and for a comparison."""

    def ms(work: Any, some: list[Any]) -> float:
        took = []
        for one in some:
            started = time.perf_counter()
            work(one)
            took.append(time.perf_counter() - started)
        return round(statistics.median(took) * 1000, 2)

    looks = [look_at(data)[0] for data in pictures]
    return {
        "look_ms": ms(look_at, pictures),
        "thumbnail_ms": ms(thumbnail_of, pictures),
        "judge_ms": ms(lambda look: judge(look, look), looks),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    swaps = sample_swaps()
    cases: list[tuple[str, str, str, Any]] = []
    looks = {pair: (look_at(reference)[0], look_at(result)[0]) for pair, (reference, result) in swaps.items()}
    for pair, (reference, result) in swaps.items():
        scene, swap = looks[pair]
        cases.append((pair, "swap", "ok", judge(swap, scene)))
        for name, (expected, data) in wrong_results(reference, result).items():
            cases.append((pair, name, expected, judge(look_at(data)[0], scene)))
        for other, (_, another) in looks.items():
            if swaps[other][0] != reference:
                cases.append((pair, f"result of {other}", "other_picture", judge(another, scene)))
    wrong = [case for case in cases if case[3].quality != case[2]]
    kinds: dict[str, list[Any]] = {}
    for _, name, _, verdict in cases:
        kind = "result of another pair" if name.startswith("result of") else name
        kinds.setdefault(kind, []).append(verdict)
    for kind, verdicts in kinds.items():
        ratios = [
            v.figures["changed"] / max(v.figures["rest"], 1.0) for v in verdicts if "changed" in v.figures
        ]
        alike = [v.figures["similarity"] for v in verdicts if "similarity" in v.figures]
        sharp = [v.figures["sharpness"] for v in verdicts if "sharpness" in v.figures]
        print(
            f"{kind:28} {dict(Counter(str(v.quality) for v in verdicts))} "
            f"changed/rest {min(ratios):.2f}-{max(ratios):.2f}"
            f" similarity {min(alike):.3f}-{max(alike):.3f} sharpness {min(sharp):.3f}-{max(sharp):.3f}"
        )
    for pair, name, expected, verdict in wrong:
        print(f"  WRONG {pair}, {name}: {verdict.quality}, not {expected}: {verdict.figures}")
    costs = cost([result for _, result in swaps.values()])
    peak = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    print(
        f"{len(swaps)} swaps, {len(cases)} judgements, {len(wrong)} wrong; {costs}; peak {peak} MiB, engine included"
    )
    if options.json:
        figures = {"swaps": len(swaps), "judgements": len(cases), "wrong": len(wrong), **costs}
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
