# SPDX-License-Identifier: Apache-2.0
"""
Spans of the rounds of a task: submit, wait, collect, with counts as attributes.

They are children of the span that Airflow opens for the task. Where it opens none, because OpenTelemetry is not
installed or traces are off, there is no span and nothing is imported.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class NoSpan:
    """Stands for a span that nothing records."""

    def set(self, **counts: float | str | bool) -> None:
        """Do nothing."""


class Span(NoSpan):
    """A span that is recorded."""

    def __init__(self, span: Any) -> None:
        self._span = span

    def set(self, **counts: float | str | bool) -> None:
        """Set attributes."""
        self._span.set_attributes({f"goenhance.{name}": value for name, value in counts.items()})


@contextmanager
def span(name: str, **counts: float | str | bool) -> Iterator[NoSpan]:
    """
    Open a span below the current one, if that is recorded.

    :param name: of the round, such as ``submit``
    :param counts: attributes
    """
    # Airflow's task runner imports it, where it has it.
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None or not trace.get_current_span().is_recording():
        yield NoSpan()
        return
    with trace.get_tracer("airflow_provider_goenhance").start_as_current_span(f"goenhance.{name}") as opened:
        recorded = Span(opened)
        recorded.set(**counts)
        yield recorded
