# SPDX-License-Identifier: Apache-2.0
"""A callback gets the report that the report task has pushed, and is not called without one."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_goenhance.notifications.report import on_report, report_of

REPORT = {"state": "failed", "pairs": 2, "text": "1 of 2 pictures"}


class TaskInstance:
    """What the callback uses of a task instance: the XComs of the run."""

    task_id = "report"

    def __init__(self, **reports: Any) -> None:
        self.reports = reports

    def xcom_pull(self, *, task_ids: str, key: str) -> Any:
        assert key == "report"
        return self.reports.get(task_ids)


def test_the_report_is_that_of_the_callbacks_own_task_or_of_a_named_one() -> None:
    context = {"ti": TaskInstance(report=REPORT, weekly_report={"pairs": 7})}

    assert report_of(context) == REPORT
    assert report_of(context, "weekly_report") == {"pairs": 7}


def test_the_function_gets_a_report_of_its_own() -> None:
    sent: list[dict[str, Any]] = []
    ti = TaskInstance(weekly_report=REPORT)

    on_report(sent.append, task_id="weekly_report")({"ti": ti})  # type: ignore[arg-type]
    sent[0]["pairs"] = 0

    assert (sent, REPORT["pairs"]) == ([{**REPORT, "pairs": 0}], 2)


@pytest.mark.parametrize("found", [None, "not a report"])
def test_without_a_report_nothing_is_sent_and_the_log_says_so(
    found: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def send(report: dict[str, Any]) -> None:
        raise AssertionError(report)

    on_report(send)({"ti": TaskInstance(report=found)})  # type: ignore[arg-type]

    assert caplog.messages == ["The task has pushed no report, so none is sent."]
