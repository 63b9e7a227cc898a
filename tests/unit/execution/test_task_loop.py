# SPDX-License-Identifier: Apache-2.0
"""The event loop of a task: signals interrupt the wait for it, and never the coroutine that it runs."""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import threading
from collections.abc import Callable, Iterator

import pytest

from airflow_provider_goenhance.exceptions import TaskEndedError
from airflow_provider_goenhance.execution.task_loop import TaskLoop


class Timeout(BaseException):
    """As Airflow's AirflowTaskTimeout: not an `Exception`."""


@pytest.fixture
def alarm() -> Iterator[Callable[[], None]]:
    """Return a function that raises `Timeout` in the main thread, as `execution_timeout` does."""

    def ring(*_: object) -> None:
        raise Timeout

    before = signal.signal(signal.SIGALRM, ring)
    yield lambda: os.kill(os.getpid(), signal.SIGALRM)
    signal.signal(signal.SIGALRM, before)


def test_a_coroutine_runs_off_the_main_thread_with_the_callers_context() -> None:
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name")
    name.set("the caller's")

    async def work() -> tuple[str, bool]:
        return name.get(), threading.current_thread() is threading.main_thread()

    assert TaskLoop().run(work) == ("the caller's", False)


def test_an_error_of_the_coroutine_is_raised_in_the_caller() -> None:
    async def work() -> None:
        raise KeyError("pair")

    with pytest.raises(KeyError, match="pair"):
        TaskLoop().run(work)


@pytest.mark.parametrize("alarms", [1, 2, 5])
def test_work_goes_on_to_its_own_end_after_any_number_of_alarms(
    alarm: Callable[[], None], alarms: int
) -> None:
    """A second interruption must not shorten the wait: on Python 3.11 it would, with `Thread.join`."""
    loop, done = TaskLoop(), []

    async def work() -> None:
        told = asyncio.Event()
        loop.when_ending(told.set)
        alarm()
        await told.wait()
        for _ in range(alarms - 1):
            alarm()
            await asyncio.sleep(0.05)
        done.append("the answer is committed")

    with pytest.raises(Timeout):
        loop.run(work, drain_seconds=60)
    assert done == ["the answer is committed"]
    assert loop.ended


def test_work_that_outlasts_its_bound_is_cancelled(alarm: Callable[[], None]) -> None:
    loop, ended_by = TaskLoop(), []

    async def work() -> None:
        loop.when_ending(lambda: None)
        alarm()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended_by.append("cancelled")
            raise

    with pytest.raises(Timeout):
        loop.run(work, drain_seconds=0.1)
    assert ended_by == ["cancelled"]


def test_an_announced_end_cancels_work_that_does_not_handle_it() -> None:
    loop = TaskLoop()

    async def work() -> None:
        loop.end()
        await asyncio.Event().wait()

    with pytest.raises(TaskEndedError):
        loop.run(work)


def test_nothing_starts_after_the_end_was_announced() -> None:
    loop, started = TaskLoop(), []

    async def work() -> None:
        await asyncio.sleep(0)
        started.append("work")

    loop.end()
    with pytest.raises(TaskEndedError):
        loop.run(work)
    assert started == []


def test_a_signal_handler_may_wait_for_the_work_that_the_main_thread_waits_for() -> None:
    loop, seen = TaskLoop(), []

    def handle(*_: object) -> None:
        loop.end()
        seen.append(loop.wait_until_idle(60))

    before = signal.signal(signal.SIGTERM, handle)
    try:

        async def work() -> str:
            told = asyncio.Event()
            loop.when_ending(told.set)
            os.kill(os.getpid(), signal.SIGTERM)
            await told.wait()
            return "ended in order"

        assert loop.run(work) == "ended in order"
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [True]


def test_a_coroutine_runs_where_a_loop_runs_already_and_leaves_that_one_alone() -> None:
    async def inner() -> str:
        return "done"

    async def outer() -> tuple[str, bool]:
        return TaskLoop().run(inner), asyncio.get_running_loop().is_running()

    assert asyncio.run(outer()) == ("done", True)


@pytest.mark.parametrize("error", [None, TimeoutError("late")])
def test_the_caller_does_not_wait_for_a_lookup_that_was_given_up_on(error: Exception | None) -> None:
    answered = threading.Event()

    async def give_up() -> str:
        looking_up = asyncio.get_running_loop().run_in_executor(None, answered.wait)
        await asyncio.wait({looking_up}, timeout=0)
        if error:
            raise error
        return "gave up"

    try:
        if error:
            with pytest.raises(TimeoutError, match="late"):
                TaskLoop().run(give_up)
        else:
            assert TaskLoop().run(give_up) == "gave up"
        assert not answered.is_set()
    finally:
        answered.set()
