# SPDX-License-Identifier: Apache-2.0
"""
The Dockerfile without a container engine: its COPY and RUN lines, in an environment like the one of its base image.

The base image's constraints file is not on PyPI; here it lists what Airflow had on the day of its release.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.operators.airflow_environment import AirflowEnvironment

from .conftest import ROOT, run
from .test_release_day import RELEASE_DAY

LINES = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()


@pytest.fixture(scope="module")
def base_image(uv: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build an environment with the packages of the image, its pip, and its constraints file in the home folder."""
    folder = tmp_path_factory.mktemp("image")
    run([uv, "venv", "--quiet", "--seed", "--python", sys.executable, str(folder / "venv")], folder)
    python = ["--python", str(folder / "venv" / "bin" / "python"), "--exclude-newer", RELEASE_DAY]
    # What the package needs of what the image holds anyway.
    held = ["amazon", "common-compat", "common-io", "common-sql", "http", "postgres", "sqlite"]
    providers = [f"apache-airflow-providers-{name}" for name in held]
    found = run(
        [*(uv, "pip", "install", *python, "--quiet"), f"apache-airflow=={_version()}", "pandas", *providers],
        folder,
    )
    assert found.returncode == 0
    (folder / "home").mkdir()
    frozen = run([uv, "pip", "freeze", "--python", python[1]], folder).stdout
    (folder / "home" / "constraints.txt").write_text(frozen)
    return folder


def test_the_image_keeps_its_versions_and_parses_the_dags(uv: str, base_image: Path, tmp_path: Path) -> None:
    before = (base_image / "home" / "constraints.txt").read_text().splitlines()
    root = base_image / "root"

    for line in LINES:
        instruction, _, rest = line.partition(" ")
        if instruction == "COPY":
            _copy(rest.split(), root)
        elif instruction == "RUN":
            _run(rest.replace("/opt/", f"{root}/opt/"), base_image)

    python = str(base_image / "venv" / "bin" / "python")
    after = run([uv, "pip", "freeze", "--python", python], base_image).stdout.splitlines()
    assert [line for line in before if line not in after] == []
    home = tmp_path / "airflow"
    home.mkdir()
    with AirflowEnvironment(home, python=python, path=os.pathsep.join([str(ROOT)])) as airflow:
        assert airflow.started["dags"] == ["goenhance_face_swap_batch", "goenhance_face_swap_single"]


def _version() -> str:
    found = re.match(r"FROM apache/airflow:([\d.]+)-", LINES[0])
    assert found is not None
    return found[1]


def _copy(words: list[str], root: Path) -> None:
    *sources, target = words
    into = root / target.lstrip("/")
    for source in sources:
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, into, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            into.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / source, into)


def _run(command: str, image: Path) -> None:
    index = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_", "SSL_"))}
    environment = index | {
        "PATH": f"{image / 'venv' / 'bin'}:{os.environ['PATH']}",
        "HOME": str(image / "home"),
        "AIRFLOW_VERSION": _version(),
    }
    done = subprocess.run(
        ["/bin/bash", "-ec", command],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
