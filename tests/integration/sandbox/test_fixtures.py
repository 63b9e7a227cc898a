# SPDX-License-Identifier: Apache-2.0
"""The pytest fixtures, as a user of them sees them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import include.sandbox

from .conftest import PAIR

FOLDER = Path(include.sandbox.__file__).parent
DOCS = FOLDER.parents[1] / "docs" / "sandbox.md"


def test_the_example_in_the_docs_runs_in_a_project_of_its_own(tmp_path):
    """Under the name the folder has in the wheel, without anything else of this repository."""
    example = re.search(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)[1]
    plugins, test = example.replace("include.sandbox", "goenhance_sandbox").split("\n", 1)
    shutil.copytree(FOLDER, tmp_path / "lib" / "goenhance_sandbox", ignore=shutil.ignore_patterns("models"))
    project = tmp_path / "project"
    project.mkdir()
    (project / "conftest.py").write_text(plugins)
    (project / "test_example.py").write_text(test)
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--strict-markers", "-p", "no:cacheprovider", str(project)],
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "lib"), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "1 passed" in run.stdout


@pytest.mark.goenhance_sandbox(token="sk-mine", credits=7, success_word="completed", job_seconds=0.0)
def test_the_marker_sets_start_options_and_switches(goenhance_sandbox):
    assert goenhance_sandbox.token == "sk-mine"
    assert goenhance_sandbox.faults()["credits"] == 7
    assert goenhance_sandbox.wait_for(goenhance_sandbox.submit(**PAIR))["status"] == "completed"


def test_the_shared_sandbox_comes_clean(goenhance_sandbox_shared, request):
    goenhance_sandbox_shared.submit(**PAIR)
    goenhance_sandbox_shared.put_faults(success_word="completed")
    goenhance_sandbox_shared.reset()
    assert goenhance_sandbox_shared.submissions() == []
    assert goenhance_sandbox_shared.faults()["success_word"] == "success"
