# SPDX-License-Identifier: Apache-2.0
"""Spans of the rounds: below the task's span where it is recorded, and none otherwise."""

from __future__ import annotations

import subprocess
import sys

import pytest

from airflow_provider_goenhance.execution.spans import NoSpan, span

pytest.importorskip("opentelemetry.sdk.trace")
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


@pytest.fixture
def provider() -> tuple[TracerProvider, InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider, exporter


def test_a_round_is_a_child_of_the_tasks_span_with_its_counts(
    provider: tuple[TracerProvider, InMemorySpanExporter], monkeypatch: pytest.MonkeyPatch
) -> None:
    tracing, exporter = provider
    monkeypatch.setattr("opentelemetry.trace.get_tracer", tracing.get_tracer)

    with tracing.get_tracer("airflow").start_as_current_span("worker.swap"), span("submit", pairs=3) as one:
        one.set(accepted=2)

    submit, task = exporter.get_finished_spans()
    assert submit.name == "goenhance.submit"
    assert submit.parent is not None
    assert submit.parent.span_id == task.context.span_id
    assert dict(submit.attributes or {}) == {"goenhance.pairs": 3, "goenhance.accepted": 2}


def test_without_a_recorded_span_there_is_none() -> None:
    with span("submit", pairs=3) as one:
        one.set(accepted=2)

    assert type(one) is NoSpan


def test_without_opentelemetry_nothing_is_imported() -> None:
    code = (
        "import sys; from airflow_provider_goenhance.execution.spans import span\n"
        "with span('submit', pairs=1) as one: one.set(accepted=1)\n"
        "print('opentelemetry' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert run.stdout.strip() == "False"
