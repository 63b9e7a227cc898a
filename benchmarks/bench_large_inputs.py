# SPDX-License-Identifier: Apache-2.0
"""
Submit large local pictures, each of them different: peak memory of the task and processor time of each pair.

Every source is a JPEG of 24 million pixels and 7 to 10 MB, so it is shrunk, staged and sent; the references are small
files, which are staged. Each run is a process of its own with the default settings. If the memory grew with the run,
the last line would show it.

``python benchmarks/bench_large_inputs.py [--pairs 8 32 128] [--json FILE]``
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench_plan import TaskInstance
from bench_shrink import ROOT, peak_mb, write_pictures

if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from include.sandbox.process import SandboxProcess

IMAGES = ROOT / "include" / "images"


def submit_here(folder: Path, pairs: int) -> dict[str, float]:
    from airflow_provider_goenhance.operators.face_swap_batch import GoEnhanceFaceSwapBatchOperator

    before, since, used = peak_mb(), time.perf_counter(), time.process_time()
    operator = GoEnhanceFaceSwapBatchOperator(
        task_id="swap",
        pairs=[
            {
                "pair_id": f"pair-{number}",
                "source_img": str(folder / f"face-{number}.jpg"),
                "reference_img": str(IMAGES / "hopper.jpg"),
            }
            for number in range(pairs)
        ],
        deferrable=False,
        poll_interval=0.2,
    )
    operator.execute({"ti": TaskInstance(f"run-{pairs}", task_id="swap")})  # type: ignore[arg-type]
    return {
        "seconds": round(time.perf_counter() - since, 2),
        "processor": round(time.process_time() - used, 2),
        "before_mb": round(before, 1),
        "peak_mb": round(peak_mb(), 1),
    }


def measure(folder: Path, staging: Path, sandbox: SandboxProcess, pairs: int) -> dict[str, float]:
    host, _, port = sandbox.url.rpartition(":")
    account = {"conn_type": "goenhance", "host": host, "port": int(port), "password": sandbox.token}
    results = {"conn_type": "sqlite", "host": str(folder / f"results-{pairs}.db")}
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW_CONN_GOENHANCE_DEFAULT": json.dumps(account),
        "AIRFLOW_CONN_GOENHANCE_RESULTS": json.dumps(results),
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW__GOENHANCE__INPUT_FOLDERS": f"{folder},{IMAGES}",
        "AIRFLOW__GOENHANCE__STAGING": str(staging),
        "AIRFLOW__GOENHANCE__STAGING_URL": f"{sandbox.url}/public",
        "AIRFLOW__GOENHANCE__STORAGE": str(folder / "kept"),
        "PYTHONPATH": str(ROOT / "plugins"),
    }
    command = [sys.executable, __file__, "--measure", str(folder), str(pairs)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--pairs", type=int, nargs="+", default=[8, 32, 128])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--measure", nargs=2, metavar=("FOLDER", "PAIRS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(submit_here(Path(options.measure[0]), int(options.measure[1]))))
        return
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder, staging = Path(name), Path(name) / "staging"
        staging.mkdir()
        written = write_pictures(folder)
        large = [written[kind].read_bytes() for kind in ("JPEG", "JPEG of 10 MB")]
        for number in range(max(options.pairs)):
            # What follows the end of a JPEG is no part of the picture, but of the content.
            (folder / f"face-{number}.jpg").write_bytes(large[number % 2] + b"%d" % number)
        with SandboxProcess(public=staging) as sandbox:
            for pairs in options.pairs:
                one = {"pairs": pairs, **measure(folder, staging, sandbox, pairs)}
                found.append(one)
                print(
                    f"{pairs:>6} pairs{one['seconds']:>9.2f} s{1000 * one['processor'] / pairs:>8.0f} ms CPU a pair"
                    f"{one['peak_mb']:>8.0f} MB peak ({one['before_mb']:.0f} before)"
                )
    if options.json:
        options.json.write_text(json.dumps({"large_inputs": found}, indent=2))


if __name__ == "__main__":
    main()
