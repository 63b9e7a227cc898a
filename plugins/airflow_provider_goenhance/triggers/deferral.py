# SPDX-License-Identifier: Apache-2.0
"""Hand a task's wait over to the triggerer."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Sequence
from typing import Any

from .face_swap import GoEnhanceJobsTrigger

#: Seconds between our deadline and Airflow's timeout of the deferral, so that ours comes first, with its message.
FRAMEWORK_GRACE = 120.0


def wait_in_triggerer(
    goenhance_conn_id: str, img_uuids: Sequence[str], *, deadline: float, poll_interval: float
) -> dict[str, Any]:
    """
    Return the arguments of ``BaseOperator.defer``; the task resumes in ``execute_complete``.

    :param goenhance_conn_id: connection of the account
    :param img_uuids: the jobs
    :param deadline: end of the wait, seconds since the epoch
    :param poll_interval: seconds between two status calls for one new job
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
