# SPDX-License-Identifier: Apache-2.0
"""A trigger that looks at the event loop it runs in, beside the triggers that are measured."""

from __future__ import annotations

import asyncio
import importlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from benchmarks.triggerer.gc_watch import GcWatch, tracked_objects

NAP = 0.01


def resident_mib(field: str = "VmRSS") -> float:
    """Return a memory figure of this process, MiB: ``VmRSS`` now, ``VmHWM`` at most so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


class LoopWatchTrigger(BaseTrigger):
    """
    Once a second, write a line of JSON: the time, the loop's lags in ms, requests made, collections, memory, CPU time.

    :param record: the file to write
    :param stop: the wait is over when this file exists
    """

    def __init__(self, record: str, stop: str) -> None:
        super().__init__()
        self.record, self.stop = record, stop

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{__name__}.{type(self).__name__}", {"record": self.record, "stop": self.stop}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        aiohttp = await asyncio.to_thread(importlib.import_module, "aiohttp")
        asked = 0
        plain = aiohttp.ClientSession._request

        async def pluralize(session: Any, *args: Any, **kwargs: Any) -> Any:
            nonlocal asked
            asked += 1
            return await plain(session, *args, **kwargs)

        # Every session of this process asks through it, also those opened before.
        aiohttp.ClientSession._request = pluralize
        collections = GcWatch()
        collections.start()
        try:
            while not await asyncio.to_thread(Path(self.stop).exists):
                lags = await lags_of_a_second()
                line = {
                    "time": time.time(),
                    "lags_ms": lags,
                    "asked": asked,
                    "gc_ms": collections.take(),
                    "resident_mib": resident_mib(),
                    "cpu": time.process_time(),
                }
                await asyncio.to_thread(append, self.record, json.dumps(line))
            # Once, because it blocks the loop.
            objects = tracked_objects()
            await asyncio.to_thread(append, self.record, json.dumps({"objects": objects}))
        finally:
            collections.stop()
            aiohttp.ClientSession._request = plain
        yield TriggerEvent("watched")


def append(path: str, line: str) -> None:
    with Path(path).open("a") as file:
        file.write(line + "\n")


async def lags_of_a_second() -> list[float]:
    lags = []
    ends = time.monotonic() + 1.0
    while (before := time.monotonic()) < ends:
        await asyncio.sleep(NAP)
        lags.append(round((time.monotonic() - before - NAP) * 1000, 2))
    return lags
