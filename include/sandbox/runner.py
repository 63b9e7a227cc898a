# SPDX-License-Identifier: Apache-2.0
"""Run accepted jobs until they succeed or fail."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING

from .fetch import FetchError, fetch_picture, open_session
from .placeholder import EXTENSION, MEDIA_TYPE
from .swapping import SwapError, Swapped, SwapPool

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import aiohttp

    from .faults import FaultPlan
    from .jobs import Job

# Share of its time in which a job is pending; then it is processing.
_PENDING_PART = 0.2
# Pairs per worker whose pictures are in memory at the same time.
_PAIRS_IN_HAND = 3


class Runner:
    """
    Starts jobs within `queue_limit` and ends them; calls `on_end` for each job that ends.

    :param load_kind: extension and media type of the pictures of load mode
    """

    def __init__(
        self,
        plan: FaultPlan,
        pool: SwapPool | None,
        workers: int,
        pictures: Path,
        load_kind: tuple[str, str] = (EXTENSION, MEDIA_TYPE),
    ) -> None:
        self._plan = plan
        self._pool = pool
        self._pictures = pictures
        self._load_kind = load_kind
        self._slots = asyncio.Semaphore(workers * _PAIRS_IN_HAND)
        self._queue: deque[Job] = deque()
        self._running: dict[int, asyncio.TimerHandle | asyncio.Task[None] | None] = {}
        self._session = open_session() if pool is not None else None
        self.on_end: Callable[[Job], None] = lambda job: None

    @property
    def queued(self) -> int:
        """Number of accepted jobs that have not started."""
        return len(self._queue)

    @property
    def running(self) -> int:
        """Number of jobs in progress."""
        return len(self._running)

    def add(self, job: Job) -> None:
        """Queue a job."""
        self._queue.append(job)
        self.start_waiting()

    def start_waiting(self) -> None:
        """Start as many queued jobs as the limit allows."""
        limit = self._plan.switches.queue_limit
        while self._queue and (limit is None or len(self._running) < limit):
            self._start(self._queue.popleft())

    def drop_all(self) -> None:
        """Drop every job that has not ended."""
        self._queue.clear()
        running, self._running = self._running, {}
        for handle in running.values():
            if handle is not None:
                handle.cancel()

    async def close(self) -> None:
        """Stop all work. Jobs that have not ended continue after a restart."""
        self.drop_all()
        if self._pool is not None:
            await self._pool.close()
        if self._session is not None:
            await self._session.close()

    def _start(self, job: Job) -> None:
        loop = asyncio.get_running_loop()
        job.state = "running"
        pending_seconds = job.seconds * _PENDING_PART
        if job.fate == "stuck":
            job.processing_at = time.time() + pending_seconds
            self._running[job.sequence] = None
        elif self._pool is None or job.fate == "failed":
            job.processing_at = time.time() + pending_seconds
            self._running[job.sequence] = loop.call_later(job.seconds, self._end_without_picture, job)
        else:
            self._running[job.sequence] = loop.create_task(self._swap(job, pending_seconds))

    async def _swap(self, job: Job, pending_seconds: float) -> None:
        due = time.time() + job.seconds
        await asyncio.sleep(pending_seconds)
        try:
            async with self._slots:
                job.processing_at = time.time()
                swapped = await self._make_picture(job)
        except (FetchError, SwapError) as error:
            outcome = {"error": str(error)}
        except OSError as error:
            outcome = {"error": f"sandbox_error: the picture could not be stored ({error.strerror})"}
        else:
            outcome = {"media_type": swapped.media_type}
        await asyncio.sleep(due - time.time())
        self._end(job, **outcome)

    async def _make_picture(self, job: Job) -> Swapped:
        if self._pool is None or self._session is None:
            raise SwapError("no_engine: this sandbox runs in load mode")
        source, reference = await asyncio.gather(
            self._fetch(self._session, "source_img", job.source_img),
            self._fetch(self._session, "reference_img", job.reference_img),
        )
        job.name_result("jpg")
        swapped = await self._pool.swap(source, reference, self._pictures / job.result_path)
        job.result_path = job.result_path.removesuffix("jpg") + swapped.extension
        return swapped

    async def _fetch(self, session: aiohttp.ClientSession, role: str, url: str) -> bytes:
        switches = self._plan.switches
        return await fetch_picture(
            session,
            role,
            url,
            limit=switches.image_limit_bytes,
            timeout_seconds=switches.fetch_timeout,
        )

    def _end_without_picture(self, job: Job) -> None:
        if job.fate == "failed":
            self._end(job, error=job.fate_reason)
        else:
            extension, media_type = self._load_kind
            job.name_result(extension)
            self._end(job, media_type=media_type)

    def _end(self, job: Job, *, media_type: str = "", error: str = "") -> None:
        job.ended_at = time.time()
        job.state = "failed" if error else "success"
        job.error = error
        job.media_type = media_type
        self._running.pop(job.sequence, None)
        self.on_end(job)
        self.start_waiting()
