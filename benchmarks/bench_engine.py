# SPDX-License-Identifier: Apache-2.0
"""
Measure the face swap engine: time and memory by size of the reference image, and the speed-up of two processes.

Every line of the table is measured in a fresh process with one OpenCV thread. Memory is the process's own high-water
mark (VmHWM), so Linux only. Run: python benchmarks/bench_engine.py [--json FILE] [--seconds N]
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
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
#: Rounds of one process and of two, by turns.
ROUNDS = 5
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


def work(kind: str, source: Path, reference: Path, seconds: float) -> float:
    """In a worker process: report readiness, wait for the start, and return the rounds of work per second."""
    one_round = swaps_of(source, reference) if kind == "swap" else hashes
    one_round()
    print("ready", flush=True)
    sys.stdin.readline()
    rounds, began = 0, time.perf_counter()
    while time.perf_counter() < began + seconds:
        one_round()
        rounds += 1
    # Over the time that it really took: the last round may end well after the time is over.
    return rounds / (time.perf_counter() - began)


def swaps_of(source: Path, reference: Path) -> Callable[[], object]:
    """One round is one swap."""
    from include.sandbox.engine import FaceSwapEngine

    engine = FaceSwapEngine(opencv_threads=1)
    files = source.read_bytes(), reference.read_bytes()
    return lambda: engine.swap(*files)


def hashes() -> object:
    """Do one round of pure arithmetic, which shows the best possible speed-up of two processes on this machine."""
    block = bytes(100_000)
    return [hashlib.sha256(block).digest() for _ in range(200)]


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


def throughput(processes: int, kind: str, source: Path, reference: Path, seconds: float) -> float:
    """Return the rounds of work per second of several processes that start together."""
    workers = [run_self("--work", kind, source, reference, seconds) for _ in range(processes)]
    for worker in workers:
        if worker.stdout is None or worker.stdout.readline() != "ready\n":
            raise SystemExit("a worker did not start")
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    return sum(float(worker.communicate()[0]) for worker in workers)


def two_beside_one(source: Path, reference: Path, seconds: float) -> dict[str, float]:
    """
    Return the speed-up of two processes over one: the median of alternating rounds, because machines are noisy.

    Beside it the same for pure arithmetic: a machine whose two processors are not whole ones shows there too.
    """
    found: dict[str, list[tuple[float, float]]] = {"swap": [], "arithmetic": []}
    for _ in range(ROUNDS):
        for kind, rounds in found.items():
            one, two = (throughput(count, kind, source, reference, seconds) for count in (1, 2))
            rounds.append((one, two))
    swaps = found["swap"]
    return {
        "one_process": statistics.median(one for one, _ in swaps),
        "two_processes": statistics.median(two for _, two in swaps),
        "ratio": statistics.median(two / one for one, two in swaps),
        "ratio_arithmetic": statistics.median(two / one for one, two in found["arithmetic"]),
    }


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
    result["throughput"] = two_beside_one(*files, seconds)
    return result


def machine() -> dict[str, Any]:
    """Return a description of the machine."""
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
        f"ratio {rate['ratio']:.2f} (pure arithmetic: {rate['ratio_arithmetic']:.2f})"
    )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1] if __doc__ else None)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each throughput run lasts")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        source, reference, count = given.measure
        print(json.dumps(measure(Path(source), Path(reference), int(count))))
    elif given.work:
        kind, source, reference, seconds = given.work
        print(work(kind, Path(source), Path(reference), float(seconds)))
    else:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            result = report(given.seconds, Path(folder))
        show(result)
        if given.json:
            given.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
