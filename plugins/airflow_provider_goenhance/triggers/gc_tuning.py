# SPDX-License-Identifier: Apache-2.0
"""
Keep full garbage collections short in a triggerer.

A triggerer holds some 280,000 objects for its whole life: modules, classes, the provider registry. A full collection
scans all of them and blocks every trigger for 0.15 to 0.4 seconds, which the triggerer reports as a blocked thread.
Ten thousand polled jobs cause one every six seconds. They create no cyclic garbage; it is the objects of the calls in
flight, which survive the young collections, that make a full one due (docs/performance.md).
"""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import threading

from ..settings import may_freeze_heap

log = logging.getLogger(__name__)

_tried = False


def freeze_heap_at_start() -> None:
    """
    Exclude what a triggerer has loaded at its start from later collections, unless ``[goenhance] freeze_heap`` is off.

    Airflow loads plugins when it creates the triggerer's job, before it forks the process that runs the triggers. So
    nothing of any trigger is frozen, only modules that stay loaded anyway. The fork inherits the frozen heap, as
    that of the Dag processor does. What is garbage at that moment is freed first.

    Once triggers run, or in any other component, this does nothing.
    """
    global _tried
    if _tried:
        return
    _tried = True
    if _is_starting_triggerer() and may_freeze_heap():
        gc.collect()
        gc.freeze()
        log.debug("Froze %d objects, so that full garbage collections stay short.", gc.get_freeze_count())


def _is_starting_triggerer() -> bool:
    # Airflow's hooks do not say which component starts: the job that `on_starting` receives has no type yet.
    if sys.argv[1:2] != ["triggerer"] or threading.current_thread() is not threading.main_thread():
        return False
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return True
    return False  # the process that runs triggers
