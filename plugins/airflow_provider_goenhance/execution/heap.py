# SPDX-License-Identifier: Apache-2.0
"""Keep the garbage collector from scanning the same objects again and again, while a task makes millions of them."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

#: Frozen objects that are no sign of another freeze: Python 3.12 starts with a few hundred of its own.
MOST_FROZEN_BY_PYTHON = 1_000
#: New objects after which the young ones are scanned. With Python's 700, the rows that are at work are scanned so
#: often that it takes a tenth of the processor time of a first plan, and a fifth of one that reuses pictures.
YOUNG_OBJECTS = 50_000


@contextmanager
def frozen_heap() -> Iterator[None]:
    """
    Leave the objects that exist now out of all collections until the end of the context, and collect less often.

    They are some 300,000, most of them modules, classes and functions. Without this, collections take a third of the
    processor time of a plan. Planning leaves no cyclic garbage among them.
    """
    ours = gc.get_freeze_count() <= MOST_FROZEN_BY_PYTHON
    thresholds = gc.get_threshold()
    if ours:
        gc.freeze()
    if 0 < thresholds[0] < YOUNG_OBJECTS:  # with 0, somebody has switched collections off
        gc.set_threshold(YOUNG_OBJECTS, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        if ours:
            gc.unfreeze()
