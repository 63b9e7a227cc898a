# SPDX-License-Identifier: Apache-2.0
"""
Wait for many jobs in one loop: when to poll each one, and what its response means.

Both the worker that waits inline and the trigger of a deferred task run :func:`wait_for_jobs`, so one place decides
that a job has succeeded, failed, or is given up on.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import math
import random
import time
from collections.abc import Awaitable, Callable, Collection, Mapping

from ..exceptions import AuthenticationError, GoEnhanceError, JobNotFoundError
from .models import Job, JobState
from .pace import MOST_CALLS, SLOWEST, Pace, pace_of_loop
from .wait_outcome import WaitOutcome as WaitOutcome

log = logging.getLogger(__name__)

#: Seconds between two status calls for one job: the vendor's advice (https://docs.goenhance.ai/guides/best-practices.md).
DEFAULT_POLL_INTERVAL = 5.0
#: After this many seconds a job is polled less and less often ...
OLD_AFTER = 120.0
#: ... down to once in this many seconds.
MAX_POLL_INTERVAL = 60.0
#: A job is given up on after this many responses that say "job not found", without one that describes it ...
NOT_FOUND_LIMIT = 5
#: ... over at least this many seconds: what is lost for good can be paid for again.
NOT_FOUND_SECONDS = 300.0
#: A busy loop and a failing service make polls rarer, but a job is polled once in this many seconds, or in its own
#: interval where that is longer.
LONGEST_PAUSE = MAX_POLL_INTERVAL * SLOWEST
#: Seconds between two log lines about progress, and between two warnings about failed calls.
PROGRESS_EVERY = 30.0
#: After the deadline every open job is polled once more, for at most this many seconds ...
LAST_ROUND_SECONDS = 90.0
#: ... and until this many calls in a row have failed: the service is down then.
LAST_ROUND_FAULTS = 10


def next_interval(age: float, poll_interval: float) -> float:
    """
    Return the seconds until a job is polled again.

    :param age: seconds since the wait for it began
    :param poll_interval: the interval for new jobs, seconds
    """
    if age <= OLD_AFTER:
        return poll_interval
    return min(max(MAX_POLL_INTERVAL, poll_interval), poll_interval * age / OLD_AFTER)


def progress_line(done: int, failed: int, total: int, _seconds: float) -> str:
    """Return the line about the progress of a wait."""
    return f"{done} of {total} jobs finished, {failed} of them failed."


class _Wait:
    """The state of one wait: when each job is due, and what is known so far."""

    def __init__(
        self,
        img_uuids: Collection[str],
        deadline: float,
        poll_interval: float,
        pace: Pace,
        hand_over_after: float | None = None,
        doubts: Mapping[str, tuple[int, float]] | None = None,
        since: float | None = None,
    ) -> None:
        self.outcome = WaitOutcome(running=list(dict.fromkeys(img_uuids)))
        self.hand_over_after = hand_over_after
        self.deadline = deadline
        self.poll_interval = poll_interval
        self.pace = pace
        self.started = time.monotonic()
        self.age_at_start = 0.0 if since is None else max(0.0, time.time() - since)
        self.faults_in_a_row = 0
        self.progress: Callable[[int, int, int, float], str] = progress_line
        self.progress_every = PROGRESS_EVERY
        self._last_line = self.started
        self._last_warning: float | None = None
        self._open = set(self.outcome.running)
        # How often each job was said to be unknown, and since when.
        self._not_found = {
            img_uuid: (count, self.started - max(0.0, time.time() - since))
            for img_uuid, (count, since) in (doubts or {}).items()
            if img_uuid in self._open
        }
        self._ended_unclearly: set[str] = set()
        # Spread over one interval, so that a thousand jobs are not polled at the same instant. The offset is random, so
        # that neither are those of triggers that start together.
        spread = next_interval(self.age_at_start, poll_interval) / max(1, len(self._open))
        offset = random.uniform(0.0, spread)  # noqa: S311  not cryptography
        self._due = [
            (self.started + offset + spread * place, img_uuid)
            for place, img_uuid in enumerate(self.outcome.running)
        ]
        heapq.heapify(self._due)

    @property
    def over(self) -> bool:
        return not self._open or self.seconds_left <= 0 or self.is_handed_over

    @property
    def is_handed_over(self) -> bool:
        return self._until_hand_over <= 0 < self.seconds_left

    @property
    def _until_hand_over(self) -> float:
        """Return the seconds until the jobs that have ended are handed over, infinite while none has."""
        if self.hand_over_after is None or len(self._open) == len(self.outcome.running):
            return math.inf
        return self.hand_over_after - (time.monotonic() - self.started)

    @property
    def longest_pause(self) -> float:
        return min(self.seconds_left, self._until_hand_over)

    @property
    def open_jobs(self) -> list[str]:
        return [img_uuid for img_uuid in self.outcome.running if img_uuid in self._open]

    @property
    def seconds_left(self) -> float:
        # Wall clock, because the deadline must survive a restart of the triggerer.
        return self.deadline - time.time()

    def take_due(self, at_most: int) -> list[str]:
        now = time.monotonic()
        due: list[str] = []
        while self._due and len(due) < at_most and self._due[0][0] <= now:
            due.append(heapq.heappop(self._due)[1])
        return due

    def seconds_until_due(self) -> float | None:
        """Return the seconds until the next job is due, ``None`` while every open job is being polled."""
        return max(0.0, self._due[0][0] - time.monotonic()) if self._due else None

    def poll_again(self, img_uuid: str, *, factor: float = 1.0) -> None:
        now = time.monotonic()
        normal = next_interval(self.age_at_start + now - self.started, self.poll_interval)
        # The loop is busy for seconds, and the pace of this moment would hold for a wait of hours.
        interval = min(normal * factor * self.pace.factor, max(normal, LONGEST_PAUSE))
        interval *= random.uniform(0.9, 1.1)  # noqa: S311  not cryptography
        heapq.heappush(self._due, (now + interval, img_uuid))

    def record(self, job: Job) -> None:
        self._not_found.pop(job.img_uuid, None)
        self.outcome.last_error = None
        self.faults_in_a_row = 0
        if job.state is JobState.RUNNING:
            if job.ended_unclearly:
                self._warn_of_status(job)
            self.poll_again(job.img_uuid)
            return
        self._open.discard(job.img_uuid)
        if job.state is JobState.SUCCEEDED:
            self.outcome.succeeded.append(job.img_uuid)
        else:
            self.outcome.failed[job.img_uuid] = job.reason or ""

    def record_error(self, img_uuid: str, error: GoEnhanceError) -> None:
        if isinstance(error, AuthenticationError):
            raise error
        if isinstance(error, JobNotFoundError):
            if self._is_lost(img_uuid):
                self._open.discard(img_uuid)
                self.outcome.declined[img_uuid] = str(error)
                return
        else:
            self.outcome.last_error = str(error)
            self.faults_in_a_row += 1
            self._warn(error)
        # A failing service is polled half as often.
        self.poll_again(img_uuid, factor=2.0)

    def _is_lost(self, img_uuid: str) -> bool:
        """Count a response that says "job not found", and return whether it is to be believed."""
        now = time.monotonic()
        count, since = self._not_found.get(img_uuid, (0, now))
        self._not_found[img_uuid] = (count + 1, since)
        return count + 1 >= NOT_FOUND_LIMIT and now - since >= NOT_FOUND_SECONDS

    def _warn_of_status(self, job: Job) -> None:
        if job.img_uuid not in self._ended_unclearly:
            self._ended_unclearly.add(job.img_uuid)
            log.warning(
                "GoEnhance reports job %s as ended at %s with the status %r, which is not known to be a success or a "
                "failure. It is polled until the deadline.",
                job.img_uuid,
                job.ended_at,
                job.status,
            )

    def _warn(self, error: GoEnhanceError) -> None:
        now = time.monotonic()
        if self._last_warning is None or now - self._last_warning >= PROGRESS_EVERY:
            self._last_warning = now
            log.warning("%s The jobs keep running at GoEnhance and are polled until the deadline.", error)

    def show_progress(self) -> None:
        now = time.monotonic()
        if now - self._last_line >= self.progress_every:
            self._last_line = now
            outcome = self.outcome
            done = len(outcome.succeeded) + len(outcome.failed) + len(outcome.declined)
            total = done + len(self._open)
            log.info("%s", self.progress(done, len(outcome.failed), total, now - self.started))

    def close(self, handed_over: bool) -> WaitOutcome:
        outcome = self.outcome
        outcome.running, outcome.handed_over = self.open_jobs, handed_over
        doubts = {uuid: self._not_found[uuid] for uuid in outcome.running if uuid in self._not_found}
        outcome.doubted = {img_uuid: count for img_uuid, (count, _) in doubts.items()}
        # Wall clock, for a wait that continues in another process.
        now = time.time() - time.monotonic()
        outcome.doubted_since = {img_uuid: now + since for img_uuid, (_, since) in doubts.items()}
        return outcome


async def wait_for_jobs(
    get_job: Callable[[str], Awaitable[Job]],
    img_uuids: Collection[str],
    *,
    deadline: float,
    poll_interval: float = DEFAULT_POLL_INTERVAL,
    max_concurrency: int = 10,
    host: str = "",
    calls_per_host: int = MOST_CALLS,
    progress: Callable[[int, int, int, float], str] | None = None,
    progress_every: float = PROGRESS_EVERY,
    hand_over_after: float | None = None,
    doubts: Mapping[str, tuple[int, float]] | None = None,
    since: float | None = None,
    on_success: Callable[[Job], None] | None = None,
) -> WaitOutcome:
    """
    Poll jobs until each has succeeded, failed or is given up on, or the deadline has passed.

    Jobs still open at the deadline are polled once more, even if the deadline passed before the wait began: a finished
    job is never reported as timed out.

    :param get_job: the detail call, with its own retries
    :param img_uuids: the jobs
    :param deadline: end of the wait, seconds since the epoch (wall clock)
    :param poll_interval: seconds between two status calls for one new job
    :param max_concurrency: calls of this wait in flight at once
    :param host: the host that is polled
    :param calls_per_host: calls in flight at once to the host, from all waits of the event loop
    :param progress: renders the log line about the jobs that have ended, those of them that failed, all jobs, and the
        seconds since the wait began
    :param progress_every: seconds between two such lines
    :param hand_over_after: end the wait after this many seconds, as soon as a job has ended by then
    :param doubts: ``img_uuid`` -> how often GoEnhance had said "job not found" before this wait, and since when,
        seconds since the epoch
    :param since: when the wait for these jobs began, seconds since the epoch, if it began before this one: they are
        polled as often as their age asks for
    :param on_success: called with each job that has succeeded, while the others are waited for
    :raises AuthenticationError: at once: no job can be polled with this token
    """
    slots = max(1, max_concurrency)

    async def poll(img_uuid: str) -> None:
        try:
            async with calls:
                job = await get_job(img_uuid)
        except GoEnhanceError as error:
            wait.record_error(img_uuid, error)
        else:
            wait.record(job)
            if on_success is not None and job.state is JobState.SUCCEEDED:
                on_success(job)

    with pace_of_loop() as pace:
        calls = pace.calls_to(host, calls_per_host)
        wait = _Wait(img_uuids, deadline, max(0.05, poll_interval), pace, hand_over_after, doubts, since)
        wait.progress, wait.progress_every = progress or progress_line, progress_every
        await _until_deadline(wait, poll, slots)
        handed_over = bool(wait.open_jobs) and wait.is_handed_over
        if wait.open_jobs and not handed_over:
            await _last_round(wait, poll, slots)
    return wait.close(handed_over)


async def _until_deadline(wait: _Wait, poll: Callable[[str], Awaitable[None]], most_slots: int) -> None:
    under_way: set[asyncio.Task[None]] = set()
    try:
        while not wait.over:
            slots = max(1, int(most_slots / wait.pace.factor))
            for img_uuid in wait.take_due(slots - len(under_way)):
                under_way.add(asyncio.ensure_future(poll(img_uuid)))
            until_due = wait.seconds_until_due()
            pause = wait.longest_pause if until_due is None else min(wait.longest_pause, until_due)
            if under_way:
                done, under_way = await asyncio.wait(
                    under_way,
                    timeout=max(0.0, wait.longest_pause if len(under_way) >= slots else pause),
                    return_when=asyncio.FIRST_COMPLETED,
                )
                for task in done:
                    task.result()
            else:
                await asyncio.sleep(max(0.0, min(pause, wait.progress_every)))
            wait.show_progress()
    finally:
        await _cancel(under_way)


async def _last_round(wait: _Wait, poll: Callable[[str], Awaitable[None]], slots: int) -> None:
    wait.faults_in_a_row = 0
    to_poll = iter(wait.open_jobs)

    async def slot() -> None:
        for img_uuid in to_poll:
            if wait.faults_in_a_row >= LAST_ROUND_FAULTS:
                return
            await poll(img_uuid)

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
