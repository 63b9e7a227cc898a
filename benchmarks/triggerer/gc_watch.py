# SPDX-License-Identifier: Apache-2.0
"""Measure the garbage collections of a process."""

from __future__ import annotations

import gc
import time
from typing import Any


class GcWatch:
    """Record each collection from ``start`` to ``stop``: its generation, and how long it held up all Python code."""

    def __init__(self) -> None:
        self.pauses: list[tuple[int, float]] = []
        self._started = 0.0

    def start(self) -> None:
        gc.callbacks.append(self._note)

    def stop(self) -> None:
        gc.callbacks.remove(self._note)

    def take(self) -> list[tuple[int, float]]:
        """Return the collections since the last call, each as generation and milliseconds."""
        pauses, self.pauses = self.pauses, []
        return pauses

    def _note(self, phase: str, info: dict[str, Any]) -> None:
        if phase == "start":
            self._started = time.perf_counter()
        else:
            pause_ms = round((time.perf_counter() - self._started) * 1000, 2)
            self.pauses.append((info["generation"], pause_ms))


def gc_figures(pauses: list[tuple[int, float]], seconds: float) -> dict[str, float]:
    """
    Summarize collections.

    :param pauses: generation and milliseconds of each
    :param seconds: how long they were recorded
    """
    full = [pause for generation, pause in pauses if generation == 2]
    young = [pause for generation, pause in pauses if generation < 2]
    return {
        "full_gc_per_minute": len(full) * 60 / seconds,
        "full_gc_max_ms": max(full, default=0.0),
        "young_gc_per_second": len(young) / seconds,
        "young_gc_max_ms": max(young, default=0.0),
        "gc_share": sum(full + young) / 1000 / seconds,
    }


def tracked_objects() -> dict[str, int]:
    """Return how many objects a full collection looks at, and how many are frozen."""
    return {"tracked_objects": len(gc.get_objects()), "frozen_objects": gc.get_freeze_count()}
