# SPDX-License-Identifier: Apache-2.0
"""Keep the garbage collector from scanning all of Airflow, again and again, while a task makes millions of objects."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def frozen_heap() -> Iterator[None]:
    """
    Leave the objects that exist now out of all collections until the end of the context.

    They are some 300,000, most of them modules, classes and functions. Without this, collections take a third of the
    processor time of a plan. Planning leaves no cyclic garbage among them.
    """
    ours = gc.get_freeze_count() == 0
    if ours:
        gc.freeze()
    try:
        yield
    finally:
        if ours:
            gc.unfreeze()
