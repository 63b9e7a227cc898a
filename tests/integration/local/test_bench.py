# SPDX-License-Identifier: Apache-2.0
"""Gathering the figures of all benchmarks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from include.local.bench import bench
from include.local.paths import Paths

WRITES = (
    "import sys, pathlib; pathlib.Path(sys.argv[sys.argv.index('--json') + 1]).write_text('{\"ratio\": 2}')"
)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "bench_good.py").write_text(WRITES)
    return Paths(tmp_path)


def test_the_figures_of_all_benchmarks_stand_in_one_file(paths: Paths) -> None:
    (paths.root / "benchmarks" / "bench_other.py").write_text(WRITES)
    assert bench(paths) == 0
    found = json.loads((paths.local / "bench.json").read_text())
    assert found == {"good": {"ratio": 2}, "other": {"ratio": 2}}


@pytest.mark.parametrize("broken", ["raise SystemExit(1)", "pass"])
def test_a_benchmark_that_fails_is_named_and_the_others_still_count(
    paths: Paths, broken: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (paths.root / "benchmarks" / "bench_broken.py").write_text(broken)
    assert bench(paths) == 1
    assert "failed: broken" in capsys.readouterr().out
    assert json.loads((paths.local / "bench.json").read_text()) == {"good": {"ratio": 2}}
