# SPDX-License-Identifier: Apache-2.0
"""
Read and check a manifest: ours beside the loop over ``csv.DictReader`` that one would otherwise write.

Each measurement runs in a process of its own, so that its peak memory is its own; the two take turns, and the
best of the repeats counts. ``python benchmarks/bench_manifest.py [--rows 100000 1000000] [--json FILE]``
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "plugins"))

WAYS = ("ours", "dictreader")


def write_manifest(path: Path, rows: int, *, pair_ids: bool) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(("pair_id," if pair_ids else "") + "source_img,reference_img\n")
        for n in range(rows):
            name = f"pair-{n:07d}," if pair_ids else ""
            file.write(
                f"{name}https://images.example.com/faces/{n % 5000:05d}.jpg,"
                f"https://images.example.com/scenes/2026/{n:07d}.jpg\n"
            )


def read_ours(path: str) -> int:
    from airflow_provider_goenhance.manifest.read import read_manifest

    return len(read_manifest(path).pairs)


def read_by_dictreader(path: str) -> int:
    """Check less than we do: URLs by urlsplit, duplicates by a set; no encodings, quotes, lengths or passwords."""
    pairs: list[dict[str, str]] = []
    seen: set[str] = set()
    with Path(path).open(encoding="utf-8-sig", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            source, reference = row["source_img"].strip(), row["reference_img"].strip()
            pair_id = row.get("pair_id") or f"row-{number}"
            for url in (source, reference):
                parts = urlsplit(url)
                if parts.scheme not in {"http", "https"} or not parts.netloc:
                    break
            else:
                if source != reference and pair_id not in seen:
                    seen.add(pair_id)
                    pairs.append(
                        {
                            "pair_id": pair_id,
                            "source_img": source,
                            "reference_img": reference,
                            "row": str(number),
                        }
                    )
    return len(pairs)


def measure_here(way: str, path: str) -> dict[str, float]:
    """Measure in this process, with pandas' import left out of the time but not out of the memory."""
    if way == "ours":
        import pandas as pd  # noqa: F401
    wall, cpu = time.perf_counter(), time.process_time()
    pairs = {"ours": read_ours, "dictreader": read_by_dictreader}[way](path)
    return {
        "pairs": pairs,
        "seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - cpu,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def measure(way: str, path: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, __file__, "--measure", way, str(path)], capture_output=True, text=True, check=True
    )
    result: dict[str, float] = json.loads(done.stdout)
    return result


def bench(rows: int, *, pair_ids: bool, repeats: int, folder: Path) -> dict[str, object]:
    path = folder / "pairs.csv"
    write_manifest(path, rows, pair_ids=pair_ids)
    runs: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(repeats):
        for way in WAYS:
            runs[way].append(measure(way, path))
    best = {way: min(runs[way], key=lambda run: run["cpu_seconds"]) for way in WAYS}
    for way, run in best.items():
        if run["pairs"] != rows:
            raise SystemExit(f"{way} found {run['pairs']} pairs in {rows} good rows")
        run["rows_per_second"] = rows / run["seconds"]
    return {
        "rows": rows,
        "pair_ids": pair_ids,
        **best,
        "cpu_ratio": best["ours"]["cpu_seconds"] / best["dictreader"]["cpu_seconds"],
    }


def show(results: list[dict[str, object]]) -> None:
    print(f"{'rows':>9}  {'pair_id':8}{'way':11}{'seconds':>8}{'cpu s':>8}{'rows/s':>10}{'peak MB':>9}")
    for result in results:
        for way in WAYS:
            run: dict[str, float] = result[way]  # type: ignore[assignment]
            print(
                f"{result['rows']:>9}  {'given' if result['pair_ids'] else 'derived':8}{way:11}"
                f"{run['seconds']:>8.2f}{run['cpu_seconds']:>8.2f}{run['rows_per_second']:>10.0f}"
                f"{run['peak_rss_mb']:>9.0f}"
            )
        print(f"{'':>9}  cpu time of ours / dictreader: {result['cpu_ratio']:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--measure", nargs=2, metavar=("WAY", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure_here(*options.measure)))
        return
    with tempfile.TemporaryDirectory() as folder:
        results = [
            bench(rows, pair_ids=pair_ids, repeats=options.repeats, folder=Path(folder))
            for rows in options.rows
            for pair_ids in (True, False)
        ]
    show(results)
    if options.json:
        machine = {"python": platform.python_version(), "cpus": os.cpu_count(), "machine": platform.machine()}
        options.json.write_text(json.dumps({"machine": machine, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
