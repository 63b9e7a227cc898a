# SPDX-License-Identifier: Apache-2.0
"""Swap faces in worker processes that end with the server."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from pathlib import Path

    from .engine import FaceSwapEngine

SWAP_TIMEOUT_SECONDS = 120.0

Faces = Literal["largest", "all"]


class SwapError(Exception):
    """A pair could not be swapped; the message starts with the engine's code."""


@dataclass(frozen=True)
class Swapped:
    """A worker's report on the picture it wrote."""

    media_type: str
    extension: str
    faces: int


class SwapPool:
    """
    A fixed number of engine processes. One that dies or hangs is replaced, without affecting other pairs.

    Not a ProcessPoolExecutor, which drops all its workers and pairs when one worker dies.

    :param workers: number of processes.
    :param faces: which faces of the reference image are replaced.
    """

    def __init__(self, workers: int, faces: Faces) -> None:
        self._faces = faces
        self._closed = False
        self._uses: set[asyncio.Future[Swapped]] = set()
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="swap")
        self._workers = {_Worker(faces) for _ in range(workers)}
        self._idle: asyncio.Queue[_Worker] = asyncio.Queue()
        for worker in self._workers:
            self._idle.put_nowait(worker)

    async def swap(self, source: bytes, reference: bytes, target: Path) -> Swapped:
        """
        Swap one pair and write the picture to `target` with the engine's own extension.

        :raises SwapError: the engine rejected the pair, died twice or hung.
        """
        worker = await self._idle.get()
        # Shielded: a cancelled caller must not leave a worker with an unread answer.
        use = asyncio.ensure_future(self._use(worker, source, reference, target))
        self._uses.add(use)
        use.add_done_callback(self._uses.discard)
        return await asyncio.shield(use)

    async def close(self) -> None:
        """Kill the workers. Unfinished pairs are swapped again after a restart."""
        self._closed = True
        for worker in self._workers:
            worker.kill()
        await asyncio.gather(*self._uses, return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _use(self, worker: _Worker, source: bytes, reference: bytes, target: Path) -> Swapped:
        try:
            for _ in range(2):
                answer = await self._ask(worker, (source, reference, target))
                if isinstance(answer, Swapped):
                    return answer
                if answer is not None:
                    raise SwapError(answer)
                worker = self._replace(worker)
            raise SwapError("engine_died: the engine process died twice on this pair")
        except TimeoutError:
            worker = self._replace(worker)
            raise SwapError(f"engine_timeout: no picture within {SWAP_TIMEOUT_SECONDS:g} s") from None
        finally:
            self._idle.put_nowait(worker)

    async def _ask(self, worker: _Worker, pair: tuple[bytes, bytes, Path]) -> Swapped | str | None:
        """Return a worker's answer, or None if it died."""
        loop = asyncio.get_running_loop()
        try:
            return await asyncio.wait_for(
                loop.run_in_executor(self._threads, worker.ask, pair), SWAP_TIMEOUT_SECONDS
            )
        except (EOFError, OSError) as error:
            if isinstance(error, TimeoutError):
                raise
            return None

    def _replace(self, worker: _Worker) -> _Worker:
        worker.kill()
        if self._closed:
            raise SwapError("engine_stopped: the sandbox is ending")
        self._workers.remove(worker)
        new = _Worker(self._faces)
        self._workers.add(new)
        return new


class _Worker:
    """An engine process and the pipe to it."""

    def __init__(self, faces: Faces) -> None:
        # spawn, because forking a process with an event loop and threads is not safe.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, faces), daemon=True)
        self._process.start()
        # Close the server's copy of the worker's end; otherwise the pipe would not end when the worker dies.
        theirs.close()

    def ask(self, pair: tuple[bytes, bytes, Path]) -> Any:
        """Send a pair and return the answer; raise EOFError or OSError if the process dies."""
        self._pipe.send(pair)
        return self._pipe.recv()

    def kill(self) -> None:
        self._process.kill()


def _work(pipe: Connection, faces: Faces) -> None:
    """Swap pairs until the server has ended."""
    # Ctrl-C in a terminal reaches the server and its workers; the server stops the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_server, daemon=True).start()
    from .engine import FaceSwapEngine

    engine = FaceSwapEngine(faces, opencv_threads=1)
    while True:
        source, reference, target = pipe.recv()
        pipe.send(_swap(engine, source, reference, target))


def _die_with_server() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(0)


def _swap(engine: FaceSwapEngine, source: bytes, reference: bytes, target: Path) -> Swapped | str:
    from .engine import EngineError

    try:
        swap = engine.swap(source, reference)
        extension = swap.extension.lstrip(".")
        _write(target.with_suffix(f".{extension}"), swap.data)
    except EngineError as error:
        return f"{error.code}: {error}"
    except Exception as error:  # noqa: BLE001 - the job must end, whatever the error
        return f"engine_error: the engine failed on this pair ({type(error).__name__})"
    return Swapped(swap.media_type, extension, len(swap.faces))


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_bytes(data)
    part.replace(path)
