# SPDX-License-Identifier: Apache-2.0
"""
Waiting for many jobs in one loop: when to ask again, and what an answer means.

The worker that waits inline and the trigger that waits for a deferred task both run :func:`wait_for_jobs`, so there
is one place that decides that a job is done, failed, or given up on.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import random
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field

from ..exceptions import BadRequestError, GoEnhanceError, TokenRefusedError
from .models import Job, JobState

log = logging.getLogger(__name__)

#: Seconds between two checks of one job: the vendor's advice (https://docs.goenhance.ai/guides/best-practices.md).
DEFAULT_POLL_INTERVAL = 5.0
#: A job older than this many seconds is checked less and less often ...
OLD_AFTER = 120.0
#: ... down to once in so many seconds.
MAX_POLL_INTERVAL = 60.0
#: An answer like "no such job" must come this many times in a row before a job is given up on.
DECLINED_LIMIT = 5
#: Seconds between two lines of progress in the log.
PROGRESS_EVERY = 30.0


@dataclass(slots=True)
class WaitOutcome:
    """
    What became of the jobs waited for.

    :param succeeded: UUIDs of jobs that are done
    :param failed: UUID -> the vendor's reason, ``""`` where it gave none
    :param declined: UUID -> message, for jobs that GoEnhance would not speak about
    :param running: UUIDs of jobs that were still running at the deadline
    :param last_error: the last fault while asking, if the last round ended with one
    """

    succeeded: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    declined: dict[str, str] = field(default_factory=dict)
    running: list[str] = field(default_factory=list)
    last_error: str | None = None

    def __str__(self) -> str:
        text = f"{len(self.succeeded)} done, {len(self.failed)} failed, {len(self.running)} running"
        return text + (f", {len(self.declined)} not known to GoEnhance" if self.declined else "")


def next_interval(age: float, poll_interval: float) -> float:
    """
    Return the seconds until a job is asked about again.

    :param age: seconds since the wait for it began
    :param poll_interval: the interval for young jobs, seconds
    """
    if age <= OLD_AFTER:
        return poll_interval
    return min(max(MAX_POLL_INTERVAL, poll_interval), poll_interval * age / OLD_AFTER)


class _Wait:
    """The bookkeeping of one wait: which job is due when, and what is known so far."""

    def __init__(self, uuids: Collection[str], deadline: float, poll_interval: float) -> None:
        self.outcome = WaitOutcome(running=list(dict.fromkeys(uuids)))
        self.deadline = deadline
        self.poll_interval = poll_interval
        self.started = time.monotonic()
        self._open = set(self.outcome.running)
        self._declined: dict[str, int] = {}
        # Spread over one interval, so that a thousand jobs do not ask in the same instant.
        spread = poll_interval / max(1, len(self._open))
        self._due = [(self.started + spread * i, uuid) for i, uuid in enumerate(self.outcome.running)]
        heapq.heapify(self._due)

    @property
    def over(self) -> bool:
        return not self._open or self.seconds_left <= 0

    @property
    def seconds_left(self) -> float:
        # Wall clock, because the deadline must mean the same in another process after a triggerer restart.
        return self.deadline - time.time()

    def take_due(self, at_most: int) -> list[str]:
        now = time.monotonic()
        due: list[str] = []
        while self._due and len(due) < at_most and self._due[0][0] <= now:
            due.append(heapq.heappop(self._due)[1])
        return due

    def seconds_until_due(self) -> float | None:
        """Seconds until the next job is due, ``None`` while every open job is being asked about."""
        return max(0.0, self._due[0][0] - time.monotonic()) if self._due else None

    def ask_again(self, uuid: str, *, factor: float = 1.0) -> None:
        now = time.monotonic()
        interval = next_interval(now - self.started, self.poll_interval) * factor
        # Scheduling noise, not cryptography.
        interval *= random.uniform(0.9, 1.1)  # noqa: S311
        heapq.heappush(self._due, (now + interval, uuid))

    def record(self, job: Job) -> None:
        self._declined.pop(job.img_uuid, None)
        self.outcome.last_error = None
        if job.state is JobState.RUNNING:
            self.ask_again(job.img_uuid)
            return
        self._open.discard(job.img_uuid)
        if job.state is JobState.SUCCEEDED:
            self.outcome.succeeded.append(job.img_uuid)
        else:
            self.outcome.failed[job.img_uuid] = job.reason or ""

    def record_error(self, uuid: str, error: GoEnhanceError) -> None:
        if isinstance(error, TokenRefusedError):
            raise error
        if isinstance(error, BadRequestError):
            self._declined[uuid] = self._declined.get(uuid, 0) + 1
            if self._declined[uuid] >= DECLINED_LIMIT:
                self._open.discard(uuid)
                self.outcome.declined[uuid] = str(error)
                return
        elif self.outcome.last_error is None:
            log.warning("%s The job goes on at GoEnhance; asking again until the deadline.", error)
            self.outcome.last_error = str(error)
        # A service in trouble is asked half as often.
        self.ask_again(uuid, factor=2.0)

    def close(self) -> WaitOutcome:
        self.outcome.running = [uuid for uuid in self.outcome.running if uuid in self._open]
        return self.outcome

    def progress(self) -> str:
        done = len(self.outcome.succeeded) + len(self.outcome.failed) + len(self.outcome.declined)
        return f"{done} of {done + len(self._open)} jobs finished, {len(self.outcome.failed)} of them failed"


async def wait_for_jobs(
    get_job: Callable[[str], Awaitable[Job]],
    uuids: Collection[str],
    *,
    deadline: float,
    poll_interval: float = DEFAULT_POLL_INTERVAL,
    max_concurrency: int = 10,
) -> WaitOutcome:
    """
    Ask about jobs until each is done, failed, given up on, or the deadline is over.

    Every job is asked about at least once, also when the deadline has passed already: what is finished is never
    reported as timed out.

    :param get_job: the detail call, with its own retries
    :param uuids: the jobs
    :param deadline: end of the wait, seconds since the epoch (wall clock)
    :param poll_interval: seconds between two checks of one young job
    :param max_concurrency: calls under way at once
    :raises TokenRefusedError: at once: no job can be asked about with this token
    """
    wait = _Wait(uuids, deadline, max(0.05, poll_interval))
    under_way: set[asyncio.Task[None]] = set()
    last_line = time.monotonic()

    async def ask(uuid: str) -> None:
        try:
            job = await get_job(uuid)
        except GoEnhanceError as error:
            wait.record_error(uuid, error)
        else:
            wait.record(job)

    if wait.seconds_left <= 0:
        await _ask_once(wait, ask, max_concurrency)
    try:
        while not wait.over:
            for uuid in wait.take_due(max_concurrency - len(under_way)):
                under_way.add(asyncio.create_task(ask(uuid)))
            until_due = wait.seconds_until_due()
            pause = min(wait.seconds_left, 1.0 if until_due is None else until_due)
            if under_way:
                full = len(under_way) >= max_concurrency
                done, under_way = await asyncio.wait(
                    under_way,
                    timeout=wait.seconds_left if full else pause,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                for task in done:
                    task.result()
            else:
                await asyncio.sleep(max(0.0, pause))
            if time.monotonic() - last_line >= PROGRESS_EVERY:
                last_line = time.monotonic()
                log.info("%s.", wait.progress())
    finally:
        await _cancel(under_way)
    return wait.close()


async def _ask_once(wait: _Wait, ask: Callable[[str], Awaitable[None]], max_concurrency: int) -> None:
    slots = asyncio.Semaphore(max_concurrency)

    async def in_turn(uuid: str) -> None:
        async with slots:
            await ask(uuid)

    await asyncio.gather(*(in_turn(uuid) for uuid in list(wait.outcome.running)))


async def _cancel(tasks: set[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
