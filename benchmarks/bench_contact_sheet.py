# SPDX-License-Identifier: Apache-2.0
"""
Peak memory of a contact sheet with eight rows: ours beside thumbnails by plain Pillow, eight at the same time.

Each measurement runs in a process of its own, so that its peak memory is its own.
``python benchmarks/bench_contact_sheet.py [--json FILE]``
"""

from __future__ import annotations

import argparse
import asyncio
import http.server
import io
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "plugins"))

WAYS = ("ours", "pillow")
ROWS = 8
# name -> format, edge lengths, options of the encoder
PICTURES = {
    "jpeg_79mp": ("JPEG", (9000, 8800), {}),
    "jpeg_24mp": ("JPEG", (6000, 4000), {}),
    "png_79mp": ("PNG", (9000, 8800), {"compress_level": 1}),
    "png_24mp": ("PNG", (6000, 4000), {"compress_level": 1}),
    "webp_12mp": ("WEBP", (4000, 3000), {"quality": 50, "method": 0}),
    "png_16mp": ("PNG", (4000, 4000), {"compress_level": 1}),
    "png_4mp": ("PNG", (2048, 2048), {"compress_level": 1}),
}


def draw(folder: Path) -> None:
    from PIL import Image

    slope = Image.linear_gradient("L")
    Image.new("RGB", (64, 64)).save(folder / "small", "PNG")
    for name, (kind, size, options) in PICTURES.items():
        bands = [slope.resize(size), slope.rotate(90).resize(size), slope.rotate(180).resize(size)]
        Image.merge("RGB", bands).save(folder / name, kind, **options)


def thumbnail_by_pillow(data: bytes) -> bytes:
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(data)) as picture:
        upright = ImageOps.exif_transpose(picture)
        upright.thumbnail((176, 176))
        out = io.BytesIO()
        upright.convert("RGB").save(out, "JPEG")
    return out.getvalue()


def sheet_by_pillow(urls: list[str], result: Path) -> int:
    def one(url: str) -> bytes:
        with urllib.request.urlopen(url) as response:
            return thumbnail_by_pillow(response.read())

    with ThreadPoolExecutor(ROWS) as pool:
        made = list(pool.map(one, urls))
    return len(made) + len([thumbnail_by_pillow(result.read_bytes()) for _ in range(ROWS)])


def sheet_by_us(urls: list[str], result: Path) -> int:
    from airflow_provider_goenhance.pictures.contact_sheet import SheetRow, fetch_inputs, make_contact_sheet

    rows = [
        SheetRow(str(number), "succeeded", True, urls[number], urls[-1 - number], result.as_uri())
        for number in range(ROWS)
    ]
    inputs = asyncio.run(fetch_inputs(rows, seconds=600))
    return make_contact_sheet("bench", {}, rows, inputs).count(b"<img")


def measure(way: str, folder: str, name: str) -> None:
    """Print the growth of the peak memory, the time, and how many thumbnails were made."""
    work = sheet_by_us if way == "ours" else sheet_by_pillow
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}"
        work([f"{base}/small?{n}" for n in range(2 * ROWS)], Path(folder, "small"))  # loads the libraries
        before, start = _peak_mb(), time.perf_counter()
        made = work([f"{base}/{name}?{n}" for n in range(2 * ROWS)], Path(folder, name))
        seconds = round(time.perf_counter() - start, 2)
        print(json.dumps({"peak_mb": round(_peak_mb() - before), "seconds": seconds, "thumbnails": made}))
        server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Log nothing."""


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--draw", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.draw:
        draw(asked.draw)
        return
    if asked.measure:
        measure(*asked.measure)
        return
    figures: dict[str, dict[str, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        # Not here: a process counts the peak of the one that it was forked from.
        subprocess.run([sys.executable, __file__, "--draw", folder], check=True)
        print(f"{ROWS} rows         way     peak MB  seconds  thumbnails")
        for name in PICTURES:
            for way in WAYS:
                command = [sys.executable, __file__, "--measure", way, folder, name]
                out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                found = json.loads(out.splitlines()[-1])
                figures.setdefault(name, {})[way] = found
                print(
                    f"{name:<14} {way:<7} {found['peak_mb']:>7} {found['seconds']:>8} {found['thumbnails']:>6}"
                )
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
