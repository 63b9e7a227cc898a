# SPDX-License-Identifier: Apache-2.0
"""The code of the pages about observability and examples makes the tasks that it shows."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, task

from airflow_provider_goenhance.decorators.face_swap_batch import DecoratedFaceSwapBatchOperator

DOCS = Path(__file__).resolve().parents[2] / "docs"


def blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)


class ReportedTask:
    """A task instance whose task has pushed a report."""

    def xcom_pull(self, *, key: str) -> dict[str, str]:
        assert key == "report"
        return {
            "state": "failed",
            "text": "1 of 2 pictures.",
            "page": "https://airflow.example/goenhance/swaps",
        }


def test_the_documented_mail_has_the_report_in_it() -> None:
    pytest.importorskip("airflow.providers.smtp")
    names: dict[str, Any] = {}
    with DAG("documented", schedule=None, start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC)):
        exec(blocks("observability.md")[0], names)
    mail = names["mail"]

    mail.render_template_fields({"ti": ReportedTask()})

    assert mail.subject == "Face swaps failed"
    assert mail.html_content == (
        '1 of 2 pictures. <a href="https://airflow.example/goenhance/swaps">Rows</a>'
    )


def test_the_documented_callback_is_a_callback_of_the_report() -> None:
    first, second = blocks("observability.md")
    with DAG("documented", schedule=None, start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC)) as dag:
        exec(second, {"GoEnhanceReportOperator": _imported(first)})

    assert callable(dag.get_task("report").on_failure_callback[0])


def _imported(code: str) -> Any:
    names: dict[str, Any] = {}
    exec(re.search(r"^from airflow_provider_goenhance.*$", code, re.MULTILINE)[0], names)  # type: ignore[index]
    return names["GoEnhanceReportOperator"]


def test_the_documented_function_becomes_a_task_that_swaps_its_pairs() -> None:
    [code] = blocks("examples.md")
    with DAG("documented", schedule=None, start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC)) as dag:
        exec(code, {"task": task, "orders_of": list})

    swap = dag.get_task("swap")
    assert isinstance(swap, DecoratedFaceSwapBatchOperator)
    assert (swap.deferrable, swap.max_pairs, swap.op_args) == (True, 100, ("{{ ds }}",))
