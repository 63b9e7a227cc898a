# SPDX-License-Identifier: Apache-2.0
"""The wheel beside the dependencies that Airflow 3.3.2 had on the day of its release, SQLAlchemy 2.0 among them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.integration.operators.airflow_environment import AirflowEnvironment

from .conftest import ROOT, run

RELEASE_DAY = "2026-09-18"


@pytest.fixture(scope="module")
def release_day_python(uv: str, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel with nothing that is newer than Airflow 3.3.2."""
    folder = tmp_path_factory.mktemp("release-day")
    run([uv, "venv", "--quiet", "--python", sys.executable, str(folder / "venv")], folder)
    python = folder / "venv" / "bin" / "python"
    versions = ["apache-airflow==3.3.2", "sqlalchemy<2.1", str(wheel)]
    run(
        [uv, "pip", "install", "--quiet", "--python", str(python), "--exclude-newer", RELEASE_DAY, *versions],
        folder,
    )
    return python


def test_both_dags_run_with_the_dependencies_of_airflows_release_day(
    release_day_python: Path, goenhance_sandbox_shared: object, tmp_path: Path
) -> None:
    home = tmp_path / "airflow"
    home.mkdir()
    with AirflowEnvironment(
        home,
        python=str(release_day_python),
        path=os.pathsep.join([str(ROOT)]),
    ) as airflow:
        airflow.prepare(goenhance_sandbox_shared, tmp_path)  # type: ignore[arg-type]
        image = airflow.sandbox.image
        manifest = tmp_path / "pairs.csv"
        manifest.write_text(f"source_img,reference_img\n{image('a.jpg')},{image('b.jpg')}\n")

        single = airflow.run(
            "goenhance_face_swap_single", source_img=image("a.jpg"), reference_img=image("b.jpg")
        )
        batch = airflow.run("goenhance_face_swap_batch", manifest=str(manifest))

    assert (single.state, single.errors) == ("success", [])
    assert (batch.state, batch.errors) == ("success", [])
