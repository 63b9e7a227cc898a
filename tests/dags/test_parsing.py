# SPDX-License-Identifier: Apache-2.0
"""What parsing the Dag files loads, and what it must not touch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
DAG_FILES = sorted((ROOT / "dags").glob("*.py"))
HEAVY = (
    "pandas",
    "numpy",
    "aiohttp",
    "sqlalchemy.dialects",
    "PIL",
    "cv2",
    "pyarrow",
    "requests",
    "c2pa",
    "fastapi",
)
OURS = "airflow_provider_goenhance"

BASELINE = """
import datetime as dt
from airflow.sdk import DAG, BaseOperator, Param
from airflow.providers.common.compat.sdk import BaseOperatorLink, conf

with DAG("baseline", schedule=None, start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC), params={"a": Param(1)}):
    BaseOperator(task_id="nothing")
"""

# Runs a Dag without us, then the Dag files, in one process. Reports the modules that the Dag files loaded in addition,
# and which forbidden calls they made.
PARSE = """
import builtins, datetime, json, runpy, socket, sys

baseline, *paths = sys.argv[1:]
forbidden = []

def forbid(name):
    def closed(*args, **kwargs):
        forbidden.append(name)
        raise AssertionError(f"{name} while a Dag file is parsed")
    return closed

runpy.run_path(baseline)
before = set(sys.modules)
from airflow.sdk import BaseHook, Variable
Variable.get = forbid("Variable.get")
BaseHook.get_connection = forbid("BaseHook.get_connection")
socket.socket.connect = forbid("socket.connect")

class NoNow(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        frame = sys._getframe(1)
        if "goenhance" in frame.f_code.co_filename or frame.f_code.co_filename in paths:
            forbidden.append("datetime.now")
        return super().now(tz)

datetime.datetime = NoNow
plain_open = builtins.open

def opening(file, *args, **kwargs):
    frame = sys._getframe(1)
    if "goenhance" in frame.f_code.co_filename or frame.f_code.co_filename in paths:
        forbidden.append(f"open {file}")
    return plain_open(file, *args, **kwargs)

builtins.open = opening
for path in paths:
    runpy.run_path(path)
print(json.dumps({"added": sorted(set(sys.modules) - before), "forbidden": forbidden}))
"""


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What parsing both Dag files loads beyond what Airflow loads itself, and the forbidden calls it makes."""
    folder = tmp_path_factory.mktemp("parsed")
    baseline = folder / "baseline.py"
    baseline.write_text(BASELINE)
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW_", "_AIRFLOW_"))
    }
    run = subprocess.run(
        [sys.executable, "-W", "error::SyntaxWarning", "-c", PARSE, str(baseline), *map(str, DAG_FILES)],
        env={**clean, "AIRFLOW_HOME": str(folder), "PYTHONPATH": str(ROOT / "plugins")},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    answer: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return answer


def test_parsing_loads_nothing_heavy_that_airflow_has_not_loaded_itself(parsed: dict[str, Any]) -> None:
    assert [name for name in parsed["added"] if name.startswith(HEAVY)] == []
    assert f"{OURS}.operators.plan" in parsed["added"]


@pytest.mark.parametrize(
    "package", ["api", "execution", "manifest", "pictures", "results", "web", "hooks", "triggers"]
)
def test_parsing_imports_no_package_below_the_operators(parsed: dict[str, Any], package: str) -> None:
    loaded = {name for name in parsed["added"] if name.startswith(f"{OURS}.{package}.")}

    # The exception is light on purpose: it imports the page at the first request.
    assert loaded <= {f"{OURS}.web.lazy"}


def test_parsing_reads_no_variable_connection_clock_network_or_file(parsed: dict[str, Any]) -> None:
    assert parsed["forbidden"] == []


def test_ruff_finds_nothing_that_a_later_airflow_will_refuse() -> None:
    command = ["ruff", "check", "--select", "AIR", "--preview", "--no-cache", "dags", "plugins"]
    run = subprocess.run(
        [str(Path(sys.executable).with_name(command[0])), *command[1:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stdout
