# SPDX-License-Identifier: Apache-2.0
"""
Whole Dag runs: ours beside the Dags that people write without this package.

One Airflow (scheduler with LocalExecutor, triggerer, API server, Dag processor) and one sandbox in load mode serve all
sides, which take turns. All may make the same number of requests at once. The time of a run is that between its
trigger and its end in Airflow's own database.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from benchmarks.collecting.picture_server import picture
from benchmarks.dag_runs.plot import draw
from benchmarks.dag_runs.stack import OURS, Run, Stack, started_stack

#: Airflow maps 1,024 tasks at most, and a task takes about a quarter of a second of two processors.
MOST_FOR_HTTP = 300
DEADLINE = 3600.0
SIDES = {
    "http": "HttpOperator.expand",
    "async": "one async @task",
    "ours": "this package",
    "script": "script, no Airflow",
}


class Sides:
    """Runs one side at a time over one stack."""

    def __init__(self, stack: Stack, at_once: int, options: argparse.Namespace) -> None:
        self._stack = stack
        self._at_once = at_once
        self._options = options

    def run(self, side: str, pairs: int) -> Run:
        """
        Run a side once over new pairs.

        :raises SystemExit: when it has not kept a picture of each pair, where it should
        """
        run = self._run(side, pairs)
        if self._options.pictures:
            kept = sum(path.suffix in {".jpg", ".png"} for path in self._stack.pictures.rglob("*"))
            shutil.rmtree(self._stack.pictures)  # so that a long benchmark does not fill the disk
            if kept != pairs:
                raise SystemExit(f"{SIDES[side]} kept {kept} pictures of {pairs} pairs.")
        return run

    def _run(self, side: str, pairs: int) -> Run:
        pictures = self._options.pictures
        if side == "script":
            return self._run_script(pairs)
        if side == "http":
            return self._stack.run("http_expand", pairs, {}, deadline=DEADLINE)
        if side == "async":
            conf = {"at_once": self._at_once, "pictures": self._folder() if pictures else None}
            return self._stack.run("async_task", pairs, conf, deadline=DEADLINE)
        conf = {
            "wait": pictures,
            "pairs_per_task": self._options.pairs_per_task or None,
            "preflight": self._options.preflight,
        }
        return self._stack.run(OURS, pairs, conf, deadline=DEADLINE)

    def _folder(self) -> str:
        self._stack.pictures.mkdir(exist_ok=True)
        return str(self._stack.pictures)

    def _run_script(self, pairs: int) -> Run:
        sandbox = self._stack.sandbox
        sandbox.reset()
        manifest = self._stack.new_manifest(pairs)
        script = ROOT / "benchmarks/dag_runs/bare.py"
        command = [str(script), str(manifest), sandbox.url, sandbox.token, str(self._at_once)]
        command += [self._folder()] if self._options.pictures else []
        before, began = os.times(), time.perf_counter()
        subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
        seconds, after = time.perf_counter() - began, os.times()
        cpu = after.children_user - before.children_user + after.children_system - before.children_system
        return Run(seconds, {"task": cpu}, {}, {})


def sides_for(pairs: int, options: argparse.Namespace) -> list[str]:
    """Return the sides that take part with this many pairs."""
    left_out = {"http"} if pairs > MOST_FOR_HTTP or options.pictures else set()
    return [side for side in options.only if side not in left_out]


def median(values: Sequence[float]) -> float:
    return round(statistics.median(values), 3)


def medians(found: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the median of each entry."""
    names = {name for each in found for name in each}
    return {name: median([each.get(name, 0.0) for each in found]) for name in sorted(names)}


def figures(pairs: int, side: str, at_once: int, runs: Sequence[Run]) -> dict[str, Any]:
    """Summarize the runs of one side."""
    cpu = medians([run.cpu for run in runs])
    stages: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for run in runs:
        for task, times in run.stages.items():
            stages[task].append(times)
    everything = [sum(seconds for part, seconds in run.cpu.items() if part != "sandbox") for run in runs]
    return {
        "side": side,
        "pairs": pairs,
        "at_once": at_once,
        "seconds": median([run.seconds for run in runs]),
        "rounds": [round(run.seconds, 2) for run in runs],
        "task_cpu_per_1000": round(1000 / pairs * cpu["task"], 2),
        "cpu_per_1000": round(1000 / pairs * median(everything), 2),
        "cpu_seconds": cpu,
        "peak_mib": medians([run.peak_mib for run in runs]),
        "stages": {
            task: [median([first for first, _ in times]), median([last for _, last in times])]
            for task, times in stages.items()
        },
    }


