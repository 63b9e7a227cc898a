# SPDX-License-Identifier: Apache-2.0
"""
Short garbage collections in a process that waits for thousands of jobs.

A triggerer holds some 200,000 objects that live as long as it does: modules, classes, the provider registry. Each full
pass of Python's garbage collector walks through all of them and stops the event loop meanwhile, 0.1 to 0.3 seconds,
which the triggerer reports as a blocked thread. Ten thousand polled jobs make a full pass due every few seconds.
"""

from __future__ import annotations

import gc
import logging

from ..settings import may_freeze_heap

log = logging.getLogger(__name__)

_frozen = False


def freeze_heap_once() -> None:
    """
    Take what is in memory now out of all later collections, once in the life of a process.

    Without a collection first: that would be the very stop that it is to avoid. So cyclic garbage of this moment is
    never given back, which is why it happens once only. ``[goenhance] freeze_heap = False`` leaves the collector alone.
    """
    global _frozen
    if _frozen:
        return
    _frozen = True
    if may_freeze_heap():
        gc.freeze()
        log.debug(
            "Froze %d objects: full garbage collections stay short from here on.", gc.get_freeze_count()
        )
