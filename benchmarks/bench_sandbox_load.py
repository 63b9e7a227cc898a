# SPDX-License-Identifier: Apache-2.0
"""Measure the submits per second that the sandbox accepts in load mode, and check its ledger."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from include.sandbox.process import SandboxProcess

SUBMIT = "/api/v1/imagefaceswap/generate"


async def submit_all(
    sandbox: SandboxProcess, submits: int, concurrency: int
) -> tuple[float, list[str], list[float]]:
    """Submit numbered pairs and return the seconds it took, the UUIDs and each call's seconds."""
    numbers = iter(range(submits))
    uuids: list[str] = []
    calls: list[float] = []

    async def slot(session: aiohttp.ClientSession) -> None:
        for number in numbers:
            args = {
                "source_img": f"http://bench.invalid/s{number}",
                "reference_img": "http://bench.invalid/r",
            }
            start = time.perf_counter()
            async with session.post(SUBMIT, json={"type": "mx-image-face-swap", "args": args}) as answer:
                uuids.append((await answer.json())["data"]["img_uuid"])
            calls.append(time.perf_counter() - start)

    async with aiohttp.ClientSession(
        sandbox.url,
        headers={"Authorization": f"Bearer {sandbox.token}"},
        connector=aiohttp.TCPConnector(limit=concurrency),
    ) as session:
        start = time.perf_counter()
        await asyncio.gather(*(slot(session) for _ in range(concurrency)))
        return time.perf_counter() - start, uuids, calls


def check_ledger(sandbox: SandboxProcess, uuids: list[str], submits: int) -> bool:
    """Return whether the sandbox's ledger contains exactly the UUIDs the client received, once per pair."""
    ledger = sandbox.submissions()
    return (
        len(ledger) == submits
        and {entry["img_uuid"] for entry in ledger} == set(uuids)
        and len({entry["source_img"] for entry in ledger}) == submits
    )


def measure(submits: int, concurrency: int) -> dict[str, Any]:
    """Run once against a fresh sandbox, with a crash at the end to see that the ledger is on disk."""
    with SandboxProcess(engine="none", job_seconds=1.0) as sandbox:
        seconds, uuids, calls = asyncio.run(submit_all(sandbox, submits, concurrency))
        exact = check_ledger(sandbox, uuids, submits)
        sandbox.kill()
        sandbox.start()
        exact_after_crash = check_ledger(sandbox, uuids, submits)
    cuts = statistics.quantiles(calls, n=100)
    return {
        "submits": submits,
        "concurrency": concurrency,
        "seconds": round(seconds, 3),
        "submits_per_second": round(submits / seconds),
        "p50_ms": round(cuts[49] * 1000, 1),
        "p99_ms": round(cuts[98] * 1000, 1),
        "ledger_exact": exact,
        "ledger_exact_after_sigkill": exact_after_crash,
    }


def main() -> int:
    """Print a table, and write the figures with --json FILE; 1 if a ledger was not exact."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--submits", type=int, default=10_000)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args()
    runs = [measure(options.submits, concurrency) for concurrency in options.concurrency]
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()}
    print(f"sandbox load mode, {options.submits} submits, one client process; {machine}")
    print(f"{'concurrency':>11} {'submits/s':>10} {'p50 ms':>8} {'p99 ms':>8}  ledger  after SIGKILL")
    for run in runs:
        print(
            f"{run['concurrency']:>11} {run['submits_per_second']:>10} {run['p50_ms']:>8} {run['p99_ms']:>8}"
            f"  {'exact' if run['ledger_exact'] else 'WRONG':<6}"
            f"  {'exact' if run['ledger_exact_after_sigkill'] else 'WRONG'}"
        )
    if options.json:
        figures = {"benchmark": "sandbox_load", "machine": machine, "runs": runs}
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0 if all(run["ledger_exact"] and run["ledger_exact_after_sigkill"] for run in runs) else 1


if __name__ == "__main__":
    sys.exit(main())
