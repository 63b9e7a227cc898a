# SPDX-License-Identifier: Apache-2.0
"""
Shrink a camera's picture to what GoEnhance takes: milliseconds and peak memory a picture.

Each picture is shrunk in a process of its own, so that its peak memory is its own; the time is the median of several
runs in that process. The pictures have 24 million pixels: a JPEG of 7 MB, one of 10 MB with more grain, the first
one progressive, and a PNG.

``python benchmarks/bench_shrink.py [--runs 7] [--json FILE]``
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SIZE = (6000, 4000)
#: (name, Pillow's format, options, role)
PICTURES = (
    ("JPEG", "source"),
    ("JPEG of 10 MB", "source"),
    ("progressive JPEG", "source"),
    ("JPEG", "reference"),
    ("PNG", "source"),
)


def peak_mb() -> float:
    """Return the peak memory of this process alone: `ru_maxrss` begins with that of the process which started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def write_pictures(folder: Path) -> dict[str, Path]:
    """Write pictures as a camera does, with the detail that makes their files as large as its."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(1)
    coarse = Image.fromarray(random.integers(0, 256, (SIZE[1] // 16, SIZE[0] // 16, 3), dtype=np.uint8))
    base = np.asarray(coarse.resize(SIZE, Image.Resampling.BICUBIC)).astype(np.int16)
    fine = random.normal(0, 6, base.shape).astype(np.int16)
    picture = Image.fromarray(np.clip(base + fine, 0, 255).astype(np.uint8))
    paths = {name: folder / f"{name.replace(' ', '-')}.bin" for name in ("JPEG", "progressive JPEG", "PNG")}
    picture.save(paths["JPEG"], "JPEG", quality=90)
    grain = random.normal(0, 9, base.shape).astype(np.int16)
    grainy = Image.fromarray(np.clip(base + grain, 0, 255).astype(np.uint8))
    paths["JPEG of 10 MB"] = folder / "jpeg-10.bin"
    for quality in range(88, 98):
        grainy.save(paths["JPEG of 10 MB"], "JPEG", quality=quality)
        if paths["JPEG of 10 MB"].stat().st_size >= 10_000_000:
            break
    picture.save(paths["progressive JPEG"], "JPEG", quality=90, progressive=True)
    picture.save(paths["PNG"], "PNG", compress_level=1)
    return paths


def shrink_here(path: Path, role: str, runs: int) -> dict[str, object]:
    sys.path.insert(0, str(ROOT / "plugins"))
    from airflow_provider_goenhance.inputs.shrink import fit_picture

    data = path.read_bytes()
    before = peak_mb()
    times, processor = [], []
    for _ in range(runs):
        since, used = time.perf_counter(), time.process_time()
        fit = fit_picture(data, role, "all")  # type: ignore[arg-type]
        times.append((time.perf_counter() - since) * 1000)
        processor.append((time.process_time() - used) * 1000)
    assert fit is not None
    return {
        "milliseconds": round(statistics.median(times), 1),
        "slowest": round(max(times), 1),
        "processor": round(statistics.median(processor), 1),
        "peak_rss_mb": round(peak_mb(), 1),
        "rss_before_mb": round(before, 1),
        "bytes": len(data),
        "bytes_after": len(fit.data),
        "size_after": [fit.width, fit.height],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--measure", nargs=2, metavar=("FILE", "ROLE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(shrink_here(Path(options.measure[0]), options.measure[1], options.runs)))
        return
    found = []
    with tempfile.TemporaryDirectory() as folder:
        paths = write_pictures(Path(folder))
        for name, role in PICTURES:
            command = [
                sys.executable,
                __file__,
                "--runs",
                str(options.runs),
                "--measure",
                str(paths[name]),
                role,
            ]
            environment = {**os.environ, "PYTHONPATH": str(ROOT / "plugins")}
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
            found.append({"picture": name, "role": role, **json.loads(done.stdout.splitlines()[-1])})
    print(f"{'picture':<18}{'role':<11}{'MB':>6}{'ms':>8}{'slowest':>9}{'CPU ms':>8}{'peak MB':>9}  result")
    for one in found:
        width, height = one["size_after"]
        print(
            f"{one['picture']:<18}{one['role']:<11}{one['bytes'] / 1e6:>6.1f}{one['milliseconds']:>8.0f}"
            f"{one['slowest']:>9.0f}{one['processor']:>8.0f}{one['peak_rss_mb']:>9.0f}"
            f"  {one['bytes_after'] / 1e6:.1f} MB, {width} x {height}"
        )
    if options.json:
        options.json.write_text(json.dumps({"shrink": found}, indent=2))


if __name__ == "__main__":
    main()
