# SPDX-License-Identifier: Apache-2.0
"""Run a coroutine from sync code, whether or not this thread runs an event loop."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


def run_in_own_loop(main: Callable[[], Coroutine[Any, Any, T]], name: str) -> T:
    """
    Run a coroutine in an event loop of its own, in a thread of its own, and return its result.

    A signal handler that raises, as Airflow's for ``execution_timeout``, interrupts only the calling thread's wait;
    in the loop it could interrupt any line. The call returns as soon as the coroutine has ended, and not when the loop
    has closed, because closing waits for name lookups that were given up on.

    :param main: makes the coroutine; it sees a copy of the caller's context variables
    :param name: name of the thread
    """
    ended: Future[T] = Future()

    async def report() -> None:
        try:
            ended.set_result(await main())
        except Exception as error:  # noqa: BLE001  raised in the calling thread
            ended.set_exception(error)

    def run() -> None:
        try:
            asyncio.run(report())
        except BaseException as error:  # noqa: BLE001  raised in the calling thread
            if not ended.done():
                ended.set_exception(error)

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(run,), name=name, daemon=True).start()
    # Not `Thread.join`: on Python 3.11 a join that a signal interrupted returns at once the next time.
    return ended.result()
