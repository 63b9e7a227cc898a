# SPDX-License-Identifier: Apache-2.0
"""The figures as Airflow's metrics receive them, and as the documentation lists them."""

from __future__ import annotations

import datetime as dt
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_goenhance import metrics
from airflow_provider_goenhance.execution.meter import (
    JOB_SECONDS,
    METRICS,
    RUN_ROWS,
    SUBMITS,
    NoMeter,
    count_submits,
    meter,
    use_meter,
)
from airflow_provider_goenhance.execution.submit_report import SubmitReport
from airflow_provider_goenhance.metrics import StatsMeter, WaitingJobs, has_tags, measured
from tests.airflow_versions import replace_stats_of_triggers

PAGE = Path(__file__).resolve().parents[2] / "docs" / "observability.md"


class FakeStats:
    """Airflow's ``Stats``: keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, Any, dict[str, str]]] = []

    def incr(self, name: str, value: int, *, tags: dict[str, str]) -> None:
        self.sent.append(("incr", name, value, tags))

    def timing(self, name: str, value: dt.timedelta, *, tags: dict[str, str]) -> None:
        self.sent.append(("timing", name, value, tags))

    def gauge(self, name: str, value: float, *, tags: dict[str, str]) -> None:
        self.sent.append(("gauge", name, value, tags))


def test_a_backend_with_tags_receives_the_dag_and_the_outcome_as_tags() -> None:
    stats = FakeStats()

    StatsMeter(stats, "nightly", tagged=True).count(SUBMITS, 3, outcome="accepted")

    assert stats.sent == [("incr", "goenhance.submits", 3, {"dag_id": "nightly", "outcome": "accepted"})]


def test_plain_statsd_receives_the_outcome_in_the_name() -> None:
    stats = FakeStats()
    one = StatsMeter(stats, "nightly", tagged=False)

    one.count(SUBMITS, 3, outcome="accepted")
    one.time(JOB_SECONDS, 1.5)
    one.gauge(RUN_ROWS, 2, status="failed")

    assert [(name, value) for _, name, value, _ in stats.sent] == [
        ("goenhance.submits.accepted", 3),
        ("goenhance.job.seconds", dt.timedelta(seconds=1.5)),
        ("goenhance.run.rows.failed", 2),
    ]


def test_a_backend_in_trouble_never_fails_a_task() -> None:
    class Broken(FakeStats):
        def incr(self, name: str, value: int, *, tags: dict[str, str]) -> None:
            raise OSError("no route to host")

    StatsMeter(Broken(), "nightly", tagged=True).count(SUBMITS, 1, outcome="accepted")


def test_the_rows_of_a_round_are_counted_by_what_became_of_them() -> None:
    stats = FakeStats()
    report = SubmitReport(submitted={"a": "1", "b": "2"}, declined=1, unknown=1, cost=4)

    with use_meter(StatsMeter(stats, None, tagged=False)):
        count_submits(report)

    assert [(name, value) for _, name, value, _ in stats.sent] == [
        ("goenhance.submits.accepted", 2),
        ("goenhance.submits.declined", 1),
        ("goenhance.submits.unknown", 1),
        ("goenhance.credits", 4),
        ("goenhance.rows.failed", 1),
        ("goenhance.rows.unknown", 1),
    ]


@pytest.mark.parametrize(
    ("switches", "tags"),
    [
        ({"STATSD_ON": "True"}, False),
        ({"STATSD_ON": "True", "STATSD_INFLUXDB_ENABLED": "True"}, True),
        ({"STATSD_DATADOG_ENABLED": "True", "STATSD_ON": "True"}, True),
        ({"OTEL_ON": "True"}, True),
    ],
)
def test_the_configuration_says_whether_the_backend_has_tags(
    monkeypatch: pytest.MonkeyPatch, switches: dict[str, str], tags: bool
) -> None:
    for name, value in switches.items():
        monkeypatch.setenv(f"AIRFLOW__METRICS__{name}", value)

    assert metrics.is_on()
    assert has_tags() is tags


def test_nothing_is_measured_where_airflow_collects_no_metrics() -> None:
    with measured({}):  # type: ignore[typeddict-item]
        assert isinstance(meter(), NoMeter)
    with WaitingJobs("nightly") as waiting:
        waiting.show(10)


def test_a_triggerer_shows_the_jobs_of_all_its_triggers_by_dag(monkeypatch: pytest.MonkeyPatch) -> None:
    stats = FakeStats()
    replace_stats_of_triggers(monkeypatch, stats)
    monkeypatch.setenv("AIRFLOW__METRICS__OTEL_ON", "True")

    with WaitingJobs("nightly") as one, WaitingJobs("nightly") as two, WaitingJobs("other") as other:
        one.show(100)
        two.show(20)
        other.show(7)
        one.show(90)

    shown = [(tags["dag_id"], value) for _, _, value, tags in stats.sent]
    assert shown == [
        ("nightly", 100), ("nightly", 120), ("other", 7), ("nightly", 110),
        ("other", 0), ("nightly", 90), ("nightly", 0),
    ]  # fmt: skip
    assert {name for _, name, _, _ in stats.sent} == {"goenhance.jobs.waiting"}


def test_the_documentation_lists_every_metric_with_its_kind_and_tags() -> None:
    rows = re.findall(
        r"^\| `(goenhance\.[\w.]+)` \| (\w+) \| ([^|]+) \| (.+) \|$", PAGE.read_text(), re.MULTILINE
    )

    documented = {name: (kind, tuple(re.findall(r"`(\w+)`", tags))) for name, kind, tags, _ in rows}
    assert documented == {metric.name: (metric.kind, metric.tags) for metric in METRICS}


def test_a_task_without_metrics_loads_no_client_of_them() -> None:
    code = (
        "import sys; from airflow_provider_goenhance.metrics import measured\n"
        "with measured({}): pass\n"
        "print([name for name in ('statsd', 'datadog', 'airflow.sdk.observability.stats') if name in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )

    assert run.stdout.splitlines()[-1] == "[]"
