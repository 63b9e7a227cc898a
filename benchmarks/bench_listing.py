# SPDX-License-Identifier: Apache-2.0
"""
Looking up the private pictures of a manifest in S3: how many calls, and how much processor time for each row.

The store is moto's S3 server over HTTP, in a process of its own, with 5,000 faces and a scene for each row in one
bucket. The pages of the plan are looked up as the plan operator does it. Listings are compared with a look at each
picture, for --looks of them.

The seconds are those of moto, which sorts all keys of the bucket for each listing: its time grows with the square of
the rows, and 100,000 of them did not end in nine minutes. Its processor time stands beside ours.

``python benchmarks/bench_listing.py [--rows 20000] [--looks 1000] [--json FILE]``
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / folder) for folder in ("", "plugins")]
os.environ.setdefault("AIRFLOW_HOME", str(Path(__file__).resolve().parents[1] / ".local" / "bench-airflow"))

BUCKET = "pictures"
FACES = 5000
#: Rows that a plan looks up at a time.
PAGE_ROWS = 5000


def keys(row: int) -> tuple[str, str]:
    return f"faces/{row % FACES:05d}.jpg", f"scenes/2026/{row:07d}.jpg"


def serve(rows: int) -> None:
    """Serve the bucket until the input ends; print the port when it is full."""
    import logging

    from moto.s3.models import s3_backends
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    store = s3_backends["123456789012"]["aws"]
    store.create_bucket(BUCKET, "us-east-1")
    for name in dict.fromkeys(key for row in range(rows) for key in keys(row)):
        store.put_object(BUCKET, name, b"picture")
    print(json.dumps({"port": server.get_host_and_port()[1]}), flush=True)
    sys.stdin.read()
    server.stop()


@contextmanager
def served(rows: int) -> Iterator[tuple[int, int]]:
    """Yield the port and the process id of a store in a process of its own."""
    command = [sys.executable, __file__, "--serve", "--rows", str(rows)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            yield json.loads(server.stdout.readline())["port"], server.pid
        finally:
            server.stdin.close()
            server.wait()


def processor_seconds(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def measure(rows: int, looks: int, store: int) -> list[dict[str, Any]]:
    from airflow_provider_goenhance.hooks.input_stores import open_versions
    from airflow_provider_goenhance.hooks.signers_s3 import S3Pictures
    from airflow_provider_goenhance.inputs import versions

    calls = {"list_from": 0, "look": 0}

    def counting(name: str) -> None:
        inner = getattr(S3Pictures, name)

        def call(*arguments: object) -> object:
            calls[name] += 1
            return inner(*arguments)

        setattr(S3Pictures, name, call)

    for name in calls:
        counting(name)

    def addresses(first: int, end: int) -> list[str]:
        return [f"s3://{BUCKET}/{key}" for row in range(first, end) for key in keys(row)]

    results = []
    for way, count in (("listings", rows), ("a look at each", min(looks, rows))):
        if way == "a look at each":
            versions.WORTH_A_LISTING = sys.maxsize  # type: ignore[misc]
        calls.update(dict.fromkeys(calls, 0))
        look_up = open_versions().look_up
        wall, cpu, found, theirs = time.perf_counter(), time.process_time(), 0, processor_seconds(store)
        for first in range(0, count, PAGE_ROWS):
            found += len(look_up(addresses(first, min(first + PAGE_ROWS, count))))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        theirs = processor_seconds(store) - theirs
        print(
            f"{way:16}{count:>8} rows{found:>8} pictures{calls['list_from']:>6} listings{calls['look']:>7} looks"
            f"{wall:>8.1f} s{cpu:>7.2f} cpu s{cpu / count * 1e6:>7.0f} us a row"
            f"{theirs:>8.1f} cpu s of the store",
            flush=True,
        )
        figures = {"seconds": wall, "cpu_seconds": cpu, "store_cpu_seconds": theirs}
        results.append({"way": way, "rows": count, **calls, **figures})
    return results


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--looks", type=int, default=1000, help="rows of the comparison (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.rows)
        return
    with served(options.rows) as (port, store):
        account = {
            "conn_type": "aws",
            "login": "an-id",
            "password": "a-secret",
            "extra": {"endpoint_url": f"http://127.0.0.1:{port}", "region_name": "us-east-1"},
        }
        os.environ["AIRFLOW_CONN_AWS_DEFAULT"] = json.dumps(account)
        results = measure(options.rows, options.looks, store)
    if options.json:
        options.json.write_text(json.dumps({"benchmark": "listing", "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
