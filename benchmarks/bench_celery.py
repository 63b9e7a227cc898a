# SPDX-License-Identifier: Apache-2.0
"""
Measure the batch Dag on CeleryExecutor with one worker and with two.

One Airflow (scheduler, triggerer, API server, Dag processor), PostgreSQL, Valkey and a sandbox in load mode serve both;
the second worker is started and stopped between the runs. Needs the packages of requirements-celery.txt.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from benchmarks.collecting.picture_server import picture
from benchmarks.dag_runs.stack import OURS, Stack
from include.local import distributed, processes
from include.sandbox.process import SandboxProcess
from tests.system.celery_airflow import CeleryAirflow
from tests.system.real_airflow import wait_until

DEADLINE = 1800.0
FIRST, SECOND = distributed.WORKERS


@contextmanager
def started(folder: Path, options: argparse.Namespace) -> Iterator[tuple[CeleryAirflow, Stack]]:
    """Start everything with the first worker, and stop it afterwards."""
    dags = folder / "dags"
    dags.mkdir()
    shutil.copy(ROOT / "dags/face_swap_batch.py", dags)
    served = folder / "picture.jpg"
    served.write_bytes(picture(options.picture_kb * 1000, options.picture_width))
    limits: dict[str, Any] = {"max_concurrency": options.at_once}
    if options.per_second:
        limits["requests_per_second"] = options.per_second
    with SandboxProcess(credits=10**9, load_picture=served, job_seconds=options.job_seconds) as sandbox:
        account = {"conn_type": "goenhance", "host": sandbox.url, "password": sandbox.token, "extra": limits}
        settings = {
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
            # Tasks wait for a slot as long as it takes, and one that is slow is not dead.
            "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "3600",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "300",
            "AIRFLOW__CORE__PARALLELISM": str(2 * options.slots),
            "AIRFLOW__CELERY__WORKER_CONCURRENCY": str(options.slots),
            # Parsing the Dags again and again would disturb the measurement.
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "3600",
            "AIRFLOW__GOENHANCE__STORAGE": str(folder / "swaps"),
            "AIRFLOW_CONN_GOENHANCE_DEFAULT": json.dumps(account),
        }
        with CeleryAirflow(folder / "airflow", dags, settings) as airflow:
            wait_until(lambda: airflow.api.dag(OURS) is not None, seconds=120, what=f"Dag {OURS}")
            stack = Stack(airflow, sandbox, folder)
            try:
                yield airflow, stack
            finally:
                stack.close()


def swap_seconds(stack: Stack, pairs: int, conf: dict[str, Any]) -> float:
    """Run the Dag over new pairs; return the seconds from the end of its plan to the end of its last swap task."""
    try:
        run = stack.run(OURS, pairs, conf, deadline=DEADLINE)
    except SystemExit:
        for run_id in stack.airflow.api.runs(OURS, states=("failed",)):
            for task in stack.airflow.api.failed_tasks(OURS, run_id):
                print(run_id, task["task_id"], stack.airflow.api.task_error(OURS, run_id, task))
        raise
    shutil.rmtree(stack.pictures)  # so that a long benchmark does not fill the disk
    return run.stages["swap"][1] - run.stages["plan"][1]


def main() -> None:
    """Run the benchmark, print its figures, and write them as JSON where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=600)
    parser.add_argument("--pairs-per-task", type=int, default=25)
    parser.add_argument("--slots", type=int, default=1, help="tasks that a worker runs at once")
    parser.add_argument("--at-once", type=int, default=64, help="the account's max_concurrency")
    parser.add_argument(
        "--per-second", type=float, default=0, help="the account's requests_per_second; 0: none"
    )
    parser.add_argument("--job-seconds", type=float, default=1.0)
    parser.add_argument("--picture-kb", type=int, default=200)
    parser.add_argument("--picture-width", type=int, default=1024)
    parser.add_argument("--runs", type=int, default=1, help="runs of each; the medians count")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    conf = {"preflight": "off", "pairs_per_task": options.pairs_per_task}
    seconds: dict[int, list[float]] = {1: [], 2: []}
    with (
        tempfile.TemporaryDirectory(prefix="goenhance-bench-") as folder,
        started(Path(folder), options) as (airflow, stack),
    ):
        swap_seconds(stack, options.pairs_per_task, conf)  # creates the tables
        for _ in range(options.runs):
            seconds[2].append(swap_seconds(stack, options.pairs, conf))
            processes.stop([airflow.components.pop(SECOND)], grace=20.0)
            seconds[1].append(swap_seconds(stack, options.pairs, conf))
            airflow.start(SECOND)
            airflow.wait_for_workers()
    medians = {workers: statistics.median(each) for workers, each in seconds.items()}
    ratio = medians[1] / medians[2]
    for workers, median in medians.items():
        print(
            f"{workers} worker{'s' * (workers > 1)}: {median:6.1f} s, {options.pairs / median:6.1f} pairs/s"
        )
    print(f"throughput of two workers / one: {ratio:.2f}")
    if options.json:
        figures = {
            "seconds": {str(workers): each for workers, each in seconds.items()},
            "ratio": ratio,
            "options": {name: value for name, value in vars(options).items() if name != "json"},
            "machine": {"cpus": os.cpu_count(), "python": platform.python_version()},
        }
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
