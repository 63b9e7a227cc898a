# SPDX-License-Identifier: Apache-2.0
"""How a task hands its wait over to the triggerer."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Sequence
from typing import Any

from .face_swap import GoEnhanceJobsTrigger

#: Seconds that Airflow's own time-out of a deferral comes after ours, so that ours is the one that speaks.
FRAMEWORK_GRACE = 120.0


def wait_in_triggerer(
    goenhance_conn_id: str, img_uuids: Sequence[str], *, deadline: float, poll_interval: float
) -> dict[str, Any]:
    """
    Return the arguments with which an operator defers itself; it goes on in ``execute_complete``.

    :param goenhance_conn_id: the connection to ask through
    :param img_uuids: the jobs
    :param deadline: end of the wait, seconds since the epoch
    :param poll_interval: seconds between two checks of one young job
    """
    return {
        "trigger": GoEnhanceJobsTrigger(
            goenhance_conn_id=goenhance_conn_id,
            img_uuids=list(img_uuids),
            deadline=deadline,
            poll_interval=poll_interval,
        ),
        "method_name": "execute_complete",
        "timeout": dt.timedelta(seconds=max(0.0, deadline - time.time()) + FRAMEWORK_GRACE),
    }
