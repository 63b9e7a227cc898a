# SPDX-License-Identifier: Apache-2.0
"""
The report of a run for people: its counts, its credits, the page and the files.

The report task pushes it to XCom under :data:`..operators.report.REPORT_KEY`, whether it succeeds or fails. A notifier
of another provider renders it in a template; a callback of your own gets it from :func:`report_of`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..operators.report import REPORT_KEY

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)


def report_of(context: Context | Mapping[str, Any], task_id: str | None = None) -> dict[str, Any] | None:
    """
    Return the report of a run, ``None`` if its report task has not got so far.

    :param context: what Airflow passes to a callback
    :param task_id: the report task; default: the task that the callback belongs to
    """
    ti = context["ti"]
    found = ti.xcom_pull(task_ids=task_id or ti.task_id, key=REPORT_KEY)
    return dict(found) if isinstance(found, Mapping) else None


def on_report(
    send: Callable[[dict[str, Any]], object], *, task_id: str | None = None
) -> Callable[[Context], None]:
    """
    Return a callback for ``on_success_callback`` and ``on_failure_callback`` that sends the report of a run.

    :param send: called with the report; not called if there is none
    :param task_id: the report task; default: the task that the callback belongs to
    """

    def callback(context: Context) -> None:
        report = report_of(context, task_id)
        if report is None:
            log.warning("The task has pushed no report, so none is sent.")
            return
        send(report)

    return callback
