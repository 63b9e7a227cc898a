# SPDX-License-Identifier: Apache-2.0
"""
Measures the sandbox's face swap engine: time and memory by size of the reference image, and what two processes do.

Every line of the table is measured in a fresh process with one OpenCV thread. Memory is the process's own high-water
mark (VmHWM), so Linux only. Run: python benchmarks/bench_engine.py [--json FILE] [--seconds N]
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "include" / "images"
# name, source, reference, width x height the reference is enlarged to (None: as it is), swaps to time
CASES = (
    ("512 px", "collins.jpg", "hopper.jpg", None, 25),
    ("2 MP", "collins_closeup.jpg", "hopper.jpg", (1300, 1523), 9),
    ("12 MP", "collins_closeup.jpg", "hopper.jpg", (3200, 3750), 5),
)
LIMITS = {"512 px": (0.150, None), "2 MP": (None, 250), "12 MP": (1.5, None)}


def pair(source: str, reference: str, size: tuple[int, int] | None) -> tuple[bytes, bytes]:
    """The two files of a case."""
    from PIL import Image

    data = (IMAGES / reference).read_bytes()
    if size:
        out = io.BytesIO()
        Image.open(io.BytesIO(data)).resize(size, Image.Resampling.BICUBIC).save(out, "JPEG", quality=85)
        data = out.getvalue()
    return (IMAGES / source).read_bytes(), data


def peak_memory() -> float:
    """High-water mark of the memory of this process, in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise SystemExit("/proc/self/status has no VmHWM: this benchmark needs Linux")


def measure(source: Path, reference: Path, count: int) -> dict[str, float]:
    """In a fresh process: load the engine, swap once, then time more swaps."""
    began = time.perf_counter()
    from include.sandbox.engine import FaceSwapEngine

    engine = FaceSwapEngine(opencv_threads=1)
    loaded = time.perf_counter()
    files = source.read_bytes(), reference.read_bytes()
    engine.swap(*files)
    first = time.perf_counter() - loaded
    walls, cpus = [], []
    for _ in range(count):
        wall, cpu = time.perf_counter(), time.process_time()
        engine.swap(*files)
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return {
        "median_s": statistics.median(walls),
        "fastest_s": min(walls),
        "median_cpu_s": statistics.median(cpus),
        "load_s": loaded - began,
        "first_s": first,
        "peak_mib": peak_memory(),
    }


def work(source: Path, reference: Path, seconds: float) -> int:
    """In a worker process: say ready, wait for the start, count swaps until the time is over."""
    from include.sandbox.engine import FaceSwapEngine

    engine = FaceSwapEngine(opencv_threads=1)
    files = source.read_bytes(), reference.read_bytes()
    engine.swap(*files)
    print("ready", flush=True)
    sys.stdin.readline()
    swaps, until = 0, time.perf_counter() + seconds
    while time.perf_counter() < until:
        engine.swap(*files)
        swaps += 1
    return swaps


def run_self(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Start this file again in a fresh process."""
    return subprocess.Popen(
        [sys.executable, __file__, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        **options,
    )


def throughput(processes: int, source: Path, reference: Path, seconds: float) -> float:
    """Swaps a second of so many processes that start together."""
    workers = [run_self("--work", source, reference, seconds) for _ in range(processes)]
    for worker in workers:
        if worker.stdout is None or worker.stdout.readline() != "ready\n":
            raise SystemExit("a worker did not start")
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    return sum(int(worker.communicate()[0]) for worker in workers) / seconds


def report(seconds: float, folder: Path) -> dict[str, Any]:
    """Measure everything, one process after the other."""
    result: dict[str, Any] = {"machine": machine(), "sizes": {}}
    for name, source, reference, size, count in CASES:
        files = [folder / f"{name[:2].strip()}-{role}" for role in ("source", "reference")]
        for path, data in zip(files, pair(source, reference, size), strict=True):
            path.write_bytes(data)
        process = run_self("--measure", *files, count)
        result["sizes"][name] = json.loads(process.communicate()[0])
    files = [folder / "51-source", folder / "51-reference"]
    one, two = (throughput(count, *files, seconds) for count in (1, 2))
    result["throughput"] = {"one_process": one, "two_processes": two, "ratio": two / one}
    return result


def machine() -> dict[str, Any]:
    """What it was measured on."""
    import cv2
    import numpy as np

    return {
        "cores": os.cpu_count(),
        "load_1min": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "opencv": cv2.__version__,
        "numpy": np.__version__,
    }


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    print("  ".join(f"{key} {value}" for key, value in result["machine"].items()))
    print(f"{'reference':10}{'median':>9}{'fastest':>9}{'CPU':>9}{'first':>9}{'peak':>9}   limit")
    for name, row in result["sizes"].items():
        times = "".join(
            f"{row[key] * 1000:6.0f} ms" for key in ("median_s", "fastest_s", "median_cpu_s", "first_s")
        )
        seconds, memory = LIMITS[name]
        limit = f"{seconds * 1000:.0f} ms" if seconds else f"{memory} MiB"
        print(f"{name:10}{times}{row['peak_mib']:5.0f} MiB   {limit}")
    rate = result["throughput"]
    print(
        f"512 px pairs: 1 process {rate['one_process']:.1f}/s, 2 processes {rate['two_processes']:.1f}/s, "
        f"ratio {rate['ratio']:.2f}"
    )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1] if __doc__ else None)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each throughput run lasts")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        source, reference, count = given.measure
        print(json.dumps(measure(Path(source), Path(reference), int(count))))
    elif given.work:
        source, reference, seconds = given.work
        print(work(Path(source), Path(reference), float(seconds)))
    else:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            result = report(given.seconds, Path(folder))
        show(result)
        if given.json:
            given.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
