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

from ..exceptions import AuthenticationError, BadRequestError, GoEnhanceError
from .models import Job, JobState
from .pace import Pace, pace_of_loop

log = logging.getLogger(__name__)

#: Seconds between two checks of one job: the vendor's advice (https://docs.goenhance.ai/guides/best-practices.md).
DEFAULT_POLL_INTERVAL = 5.0
#: A job older than this many seconds is checked less and less often ...
OLD_AFTER = 120.0
#: ... down to once in so many seconds.
MAX_POLL_INTERVAL = 60.0
#: An answer like "no such job" must come this many times in a row before a job is given up on.
DECLINED_LIMIT = 5
#: Seconds between two lines of progress, and between two warnings about faults, in the log.
PROGRESS_EVERY = 30.0
#: When the deadline is over, every job still open is asked about once more, for at most so many seconds ...
LAST_ROUND_SECONDS = 90.0
#: ... and until so many calls in a row have failed: then there is nobody to ask.
LAST_ROUND_FAULTS = 10


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

    def __init__(self, uuids: Collection[str], deadline: float, poll_interval: float, pace: Pace) -> None:
        self.outcome = WaitOutcome(running=list(dict.fromkeys(uuids)))
        self.deadline = deadline
        self.poll_interval = poll_interval
        self.pace = pace
        self.started = time.monotonic()
        self.faults_in_a_row = 0
        self._last_line = self.started
        self._last_warning: float | None = None
        self._open = set(self.outcome.running)
        self._declined: dict[str, int] = {}
        # Spread over one interval, so that a thousand jobs do not ask in the same instant; the start of it is drawn,
        # so that neither do the triggers that a triggerer starts together.
        spread = poll_interval / max(1, len(self._open))
        offset = random.uniform(0.0, spread)  # noqa: S311  not cryptography
        self._due = [
            (self.started + offset + spread * place, uuid) for place, uuid in enumerate(self.outcome.running)
        ]
        heapq.heapify(self._due)

    @property
    def over(self) -> bool:
        return not self._open or self.seconds_left <= 0

    @property
    def open_jobs(self) -> list[str]:
        return [uuid for uuid in self.outcome.running if uuid in self._open]

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
        interval = next_interval(now - self.started, self.poll_interval) * factor * self.pace.factor
        interval *= random.uniform(0.9, 1.1)  # noqa: S311  not cryptography
        heapq.heappush(self._due, (now + interval, uuid))

    def record(self, job: Job) -> None:
        self._declined.pop(job.img_uuid, None)
        self.outcome.last_error = None
        self.faults_in_a_row = 0
        if job.state is JobState.RUNNING:
            self.ask_again(job.img_uuid)
            return
        self._open.discard(job.img_uuid)
        if job.state is JobState.SUCCEEDED:
            self.outcome.succeeded.append(job.img_uuid)
        else:
            self.outcome.failed[job.img_uuid] = job.reason or ""

    def record_error(self, uuid: str, error: GoEnhanceError) -> None:
        if isinstance(error, AuthenticationError):
            raise error
        if isinstance(error, BadRequestError):
            self._declined[uuid] = self._declined.get(uuid, 0) + 1
            if self._declined[uuid] >= DECLINED_LIMIT:
                self._open.discard(uuid)
                self.outcome.declined[uuid] = str(error)
                return
        else:
            self.outcome.last_error = str(error)
            self.faults_in_a_row += 1
            self._warn(error)
        # A service in trouble is asked half as often.
        self.ask_again(uuid, factor=2.0)

    def _warn(self, error: GoEnhanceError) -> None:
        now = time.monotonic()
        if self._last_warning is None or now - self._last_warning >= PROGRESS_EVERY:
            self._last_warning = now
            log.warning("%s The jobs go on at GoEnhance; they are asked about until the deadline.", error)

    def show_progress(self) -> None:
        now = time.monotonic()
        if now - self._last_line >= PROGRESS_EVERY:
            self._last_line = now
            outcome = self.outcome
            done = len(outcome.succeeded) + len(outcome.failed) + len(outcome.declined)
            total = done + len(self._open)
            log.info("%d of %d jobs finished, %d of them failed.", done, total, len(outcome.failed))

    def close(self) -> WaitOutcome:
        self.outcome.running = self.open_jobs
        return self.outcome


async def wait_for_jobs(
    get_job: Callable[[str], Awaitable[Job]],
    uuids: Collection[str],
    *,
    deadline: float,
    poll_interval: float = DEFAULT_POLL_INTERVAL,
    max_concurrency: int = 10,
    host: str = "",
) -> WaitOutcome:
    """
    Ask about jobs until each is done, failed, given up on, or the deadline is over.

    What is still open at the deadline is asked about one last time, also when the deadline had passed before the wait
    began: a job that is finished is not reported as timed out.

    :param get_job: the detail call, with its own retries
    :param uuids: the jobs
    :param deadline: end of the wait, seconds since the epoch (wall clock)
    :param poll_interval: seconds between two checks of one young job
    :param max_concurrency: calls of this wait under way at once
    :param host: whom the jobs are asked of; all waits of a loop that ask one host share :data:`.pace.MOST_CALLS`
    :raises AuthenticationError: at once: no job can be asked about with this token
    """
    slots = max(1, max_concurrency)

    async def ask(uuid: str) -> None:
        try:
            async with calls:
                job = await get_job(uuid)
        except GoEnhanceError as error:
            wait.record_error(uuid, error)
        else:
            wait.record(job)

    with pace_of_loop() as pace:
        calls = pace.calls_to(host)
        wait = _Wait(uuids, deadline, max(0.05, poll_interval), pace)
        await _until_deadline(wait, ask, slots)
        if wait.open_jobs:
            await _last_round(wait, ask, slots)
    return wait.close()


async def _until_deadline(wait: _Wait, ask: Callable[[str], Awaitable[None]], most_slots: int) -> None:
    under_way: set[asyncio.Task[None]] = set()
    try:
        while not wait.over:
            slots = max(1, int(most_slots / wait.pace.factor))
            for uuid in wait.take_due(slots - len(under_way)):
                under_way.add(asyncio.ensure_future(ask(uuid)))
            until_due = wait.seconds_until_due()
            pause = wait.seconds_left if until_due is None else min(wait.seconds_left, until_due)
            if under_way:
                done, under_way = await asyncio.wait(
                    under_way,
                    timeout=wait.seconds_left if len(under_way) >= slots else pause,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                for task in done:
                    task.result()
            else:
                await asyncio.sleep(max(0.0, min(pause, PROGRESS_EVERY)))
            wait.show_progress()
    finally:
        await _cancel(under_way)


async def _last_round(wait: _Wait, ask: Callable[[str], Awaitable[None]], slots: int) -> None:
    wait.faults_in_a_row = 0
    to_ask = iter(wait.open_jobs)

    async def slot() -> None:
        for uuid in to_ask:
            if wait.faults_in_a_row >= LAST_ROUND_FAULTS:
                return
            await ask(uuid)

    tasks = {asyncio.ensure_future(slot()) for _ in range(slots)}
    try:
        done, _ = await asyncio.wait(tasks, timeout=LAST_ROUND_SECONDS, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        await _cancel(tasks)


async def _cancel(tasks: set[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
