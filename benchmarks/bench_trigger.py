# SPDX-License-Identifier: Apache-2.0
"""
Ten thousand jobs in flight in one event loop: our trigger beside one trigger per job.

A sandbox in load mode holds the jobs, which do not finish while we look. Each way of waiting runs in a fresh process,
as a triggerer would run it, and is measured once every job has been asked about for the first time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "plugins"), str(ROOT)]
os.environ.setdefault("AIRFLOW_HOME", str(ROOT / ".local" / "bench-airflow"))

import aiohttp
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_goenhance.api.account import Account
from airflow_provider_goenhance.api.client import GoEnhanceClient, open_client
from airflow_provider_goenhance.triggers.face_swap import GoEnhanceJobsTrigger
from benchmarks.triggerer.gc_watch import GcWatch, gc_figures, tracked_objects
from include.sandbox.process import SandboxProcess

POLL_INTERVAL = 5.0
WARM_UP = 2 * POLL_INTERVAL
#: What Airflow's triggerer sleeps between two looks at its own event loop, seconds, and when it complains.
TRIGGERER_NAP, TRIGGERER_LIMIT = 0.1, 0.2
PICTURES = ("https://example.com/face.jpg", "https://example.com/scene.jpg")

polls = 0


class OneJobTrigger(BaseTrigger):
    """What one would otherwise write: one job, one session, ask and sleep."""

    def __init__(self, url: str, token: str, img_uuid: str) -> None:
        super().__init__()
        self.url, self.token, self.img_uuid = url, token, img_uuid

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "benchmarks.bench_trigger.OneJobTrigger", {
            "url": self.url,
            "token": self.token,
            "img_uuid": self.img_uuid,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        global polls
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {self.token}"}) as session:
            while True:
                async with session.get(
                    f"{self.url}/api/v1/jobs/detail", params={"img_uuid": self.img_uuid}
                ) as response:
                    answer = await response.json()
                polls += 1
                if answer["data"]["status"] in {"success", "failed"}:
                    break
                await asyncio.sleep(POLL_INTERVAL)
        yield TriggerEvent(answer["data"])


def count_polls() -> None:
    """Count our client's status calls where they are answered."""
    plain = GoEnhanceClient.get_job

    async def counted_get_job(self: GoEnhanceClient, img_uuid: str) -> Any:
        global polls
        job = await plain(self, img_uuid)
        polls += 1
        return job

    GoEnhanceClient.get_job = counted_get_job  # type: ignore[method-assign]