def measure(folder: Path, at_once: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Run all sides with one limit of requests at once."""
    results = []
    served = None
    folder.mkdir(parents=True)
    if options.pictures:
        served = folder / "picture.jpg"
        served.write_bytes(picture(options.bytes, options.width))
    with started_stack(
        folder,
        at_once=at_once,
        database=options.database,
        slots=options.slots,
        latency=options.latency,
        load_picture=served,
        # Where nobody waits for the jobs, none ends while we measure.
        job_seconds=options.job_seconds if options.pictures else 3600,
    ) as stack:
        sides = Sides(stack, at_once, options)
        for side in options.only:
            if not (side == "http" and options.pictures):
                sides.run(side, min(options.pairs))  # warm up
        for pairs in options.pairs:
            taking_part = sides_for(pairs, options)
            runs: dict[str, list[Run]] = defaultdict(list)
            for number in range(options.rounds):
                # In turns, so that whatever else this machine does meets every side alike.
                for side in taking_part if number % 2 == 0 else reversed(taking_part):
                    runs[side].append(sides.run(side, pairs))
                    print(
                        f"  {at_once} at once, {pairs:,} pairs, round {number + 1}, {SIDES[side]}: "
                        f"{runs[side][-1].seconds:.2f} s",
                        flush=True,
                    )
                    if options.verbose:
                        print(json.dumps(asdict(runs[side][-1])), flush=True)
            results += [figures(pairs, side, at_once, runs[side]) for side in taking_part]
    return results


def add_ratios(results: list[dict[str, Any]]) -> None:
    """Add to each side's figures our seconds as a multiple of its own, and the same of the tasks' processor time."""
    ours = {(row["pairs"], row["at_once"]): row for row in results if row["side"] == "ours"}
    for row in results:
        base = ours.get((row["pairs"], row["at_once"]))
        if base is not None:
            row["ours_to_this"] = round(base["seconds"] / row["seconds"], 3)
            row["our_task_cpu_to_this"] = round(base["task_cpu_per_1000"] / row["task_cpu_per_1000"], 2)


def show(results: Sequence[dict[str, Any]]) -> None:
    print(
        f"\n{'at once':>7} {'pairs':>7} {'side':20} {'seconds':>8} {'ours / it':>9} {'CPU s per 1,000: tasks':>22} "
        f"{'all':>7} {'peak MiB: task':>14} {'scheduler':>9} {'triggerer':>9}"
    )
    for row in results:
        peak = row["peak_mib"]
        print(
            f"{row['at_once']:>7} {row['pairs']:>7,} {SIDES[row['side']]:20} {row['seconds']:>8.2f} "
            f"{row.get('ours_to_this', float('nan')):>9.2f} {row['task_cpu_per_1000']:>22.2f} "
            f"{row['cpu_per_1000']:>7.2f} {peak.get('task', 0):>14.0f} {peak.get('scheduler', 0):>9.0f} "
            f"{peak.get('triggerer', 0):>9.0f}"
        )
    for row in results:
        if row["side"] == "ours":
            stages = ", ".join(
                f"{task} {first:.1f}-{last:.1f}" for task, (first, last) in row["stages"].items()
            )
            print(f"ours, {row['at_once']} at once, {row['pairs']:,} pairs, seconds of each task: {stages}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, nargs="+", default=[30, 300, 1_000, 10_000])
    parser.add_argument("--at-once", type=int, nargs="+", default=[64, 256], help="limits of the account")
    parser.add_argument("--rounds", type=int, default=5, help="the median counts (%(default)s)")
    parser.add_argument("--only", nargs="+", choices=SIDES, default=list(SIDES), help="sides that take part")
    parser.add_argument("--pictures", action="store_true", help="wait for the jobs and keep their pictures")
    parser.add_argument("--bytes", type=int, default=200_000, help="of a picture (%(default)s)")
    parser.add_argument("--width", type=int, default=1024, help="of a picture (%(default)s)")
    parser.add_argument("--job-seconds", type=float, default=2.0, help="with --pictures (%(default)s)")
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--slots", type=int, default=4, help="[core] parallelism (%(default)s)")
    parser.add_argument("--latency", type=float, default=0.1, help="of the sandbox, seconds (%(default)s)")
    parser.add_argument(
        "--preflight", choices=["off", "warn"], default="warn", help="ours: the check of the pictures (warn)"
    )
    parser.add_argument("--pairs-per-task", type=int, default=0, help="ours; 0: the default")
    parser.add_argument("--folder", type=Path, help="keep databases and logs here")
    parser.add_argument("--verbose", action="store_true", help="print the figures of each run")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw the first limit's figures here, as an SVG"
    )
    options = parser.parse_args()
    print(f"{os.cpu_count()} processors shared with the sandbox (load: {os.getloadavg()[0]:.1f})", flush=True)
    results: list[dict[str, Any]] = []
    for at_once in options.at_once:
        with tempfile.TemporaryDirectory(prefix="bench-dag-") as temporary:
            results += measure((options.folder or Path(temporary)) / str(at_once), at_once, options)
    add_ratios(results)
    show(results)
    if options.plot:
        first = [row for row in results if row["at_once"] == options.at_once[0]]
        options.plot.write_text(draw(first, SIDES))
    if options.json:
        machine = {"cpus": os.cpu_count(), "python": platform.python_version()}
        figures_ = {"benchmark": "dag", "machine": machine, "options": vars(options), "results": results}
        options.json.write_text(json.dumps(figures_, indent=2, default=str) + "\n")


if __name__ == "__main__":
    main()
