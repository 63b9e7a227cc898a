# SPDX-License-Identifier: Apache-2.0
"""A coroutine that sync code runs in a loop and a thread of its own."""

from __future__ import annotations

import asyncio
import contextvars
import threading

import pytest

from airflow_provider_goenhance.api.own_loop import run_in_own_loop

WORD = contextvars.ContextVar("WORD", default="")


async def where_am_i() -> tuple[str, threading.Thread]:
    WORD.set(f"{WORD.get()}, seen")
    return WORD.get(), threading.current_thread()


def test_it_sees_a_copy_of_the_callers_context_in_a_thread_of_its_own() -> None:
    WORD.set("set by the caller")
    word, thread = run_in_own_loop(where_am_i, "mine")
    assert word == "set by the caller, seen"
    assert WORD.get() == "set by the caller"
    assert (thread.name, thread is threading.current_thread()) == ("mine", False)


def test_it_runs_where_a_loop_runs_already_and_leaves_that_one_alone() -> None:
    async def outer() -> bool:
        run_in_own_loop(where_am_i, "mine")
        return asyncio.get_running_loop().is_running()

    assert asyncio.run(outer())


def test_its_error_is_raised_in_the_calling_thread() -> None:
    async def fail() -> None:
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        run_in_own_loop(fail, "mine")


@pytest.mark.parametrize("error", [None, TimeoutError("late")])
def test_it_does_not_wait_for_a_lookup_that_was_given_up_on(error: Exception | None) -> None:
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
                run_in_own_loop(give_up, "mine")
        else:
            assert run_in_own_loop(give_up, "mine") == "gave up"
        assert not answered.is_set()
    finally:
        answered.set()
