# SPDX-License-Identifier: Apache-2.0
"""Swapping faces in worker processes, which never outlive the server."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

SWAP_TIMEOUT_SECONDS = 120.0

_engine: Any = None


class SwapError(Exception):
    """A pair that gave no picture; the message starts with the engine's code."""


@dataclass(frozen=True)
class Swapped:
    """What a worker reports about the picture it wrote."""

    media_type: str
    extension: str
    faces: int


class SwapPool:
    """A pool of engine processes that replaces itself when one dies or hangs."""

    def __init__(self, workers: int, faces: Literal["largest", "all"]) -> None:
        self._workers = workers
        self._faces = faces
        self._pool: ProcessPoolExecutor | None = None

    async def swap(self, source: bytes, reference: bytes, target: Path) -> Swapped:
        """
        Swap one pair and write the picture to `target` with the engine's own extension.

        :raises SwapError: a coded refusal of the engine, or an engine that died twice or hung.
        """
        for last_try in (False, True):
            pool = self._pool or self._start()
            work = asyncio.get_running_loop().run_in_executor(pool, _swap, source, reference, target)
            try:
                answer = await asyncio.wait_for(work, SWAP_TIMEOUT_SECONDS)
            except TimeoutError:
                self._replace(pool)
                raise SwapError(f"engine_timeout: no picture within {SWAP_TIMEOUT_SECONDS:g} s") from None
            except BrokenProcessPool:
                self._replace(pool)
                if last_try:
                    raise SwapError("engine_died: the engine process died twice on this pair") from None
            else:
                if isinstance(answer, str):
                    raise SwapError(answer)
                return answer
        raise AssertionError("unreachable")

    def warm_up(self) -> None:
        """Start the workers and load the models before the first job needs them."""
        pool = self._pool or self._start()
        for _ in range(self._workers):
            pool.submit(_load)

    def close(self) -> None:
        """End the workers at once; what they were doing is done again after a restart."""
        if self._pool is not None:
            self._replace(self._pool)

    def _start(self) -> ProcessPoolExecutor:
        # spawn: forking a process that runs an event loop and threads is not safe.
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(
            self._workers, mp_context=context, initializer=_prepare_worker, initargs=(self._faces,)
        )
        return self._pool

    def _replace(self, pool: ProcessPoolExecutor) -> None:
        # A pair on a pool that another pair already replaced must not end the new one.
        if pool is not self._pool:
            return
        self._pool = None
        pool.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():
            child.kill()


def _prepare_worker(faces: Literal["largest", "all"]) -> None:
    global _engine
    threading.Thread(target=_die_with_server, daemon=True).start()
    # The server decides when a worker ends; a Ctrl-C in the terminal reaches it first.
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import cv2

    from .engine import FaceSwapEngine

    cv2.setNumThreads(1)
    _engine = FaceSwapEngine(faces=faces)


def _die_with_server() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(0)


def _load() -> None:
    """Do nothing: a worker that runs this has loaded its engine."""


def _swap(source: bytes, reference: bytes, target: Path) -> Swapped | str:
    from .engine import EngineError

    try:
        swap = _engine.swap(source, reference)
    except EngineError as error:
        # As text: an exception class of its own may not survive the way back between processes.
        return f"{error.code}: {error}"
    except Exception as error:  # noqa: BLE001 - whatever a picture does to the engine, its job must end
        return f"engine_error: the engine failed on this pair ({type(error).__name__})"
    target.parent.mkdir(parents=True, exist_ok=True)
    complete = target.with_suffix(f".{swap.extension.lstrip('.')}")
    part = complete.with_suffix(f".part{os.getpid()}")
    part.write_bytes(swap.data)
    part.replace(complete)
    return Swapped(swap.media_type, swap.extension.lstrip("."), len(swap.faces))
