# SPDX-License-Identifier: Apache-2.0
"""The record of what runs, and the right to start it."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.local.errors import LocalStackError
from include.local.paths import Paths
from include.local.ports import Ports
from include.local.processes import Component
from include.local.stack import Stack, read_record, require_whole, sole_starter, write_record


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    (tmp_path / ".local").mkdir()
    return Paths(tmp_path)


def gone(name: str = "scheduler", log: str = "") -> Component:
    """A component of some earlier boot of the machine."""
    return Component(name, 2**22 - 1, "another-boot:1", log)


def test_nothing_is_recorded_in_a_fresh_checkout(paths: Paths) -> None:
    assert read_record(paths) is None


def test_a_record_of_processes_that_are_gone_counts_as_nothing(paths: Paths) -> None:
    write_record(paths, Stack("up", Ports(), "2026-11-22T12:00:00+00:00", [gone()]))
    assert read_record(paths) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"owner": "up", "ports": {"x": 1}}'])
def test_a_damaged_record_is_named(paths: Paths, text: str) -> None:
    paths.record.write_text(text)
    with pytest.raises(LocalStackError, match=r"\.local/stack\.json is damaged"):
        read_record(paths)


def test_only_one_command_starts_a_stack_at_a_time(paths: Paths) -> None:
    with (
        sole_starter(paths, "up"),
        pytest.raises(LocalStackError, match=r"make up \(process \d+\) is running in this checkout"),
        sole_starter(paths, "run"),
    ):
        pass
    with sole_starter(paths, "run"):
        pass


def test_a_stopped_component_is_reported_with_the_end_of_its_log(paths: Paths) -> None:
    log = paths.local / "scheduler.log"
    log.write_text("starting\nno space left on device\n")
    stack = Stack("up", Ports(), "2026-11-22T12:00:00+00:00", [gone(log=str(log))])
    with pytest.raises(
        LocalStackError, match=r"scheduler has stopped unexpectedly(?s:.*)no space left on device"
    ):
        stack.require_alive()


def test_a_stack_that_lost_a_component_is_not_used_for_a_run(paths: Paths) -> None:
    stack = Stack("up", Ports(), "2026-11-22T12:00:00+00:00", [gone("triggerer")])
    with pytest.raises(LocalStackError, match=r"incomplete \(triggerer stopped\): restart it with `make up`"):
        require_whole(stack)
