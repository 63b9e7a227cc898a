# SPDX-License-Identifier: Apache-2.0
"""
Send figures to Airflow's metrics: StatsD, Datadog or OpenTelemetry, whichever the installation has switched on.

Nothing is imported, and nothing is sent, where it has none.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .compatibility import stats_of_tasks, stats_of_triggers
from .execution.meter import JOBS_WAITING, Meter, Metric, use_meter

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

_SECTION = "metrics"


class StatsMeter:
    """
    Sends figures to Airflow's ``Stats``.

    :param stats: Airflow's ``Stats``
    :param dag_id: the tag of every figure, ``None`` where it is not known
    :param tagged: whether the backend has tags; without them, the values of all tags but ``dag_id`` follow the name
    """

    def __init__(self, stats: Any, dag_id: str | None, *, tagged: bool) -> None:
        self._stats = stats
        self._dag_id = dag_id
        self._tagged = tagged

    def count(self, metric: Metric, value: int = 1, **tags: str) -> None:
        """Add to a counter."""
        self._send(self._stats.incr, metric, value, tags)

    def time(self, metric: Metric, seconds: float, **tags: str) -> None:
        """Record a duration."""
        self._send(self._stats.timing, metric, dt.timedelta(seconds=seconds), tags)

    def gauge(self, metric: Metric, value: float, **tags: str) -> None:
        """Set a gauge."""
        self._send(self._stats.gauge, metric, value, tags)

    def _send(self, send: Callable[..., Any], metric: Metric, value: Any, tags: dict[str, str]) -> None:
        name = metric.name
        if not self._tagged:
            name = ".".join([name, *(tags[tag].replace(".", "_") for tag in metric.tags if tag in tags)])
        if self._dag_id is not None:
            tags = {"dag_id": self._dag_id, **tags}
        try:
            send(name, value, tags=tags)
        except Exception:
            log.debug("The metric %s could not be sent.", name, exc_info=True)


@contextmanager
def measured(context: Context) -> Iterator[None]:
    """Send the figures of a task that runs to Airflow's metrics, if the installation has any."""
    if not is_on():
        yield
        return
    with use_meter(StatsMeter(stats_of_tasks(), context["ti"].dag_id, tagged=has_tags())):
        yield


def is_on() -> bool:
    """Return whether the installation collects metrics."""
    return _switch("statsd_on") or _switch("statsd_datadog_enabled") or _switch("otel_on")


def has_tags() -> bool:
    """Return whether the backend has tags: Datadog and OpenTelemetry do, StatsD where they are switched on."""
    if _switch("statsd_datadog_enabled"):
        return True
    return _switch("statsd_influxdb_enabled") if _switch("statsd_on") else True


def _switch(name: str) -> bool:
    from airflow.providers.common.compat.sdk import conf

    return bool(conf.getboolean(_SECTION, name, fallback=False))


#: How many jobs each wait in this process waits for, with the Dag's id.
_waits: dict[object, tuple[str | None, int]] = {}


class WaitingJobs:
    """
    Shows how many jobs all triggers of this process wait for, by Dag. Open it for as long as one of them waits.

    :param dag_id: the Dag whose jobs are waited for, ``None`` if it is not known
    """

    def __init__(self, dag_id: str | None) -> None:
        self._dag_id = dag_id
        self._meter: Meter | None = None
        self._hostname = ""

    def __enter__(self) -> WaitingJobs:
        if is_on():
            from airflow.utils.net import get_hostname

            self._hostname = get_hostname()
            self._meter = StatsMeter(stats_of_triggers(), self._dag_id, tagged=has_tags())
        return self

    def __exit__(self, *_: object) -> None:
        if self._meter is not None:
            _waits.pop(self, None)
            self._show(self._meter)

    def show(self, jobs: int) -> None:
        """
        Show how many jobs this trigger waits for.

        :param jobs: those that have not ended yet
        """
        if self._meter is not None:
            _waits[self] = (self._dag_id, jobs)
            self._show(self._meter)

    def _show(self, meter: Meter) -> None:
        total = sum(jobs for dag_id, jobs in _waits.values() if dag_id == self._dag_id)
        meter.gauge(JOBS_WAITING, total, hostname=self._hostname)
