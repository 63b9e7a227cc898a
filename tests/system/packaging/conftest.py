# SPDX-License-Identifier: Apache-2.0
"""A wheel built from this tree, and a clean environment with nothing but the wheel and what it asks for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def uv() -> str:
    """The uv that `make setup` keeps in the environment, else the one on the path."""
    found = [str(path) for path in Path(sys.prefix).glob("uv-*/bin/uv")] + [
        os.environ.get("UV"),
        shutil.which("uv"),
    ]
    program = next(filter(None, found), None)
    if program is None:
        pytest.skip("there is no uv: `make setup` brings one")
    return program


@pytest.fixture(scope="session")
def wheel(uv: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    run([uv, "build", "--wheel", "--quiet", "--out-dir", str(folder), str(ROOT)], folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def clean_python(uv: str, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into an environment of its own; most of the time is spent on Airflow."""
    folder = tmp_path_factory.mktemp("clean")
    run([uv, "venv", "--quiet", "--python", sys.executable, str(folder / "venv")], folder)
    python = folder / "venv" / "bin" / "python"
    pins = ["--constraint", str(ROOT / "requirements.txt")]
    run([uv, "pip", "install", "--quiet", "--python", str(python), *pins, str(wheel)], folder)
    return python


@pytest.fixture
def without_package(uv: str, clean_python: Path, wheel: Path, tmp_path: Path) -> Path:
    """Take the package out of that environment again: what is left is an Airflow that knows the plugins folder only."""
    run(
        [uv, "pip", "uninstall", "--quiet", "--python", str(clean_python), "airflow-provider-goenhance"],
        tmp_path,
    )
    return clean_python


@pytest.fixture
def in_airflow(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command with an Airflow home of the test's own."""

    def run_(command: list[str], **settings: str) -> subprocess.CompletedProcess[str]:
        return run(
            command,
            tmp_path,
            AIRFLOW_HOME=str(tmp_path / "airflow"),
            AIRFLOW__CORE__LOAD_EXAMPLES="False",
            AIRFLOW__LOGGING__COLORED_CONSOLE_LOG="False",
            **settings,
        )

    return run_


def run(command: list[str], folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command away from this tree, so that it cannot import from it by accident."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AIRFLOW_", "_AIRFLOW_", "PYTHON", "VIRTUAL_ENV"))
    }
    done = subprocess.run(
        command, cwd=folder, env=clean | settings, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done
