# SPDX-License-Identifier: Apache-2.0
"""Files around the code that others read: Airflow's plugin loader, image builders, the gate."""

from __future__ import annotations

import os
import re
from pathlib import Path

from include.local.paths import this_checkout
from tests.airflow_versions import plugin_files

ROOT = this_checkout().root


def test_airflow_loads_one_file_of_the_plugins_folder_and_leaves_the_package_alone() -> None:
    loaded = plugin_files(ROOT / "plugins")
    assert [Path(path).name for path in loaded if path.endswith(".py")] == ["goenhance_plugin.py"]


def test_the_image_has_the_airflow_that_the_requirements_pin() -> None:
    image = re.search(r"^FROM apache/airflow:([\d.]+)-", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    pinned = re.search(r"^apache-airflow==([\d.]+)$", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert image
    assert pinned
    assert image[1] == pinned[1]


def test_everything_the_image_is_built_from_exists() -> None:
    copied = re.findall(r"^COPY (.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    for name in " ".join(copied).split():
        assert (ROOT / name).exists(), name


def test_the_gate_can_be_executed() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
