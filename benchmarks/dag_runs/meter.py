# SPDX-License-Identifier: Apache-2.0
"""Processor time and memory of a stack's processes, by their part in it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

MIB = 2**20
#: Often enough to see a task of a second; a sample takes about a millisecond per process.
EVERY_SECONDS = 0.25
LAST_TASK_SECONDS = 5.0


class Meter:
    """
    Measures from :meth:`start` to :meth:`stop`.

    Processor time is that of the processes and of those children that have ended. A task is a child of an executor's
    worker, which is a child of the scheduler.

    :param roots: name of a component -> id of its first process
    """

    def __init__(self, roots: Mapping[str, int]) -> None:
        self._roots = {name: psutil.Process(pid) for name, pid in roots.items()}
        self._peaks: dict[str, float] = defaultdict(float)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._before: dict[str, float] = {}

    def start(self) -> None:
        """Begin to measure."""
        self._before = self._cpu()
        self._thread.start()

    def stop(self) -> tuple[dict[str, float], dict[str, float]]:
        """
        Return the processor seconds and the peak memory in MiB of each component, ``task`` among them.

        The last task may end after its run: its time counts once its worker has noticed that.
        """
        end = time.monotonic() + LAST_TASK_SECONDS
        while any(part == "task" for part, _ in self._processes()) and time.monotonic() < end:
            time.sleep(0.05)
        self._done.set()
        self._thread.join()
        after = self._cpu()
        return {name: after[name] - self._before.get(name, 0.0) for name in after}, dict(self._peaks)

    def _cpu(self) -> dict[str, float]:
        found: dict[str, float] = defaultdict(float)
        for name, root in self._roots.items():
            for process in [root, *root.children(recursive=True)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    times = process.cpu_times()
                    worker = name == "scheduler" and process.ppid() == root.pid
                    found[name] += times.user + times.system
                    found["task" if worker else name] += times.children_user + times.children_system
        return found

    def _sample(self) -> None:
        while not self._done.wait(EVERY_SECONDS):
            for part, process in self._processes():
                with contextlib.suppress(psutil.NoSuchProcess, OSError):
                    size = _peak(process.pid) if part == "task" else process.memory_info().rss / MIB
                    self._peaks[part] = max(self._peaks[part], size)

    def _processes(self) -> Iterator[tuple[str, psutil.Process]]:
        for name, root in self._roots.items():
            yield name, root
            with contextlib.suppress(psutil.NoSuchProcess):
                for child in root.children():
                    yield ("worker" if name == "scheduler" else name), child
                    if name == "scheduler":
                        yield from (("task", task) for task in child.children())


def _peak(pid: int) -> float:
    """Return the most memory that a process has had so far, in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0
