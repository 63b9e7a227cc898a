# SPDX-License-Identifier: Apache-2.0
"""
Collecting pictures: ours beside a bare aiohttp script that downloads the same pictures at the same concurrency.

Both ask for the link of each job, and then fetch its picture from a local server. The bare script drops what it has
downloaded; a second one writes it to a file, unchecked. Ours checks, marks and stores each picture, and records
it in the results table; with --thumbnails and --quality, two more variants of ours also make thumbnails of result,
source and reference, or compare each picture with its reference, or both. They fetch the inputs from the same server:
--faces distinct sources and --scenes distinct references. The variants take turns in one process. Compare the ratios of
pictures per second.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / folder) for folder in ("", "plugins")]
os.environ.setdefault("AIRFLOW_HOME", str(Path(__file__).resolve().parents[1] / ".local" / "bench-airflow"))

import aiohttp

from airflow_provider_goenhance.api.account import Account
from airflow_provider_goenhance.api.polling import WaitOutcome
from airflow_provider_goenhance.execution.collect import collect_jobs
from airflow_provider_goenhance.pictures.collector import StorageOptions
from airflow_provider_goenhance.results.database import ResultsDatabase
from airflow_provider_goenhance.results.ledger import Ledger, RunKey
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.stores import TableStore
from airflow_provider_goenhance.results.swap import Swap, pair_fingerprint, swap_id_for

SERVER = Path(__file__).resolve().parent / "collecting" / "picture_server.py"


def submitted(key: RunKey, count: int, account: str, url: str, faces: int, scenes: int) -> list[Swap]:
    """Return rows whose jobs are done at GoEnhance."""
    rows = []
    for number in range(count):
        # Distinct in each run, so that none is known from the round before.
        source = f"{url}/face-{number % faces}.jpg"
        reference = f"{url}/scene-{number % (scenes or count)}.jpg"
        fingerprint = pair_fingerprint(source, reference)
        rows.append(
            Swap(
                swap_id=swap_id_for(key.dag_id, key.run_id, "swap", f"p{number}", fingerprint),
                dag_id=key.dag_id,
                run_id=key.run_id,
                task_id="swap",
                batch=0,
                row_number=number + 1,
                pair_id=f"p{number}",
                source_img=source,
                reference_img=reference,
                pair_fingerprint=fingerprint,
                status=Status.SUBMITTED,
                img_uuid=f"{key.run_id}-{number}",
                account=account,
            )
        )
    return rows


async def download_bare(url: str, count: int, concurrency: int, folder: Path | None) -> None:
    """Do what one would otherwise write."""
    waiting = iter(range(count))

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def slot() -> None:
            for number in waiting:
                params = {"img_uuid": f"job-{number}"}
                async with session.get(f"{url}/api/v1/jobs/detail", params=params) as response:
                    job = await response.json()
                async with session.get(job["data"]["json"][0]["value"]) as response:
                    data = await response.read()
                if folder is not None:
                    await asyncio.to_thread((folder / f"{number}.jpg").write_bytes, data)

        await asyncio.gather(*(slot() for _ in range(concurrency)))


class Bench:
    """The variants, each of which collects some pictures."""

    def __init__(self, url: str, folder: Path, options: argparse.Namespace) -> None:
        self._url = url
        self._folder = folder
        self._options = options
        self._account = Account(
            "bench",
            "a-token",
            base_url=url,
            max_concurrency=options.concurrency,
            max_downloads=options.concurrency,
        )
        self._database = ResultsDatabase(f"sqlite:///{folder / 'results.db'}", name="SQLite")
        self._rounds = 0

    def bare(self, *, write: bool) -> Callable[[int], float]:
        def run(count: int) -> float:
            folder = Path(tempfile.mkdtemp(dir=self._folder)) if write else None
            started = time.perf_counter()
            asyncio.run(download_bare(self._url, count, self._options.concurrency, folder))
            took = time.perf_counter() - started
            if folder:
                shutil.rmtree(folder)
            return took

        return run

    def ours(self, *, thumbnails: bool = False, quality: bool = False) -> Callable[[int], float]:
        return lambda count: self._collect(count, thumbnails, quality)

    def _collect(self, count: int, thumbnails: bool, quality: bool) -> float:
        self._rounds += 1
        key = RunKey("bench", f"run-{self._rounds}")
        ledger = Ledger(self._database)
        options = self._options
        planned = submitted(key, count, self._account.fingerprint, self._url, options.faces, options.scenes)
        ledger.plan(key, planned)
        rows = ledger.of_run(key)
        store = TableStore(ledger, lambda: ledger.of_run(key))
        storage = StorageOptions(
            str(self._folder / "kept"), key.run_id, thumbnails=thumbnails, quality=quality
        )
        started = time.perf_counter()
        collect_jobs(
            self._account, store, rows, WaitOutcome(succeeded=[str(row.img_uuid) for row in rows]), storage
        )
        took = time.perf_counter() - started
        counts = ledger.counts(key)
        if counts[Status.SUCCEEDED] != count:
            raise SystemExit(f"ours: {counts[Status.SUCCEEDED]} of {count} pictures were collected")
        looked = [row for row in ledger.of_run(key) if (row.thumbnail_uri or row.quality)]
        if (thumbnails or quality) and len(looked) != count:
            raise SystemExit(f"ours: {len(looked)} of {count} pictures were looked at")
        shutil.rmtree(self._folder / "kept")
        return took


@contextmanager
def picture_server(options: argparse.Namespace) -> Iterator[tuple[str, int]]:
    """Yield the address of a server, and the size of its picture."""
    command = [sys.executable, str(SERVER), "--latency", str(options.latency)]
    command += ["--bytes", str(options.bytes), "--width", str(options.width)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        ready = json.loads(server.stdout.readline())
        try:
            yield f"http://127.0.0.1:{ready['port']}", ready["bytes"]
        finally:
            server.stdin.close()
            server.wait()


def measure(bench: Bench, options: argparse.Namespace) -> list[dict[str, Any]]:
    variants: dict[str, Callable[[int], float]] = {
        "bare aiohttp": bench.bare(write=False),
        "bare, written to files": bench.bare(write=True),
        "ours": bench.ours(),
    }
    if options.thumbnails:
        variants["ours, thumbnails"] = bench.ours(thumbnails=True)
    if options.quality:
        variants["ours, quality"] = bench.ours(quality=True)
    if options.thumbnails and options.quality:
        variants["ours, both"] = bench.ours(thumbnails=True, quality=True)
    for run in variants.values():
        run(min(options.pictures, 100))  # warm up
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    cpu: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(options.rounds):
        # In turns, so that whatever else this machine does meets every variant alike.
        for name, run in variants.items():
            before = time.process_time()
            seconds[name].append(run(options.pictures))
            cpu[name].append(time.process_time() - before)
        print(f"  round {number + 1} of {options.rounds}", flush=True)
    base = seconds["bare aiohttp"]
    return [
        {
            "variant": name,
            "pictures": options.pictures,
            "seconds": round(statistics.median(took), 2),
            "per_second": round(options.pictures / statistics.median(took), 1),
            "cpu_ms_per_picture": round(statistics.median(cpu[name]) / options.pictures * 1000, 2),
            # Of each round by itself: a round meets the machine in one state.
            "ratio": round(statistics.median(b / own for b, own in zip(base, took, strict=True)), 3),
        }
        for name, took in seconds.items()
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3, help="turns the variants take (%(default)s)")
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--latency", type=float, default=0.1, help="the server's, seconds (%(default)s)")
    parser.add_argument("--bytes", type=int, default=200_000, help="of a picture, about (%(default)s)")
    parser.add_argument("--width", type=int, default=1024, help="of a picture, pixels (%(default)s)")
    parser.add_argument("--thumbnails", action="store_true", help="measure ours with thumbnails too")
    parser.add_argument(
        "--quality", action="store_true", help="measure ours with the check of the quality too"
    )
    parser.add_argument("--faces", type=int, default=100, help="distinct sources (%(default)s)")
    parser.add_argument(
        "--scenes", type=int, default=0, help="distinct references (default: each row its own)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    with (
        picture_server(options) as (url, size),
        tempfile.TemporaryDirectory(prefix="goenhance-bench-") as folder,
    ):
        print(
            f"{options.pictures} pictures of {size / 1000:.0f} kB, {options.concurrency} at once, "
            f"{options.latency * 1000:.0f} ms latency, {os.cpu_count()} processors shared with the server "
            f"(load: {os.getloadavg()[0]:.1f})"
        )
        bench = Bench(url, Path(folder), options)
        results = measure(bench, options)
    print(f"\n{'variant':24} {'seconds':>8} {'pictures/s':>10} {'cpu ms each':>11} {'ratio':>6}")
    for row in results:
        print(
            f"{row['variant']:24} {row['seconds']:8.2f} {row['per_second']:10.1f} "
            f"{row['cpu_ms_per_picture']:11.2f} {row['ratio']:6.2f}"
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of all variants together: {peak:.0f} MiB")
    if options.json:
        options.json.write_text(json.dumps({"variants": results, "peak_mib": round(peak)}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