def resident(field: str) -> float:
    """Return a memory figure of this process, MiB: ``VmRSS`` now, ``VmHWM`` at most so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


async def first_event(trigger: BaseTrigger) -> None:
    async for _ in trigger.run():
        return


async def watch_lag(lags: list[float], nap: float) -> None:
    while True:
        before = time.perf_counter()
        await asyncio.sleep(nap)
        lags.append(time.perf_counter() - before - nap)


def share(values: list[float], quantile: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * quantile))] if values else 0.0


async def measure(triggers: list[BaseTrigger], seconds: float) -> dict[str, float]:
    before = resident("VmRSS")
    tasks = [asyncio.create_task(first_event(trigger)) for trigger in triggers]
    starting: list[float] = []
    starting_watch = asyncio.create_task(watch_lag(starting, 0.01))
    await asyncio.sleep(WARM_UP)
    starting_watch.cancel()
    lags: list[float] = []
    naps: list[float] = []
    watches = [
        asyncio.create_task(watch_lag(lags, 0.01)),
        asyncio.create_task(watch_lag(naps, TRIGGERER_NAP)),
    ]
    collections = GcWatch()
    collections.start()
    started, polls_before, cpu = time.perf_counter(), polls, time.process_time()
    await asyncio.sleep(seconds)
    took = time.perf_counter() - started
    collections.stop()
    figures = {
        "polls_per_second": (polls - polls_before) / took,
        "lag_p50_ms": share(lags, 0.5) * 1000,
        "lag_p99_ms": share(lags, 0.99) * 1000,
        "lag_max_ms": max(lags) * 1000,
        "lag_max_at_start_ms": max(starting) * 1000,
        "triggerer_complaints": sum(nap + TRIGGERER_NAP > TRIGGERER_LIMIT for nap in naps),
        "cpu_share": (time.process_time() - cpu) / took,
        **gc_figures(collections.take(), took),
        **tracked_objects(),
        "memory_before_mib": before,
        "memory_peak_mib": resident("VmHWM"),
    }
    ended = [task for task in tasks if task.done()]
    for task in [*tasks, *watches]:
        task.cancel()
    await asyncio.gather(*tasks, *watches, return_exceptions=True)
    if ended:
        raise SystemExit(f"{len(ended)} triggers ended while they were measured; the figures mean nothing.")
    return figures


def worker(way: str, url: str, token: str, per_trigger: int, seconds: float) -> None:
    """Run one way of waiting over the UUIDs on standard input, and print its figures."""
    img_uuids = sys.stdin.read().split()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.environ["AIRFLOW_CONN_GOENHANCE_DEFAULT"] = json.dumps(
        {"conn_type": "goenhance", "host": url, "password": token}
    )
    if way == "ours":
        count_polls()
        deadline = time.time() + 3600
        triggers: list[BaseTrigger] = [
            GoEnhanceJobsTrigger(
                "goenhance_default", img_uuids[at : at + per_trigger], deadline, POLL_INTERVAL
            )
            for at in range(0, len(img_uuids), per_trigger)
        ]
    else:
        triggers = [OneJobTrigger(url, token, img_uuid) for img_uuid in img_uuids]
    figures = asyncio.run(measure(triggers, seconds))
    print(json.dumps({"jobs": len(img_uuids), "triggers": len(triggers), **figures}))


async def submit(sandbox: SandboxProcess, jobs: int) -> list[str]:
    account = Account("bench", sandbox.token, sandbox.url, max_concurrency=32)
    async with open_client(account) as client:
        done = await asyncio.gather(*(client.submit(*PICTURES) for _ in range(jobs)))
    return [submission.img_uuid for submission in done]


def run_worker(
    way: str, sandbox: SandboxProcess, img_uuids: list[str], options: argparse.Namespace
) -> dict[str, Any]:
    command = [sys.executable, __file__, "--worker", way, "--url", sandbox.url, "--token", sandbox.token]
    command += ["--per-trigger", str(options.per_trigger), "--seconds", str(options.seconds)]
    done = subprocess.run(command, input="\n".join(img_uuids), stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def show(rows: dict[str, dict[str, Any]]) -> None:
    names = list(next(iter(rows.values())))
    print(f"{'':24}" + "".join(f"{name:>24}" for name in rows))
    for name in names:
        print(f"{name:24}" + "".join(f"{figures[name]:>24,.2f}" for figures in rows.values()))


def grown_mib(figures: dict[str, Any]) -> float:
    return figures["memory_peak_mib"] - figures["memory_before_mib"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--per-trigger", type=int, default=500)
    parser.add_argument("--plain-jobs", type=int, default=1_000, help="jobs for one trigger per job")
    parser.add_argument("--seconds", type=float, default=15.0, help="how long to measure")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    parser.add_argument("--worker", choices=("ours", "plain"), help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--token", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(options.worker, options.url, options.token, options.per_trigger, options.seconds)
        return
    with SandboxProcess(engine="none", job_seconds=86_400) as sandbox:
        img_uuids = asyncio.run(submit(sandbox, options.jobs))
        rows = {
            "ours": run_worker("ours", sandbox, img_uuids, options),
            "a trigger per job": run_worker("plain", sandbox, img_uuids[: options.plain_jobs], options),
        }
    for figures in rows.values():
        figures["kib_per_job"] = grown_mib(figures) * 1024 / figures["jobs"]
        figures["cpu_ms_per_poll"] = figures["cpu_share"] * 1000 / figures["polls_per_second"]
    show(rows)
    ours, plain = rows["ours"], rows["a trigger per job"]
    print(
        f"At {ours['jobs']:,} jobs one trigger per job would grow by "
        f"{plain['kib_per_job'] * ours['jobs'] / 1024:,.0f} MiB (ours: {grown_mib(ours):,.0f}) and hold "
        f"{ours['jobs']:,} connections. Its lag is that of {plain['jobs']:,} jobs, not scaled."
    )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")
    if ours["lag_p99_ms"] >= 100:
        raise SystemExit(
            f"p99 of the event loop's lag is {ours['lag_p99_ms']:.0f} ms; it must be below 100 ms."
        )


if __name__ == "__main__":
    main()
