# SPDX-License-Identifier: Apache-2.0
"""
What parsing the shipped Dag files takes, beyond an empty Dag that imports the same parts of Airflow.

Each measurement is a process of its own, which parses the empty Dag first, as the Dag processor has loaded Airflow
before it parses anything.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: Milliseconds that are allowed for both Dag files together.
ALLOWED_MS = 50

_EMPTY_DAG = """
import datetime as dt
from airflow.providers.common.compat.sdk import (
    AirflowFailException, AirflowNotFoundException, Asset, BaseHook, BaseOperator, BaseOperatorLink, conf
)
from airflow.sdk import DAG, Param
from airflow.sdk.definitions.retry_policy import RetryPolicy

with DAG("empty", schedule=None, start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC), params={"a": Param(1)}):
    BaseOperator(task_id="nothing")
"""
_MEASURE = """
import json, runpy, sys, time
empty, *paths = sys.argv[1:]
runpy.run_path(empty)
wall, cpu, before = time.perf_counter(), time.process_time(), len(sys.modules)
for path in paths:
    runpy.run_path(path)
print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu, len(sys.modules) - before]))
"""


def measure(empty: Path, home: Path) -> tuple[float, float, int]:
    """Return the seconds, the processor seconds and the number of further modules of one parse."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AIRFLOW_", "_AIRFLOW_")) and name != "PYTHONDONTWRITEBYTECODE"
    }
    environment |= {"AIRFLOW_HOME": str(home), "PYTHONPATH": str(ROOT / "plugins")}
    files = sorted(str(path) for path in (ROOT / "dags").glob("*.py"))
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(empty), *files],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, cpu, modules = json.loads(done.stdout.splitlines()[-1])
    return seconds, cpu, modules


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-parse-") as folder:
        empty = Path(folder) / "empty.py"
        empty.write_text(_EMPTY_DAG)
        measure(empty, Path(folder))  # writes the bytecode
        found = [measure(empty, Path(folder)) for _ in range(options.rounds)]
    figures = {
        "benchmark": "parse",
        "milliseconds": round(1000 * statistics.median(seconds for seconds, _, _ in found), 1),
        "cpu_milliseconds": round(1000 * statistics.median(cpu for _, cpu, _ in found), 1),
        "modules": found[0][2],
        "allowed_ms": ALLOWED_MS,
    }
    print(
        f"Parsing both Dag files: {figures['milliseconds']} ms beyond an empty Dag (median of {options.rounds}), "
        f"{figures['cpu_milliseconds']} ms of processor time, {figures['modules']} further modules. "
        f"Allowed: {ALLOWED_MS} ms."
    )
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    # The processor time decides: other work on the machine adds to the other.
    return 0 if figures["cpu_milliseconds"] <= ALLOWED_MS else 1


if __name__ == "__main__":
    sys.exit(main())
