# SPDX-License-Identifier: Apache-2.0
"""
Ten thousand jobs in flight in a real triggerer, of a real Airflow, against a sandbox in load mode.

The batch Dag's own operators submit the pairs and defer; the jobs do not finish while we look. A trigger in the same
event loop measures its lag; the triggerer's own log says whether it saw its loop blocked.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import sqlite3
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from benchmarks.triggerer.gc_watch import gc_figures
from include.sandbox.process import SandboxProcess
from tests.system.real_airflow import RealAirflow, wait_until

#: Logged by the triggerer if its loop is blocked for longer than `blocked_main_thread_warning_threshold`.
BLOCKED = "async thread was blocked"
SETTLE_SECONDS = 30.0


def write_manifest(path: Path, pairs: int) -> None:
    """Write pairs that differ by their query only; in load mode the sandbox does not fetch them."""
    lines = ["source_img,reference_img"]
    lines += [f"https://example.com/face.jpg?n={n},https://example.com/scene.jpg?n={n}" for n in range(pairs)]
    path.write_text("\n".join(lines) + "\n")


def settings(folder: Path, sandbox: SandboxProcess, options: argparse.Namespace) -> dict[str, str]:
    """Return the environment of the measured Airflow."""
    account = {"conn_type": "goenhance", "host": sandbox.url, "password": sandbox.token}
    return {
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).strip(os.pathsep),
        "AIRFLOW__CORE__PARALLELISM": "2",
        "AIRFLOW__GOENHANCE__STORAGE": str(folder / "swaps"),
        "AIRFLOW__GOENHANCE__FREEZE_HEAP": str(options.freeze_heap),
        "AIRFLOW_VAR_GOENHANCE_MANIFEST": str(folder / "manifest.csv"),
        "AIRFLOW_VAR_PAIRS_PER_TASK": str(options.per_task),
        "AIRFLOW_CONN_GOENHANCE_RESULTS": f"sqlite:///{folder / 'results.db'}",
        "AIRFLOW_CONN_GOENHANCE_DEFAULT": json.dumps({**account, "extra": {"max_concurrency": 32}}),
    }


def waiting(metadata: Path, dag_id: str) -> int:
    """Count the task instances of a Dag that are deferred."""
    with sqlite3.connect(metadata) as database:
        query = "SELECT count(*) FROM task_instance WHERE dag_id = ? AND state = 'deferred'"
        return int(database.execute(query, (dag_id,)).fetchone()[0])


def share(values: list[float], quantile: float) -> float:
    """Return a quantile."""
    return sorted(values)[min(len(values) - 1, int(len(values) * quantile))]


def seen(record: Path) -> list[dict[str, Any]]:
    """Return the records of the watch so far."""
    return [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []


def figures(lines: list[dict[str, Any]], before_mib: float) -> dict[str, float]:
    """Summarize the records of one phase."""
    lags = [lag for line in lines for lag in line["lags_ms"]]
    took = lines[-1]["time"] - lines[0]["time"]
    asked = lines[-1]["asked"] - lines[0]["asked"]
    return {
        "seconds": took,
        "requests_per_second": asked / took,
        "lag_p50_ms": share(lags, 0.5),
        "lag_p99_ms": share(lags, 0.99),
        "lag_max_ms": max(lags),
        "memory_mib": max(line["resident_mib"] for line in lines),
        "memory_for_the_jobs_mib": max(line["resident_mib"] for line in lines) - before_mib,
        "cpu_share": (lines[-1]["cpu"] - lines[0]["cpu"]) / took,
        **gc_figures([pause for line in lines for pause in line["gc_ms"]], took),
    }


def complaints_in(logs: Path) -> list[float]:
    """Return when the triggerer complained of a blocked thread, seconds since the epoch."""
    lines = [line for log in logs.glob("triggerer-*.log") for line in log.read_text().splitlines()]
    moments = [line.split()[0] for line in lines if BLOCKED in line]
    return [dt.datetime.fromisoformat(moment).timestamp() for moment in moments]


def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Start everything, wait until every job is waited for, watch, and stop everything."""
    write_manifest(folder / "manifest.csv", options.jobs)
    record, stop = folder / "record.jsonl", folder / "stop"
    tasks = -(-options.jobs // options.per_task)
    with (
        SandboxProcess(engine="none", job_seconds=86_400, credits=10**6) as sandbox,
        RealAirflow(
            folder / "airflow",
            ROOT / "benchmarks/triggerer/dags",
            settings(folder, sandbox, options),
        ) as airflow,
    ):
        metadata = airflow.paths.metadata
        for dag_id in ("watch_loop", "waiting_jobs"):
            wait_until(
                lambda name=dag_id: airflow.api.dag(name) is not None, seconds=60, what=f"Dag {dag_id}"
            )  # type: ignore[misc]
        airflow.api.trigger("watch_loop", "bench", {"record": str(record), "stop": str(stop)})
        wait_until(lambda: len(seen(record)) >= 5, seconds=60, what="the watch in the triggerer")
        before = seen(record)[-1]["resident_mib"]
        print(f"Submitting {options.jobs:,} pairs in {tasks} tasks.", flush=True)
        began = time.time()
        airflow.api.trigger("waiting_jobs", "bench", {})
        wait_until(lambda: waiting(metadata, "waiting_jobs") == tasks, seconds=900, what="all tasks deferred")
        print(f"All deferred after {time.time() - began:.0f} s; measuring.", flush=True)
        time.sleep(SETTLE_SECONDS)
        steady_from = time.time()
        time.sleep(options.seconds)
        lines = seen(record)
        stop.touch()
        wait_until(lambda: "objects" in seen(record)[-1], seconds=30, what="the end of the watch")
        objects = seen(record)[-1]["objects"]
        complaints = complaints_in(airflow.paths.component_logs)
        accepted = len(sandbox.submissions())
    assert accepted == options.jobs, f"{accepted} jobs accepted, not {options.jobs}"
    ours = [moment for moment in complaints if moment >= began]
    print(f"Complaints before the first job, at the triggerer's own start: {len(complaints) - len(ours)}.")
    return {
        "jobs": options.jobs,
        "triggers": tasks,
        "triggerer_complaints": len(ours),
        **objects,
        "while_they_arrive": figures([line for line in lines if began <= line["time"] < steady_from], before),
        "all_in_flight": figures([line for line in lines if line["time"] >= steady_from], before),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--per-task", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to measure")
    parser.add_argument(
        "--freeze-heap",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="[goenhance] freeze_heap",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-triggerer-") as folder:
        found = measure(Path(folder), options)
    phases = ("while_they_arrive", "all_in_flight")
    print(f"{'':28}" + "".join(f"{phase:>20}" for phase in phases))
    for name in found[phases[0]]:
        print(f"{name:28}" + "".join(f"{found[phase][name]:>20,.2f}" for phase in phases))
    print(
        f"Tracked objects at the end: {found['tracked_objects']:,}, and {found['frozen_objects']:,} frozen."
    )
    print(f"The triggerer complained of a blocked thread {found['triggerer_complaints']} times from then on.")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    if found["all_in_flight"]["lag_p99_ms"] >= 100:
        raise SystemExit("p99 of the event loop's lag must be below 100 ms.")


if __name__ == "__main__":
    main()
