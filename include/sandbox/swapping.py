# SPDX-License-Identifier: Apache-2.0
"""Swapping faces in worker processes, which never outlive the server."""

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
    """A pair that gave no picture; the message starts with the engine's code."""


@dataclass(frozen=True)
class Swapped:
    """What a worker reports about the picture it wrote."""

    media_type: str
    extension: str
    faces: int


class SwapPool:
    """
    A fixed number of engine processes; one that dies or hangs is replaced and takes no other pair with it.

    Not a ProcessPoolExecutor: that one gives up all of its workers and pairs when one worker dies.

    :param workers: how many processes.
    :param faces: whose face of the reference changes.
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

        :raises SwapError: a coded refusal of the engine, or an engine that died twice or hung.
        """
        worker = await self._idle.get()
        # Shielded: a caller that is cancelled must not leave a worker with an answer nobody takes.
        use = asyncio.ensure_future(self._use(worker, source, reference, target))
        self._uses.add(use)
        use.add_done_callback(self._uses.discard)
        return await asyncio.shield(use)

    async def close(self) -> None:
        """End the workers at once; what they were doing is done again after a restart."""
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
        """Return a worker's answer, None if it died."""
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
    """One engine process and the pipe to it."""

    def __init__(self, faces: Faces) -> None:
        # spawn: forking a process that runs an event loop and threads is not safe.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, faces), daemon=True)
        self._process.start()
        # Ours must be the only other end, or the worker's death would not end the pipe.
        theirs.close()

    def ask(self, pair: tuple[bytes, bytes, Path]) -> Any:
        """Send a pair and wait for its answer; EOFError or OSError if the process dies over it."""
        self._pipe.send(pair)
        return self._pipe.recv()

    def kill(self) -> None:
        self._process.kill()


def _work(pipe: Connection, faces: Faces) -> None:
    """Serve pairs until the server is gone."""
    # The server decides when a worker ends; a Ctrl-C in the terminal reaches both.
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
    except Exception as error:  # noqa: BLE001 - whatever a picture does to the engine, its job must end
        return f"engine_error: the engine failed on this pair ({type(error).__name__})"
    return Swapped(swap.media_type, extension, len(swap.faces))


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_bytes(data)
    part.replace(path)
