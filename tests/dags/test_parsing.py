# SPDX-License-Identifier: Apache-2.0
"""What parsing the Dag files costs, and what it must not touch."""

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

# Runs a Dag file as a module, and tells which modules that loaded and which forbidden doors it knocked at.
PARSE = """
import builtins, datetime, json, runpy, socket, sys

path = sys.argv[1]
knocked = []

def door(name):
    def closed(*args, **kwargs):
        knocked.append(name)
        raise AssertionError(f"{name} while a Dag file is parsed")
    return closed

import airflow.sdk
from airflow.sdk import BaseHook, Variable
Variable.get = door("Variable.get")
BaseHook.get_connection = door("BaseHook.get_connection")
socket.socket.connect = door("socket.connect")

class NoNow(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        frame = sys._getframe(1)
        if "goenhance" in frame.f_code.co_filename or frame.f_code.co_filename == path:
            knocked.append("datetime.now")
        return super().now(tz)

datetime.datetime = NoNow
plain_open = builtins.open

def opening(file, *args, **kwargs):
    frame = sys._getframe(1)
    if "goenhance" in frame.f_code.co_filename or frame.f_code.co_filename == path:
        knocked.append(f"open {file}")
    return plain_open(file, *args, **kwargs)

builtins.open = opening
runpy.run_path(path)
print(json.dumps({"modules": sorted(sys.modules), "knocked": knocked}))
"""


def parsed(path: Path, home: Path) -> dict[str, Any]:
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW_", "_AIRFLOW_"))
    }
    run = subprocess.run(
        [sys.executable, "-W", "error::SyntaxWarning", "-c", PARSE, str(path)],
        env={**clean, "AIRFLOW_HOME": str(home), "PYTHONPATH": str(ROOT / "plugins")},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    answer: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return answer


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The modules that a Dag without us loads: those are Airflow's."""
    folder = tmp_path_factory.mktemp("baseline")
    path = folder / "baseline.py"
    path.write_text(BASELINE)
    return set(parsed(path, folder)["modules"])


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Both Dag files, parsed by one process."""
    folder = tmp_path_factory.mktemp("both")
    path = folder / "both.py"
    path.write_text("import runpy\n" + "".join(f"runpy.run_path({str(file)!r})\n" for file in DAG_FILES))
    return parsed(path, folder)


def test_parsing_loads_nothing_heavy_that_airflow_has_not_loaded_itself(
    baseline: set[str], both: dict[str, Any]
) -> None:
    added = set(both["modules"]) - baseline

    assert [name for name in sorted(added) if name.startswith(HEAVY)] == []
    assert f"{OURS}.operators.plan" in added


@pytest.mark.parametrize(
    "package", ["api", "execution", "manifest", "pictures", "results", "web", "hooks", "triggers"]
)
def test_parsing_imports_no_package_below_the_operators(both: dict[str, Any], package: str) -> None:
    loaded = {name for name in both["modules"] if name.startswith(f"{OURS}.{package}.")}

    # The one exception is there to be light: it imports the page when somebody asks for it.
    assert loaded <= {f"{OURS}.web.lazy"}


def test_parsing_asks_no_variable_no_connection_no_clock_no_network_and_opens_no_file(
    both: dict[str, Any],
) -> None:
    assert both["knocked"] == []


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
