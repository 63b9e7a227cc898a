# SPDX-License-Identifier: Apache-2.0
"""
Keep garbage collections short in a process that waits for thousands of jobs.

A triggerer holds some 200,000 objects for its whole life: modules, classes, the provider registry. Each full garbage
collection scans all of them and blocks the event loop for 0.1 to 0.3 seconds, which the triggerer reports as a blocked
thread. With ten thousand polled jobs a full collection is due every few seconds.
"""

from __future__ import annotations

import gc
import logging

from ..settings import may_freeze_heap

log = logging.getLogger(__name__)

_frozen = False


def freeze_heap_once() -> None:
    """
    Exclude all objects in memory from later collections, once in the life of a process, if configured.

    There is no collection first, as that would block the loop. So cyclic garbage of this moment is never freed, that of
    other people's triggers included: it happens only once, and only with ``[goenhance] freeze_heap = True``.
    """
    global _frozen
    if _frozen:
        return
    _frozen = True
    if may_freeze_heap():
        gc.freeze()
        log.debug("Froze %d objects, so that full garbage collections stay short.", gc.get_freeze_count())
