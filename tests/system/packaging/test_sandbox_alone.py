# SPDX-License-Identifier: Apache-2.0
"""The sandbox without Airflow, on the newest FastAPI that there is: Airflow itself holds FastAPI back."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

from .conftest import ROOT, run

ASK = """
import json, sys, tempfile, warnings
warnings.simplefilter("ignore")
from pathlib import Path
from fastapi.testclient import TestClient
from goenhance_sandbox.app import create_app
from goenhance_sandbox.connections import Connections
from goenhance_sandbox.settings import Settings

app = create_app(Settings(state_dir=Path(tempfile.mkdtemp()), engine="none"), Connections())
with TestClient(app, raise_server_exceptions=False) as client:
    refused = client.post("/sandbox/faults")
    missing = client.get("/nowhere")
    described = client.get("/openapi.json")
print(json.dumps([refused.status_code, refused.headers["Allow"], missing.status_code, described.status_code]))
"""


def test_the_sandbox_refuses_a_method_with_405_on_the_newest_fastapi(
    uv: str, wheel: Path, tmp_path: Path
) -> None:
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"][
        "sandbox"
    ]
    run([uv, "venv", "--quiet", "--python", sys.executable, str(tmp_path / "venv")], tmp_path)
    python = str(tmp_path / "venv" / "bin" / "python")
    run([uv, "pip", "install", "--quiet", "--python", python, *extra, "httpx"], tmp_path)
    run([uv, "pip", "install", "--quiet", "--python", python, "--no-deps", str(wheel)], tmp_path)

    said = run([python, "-c", ASK], tmp_path)

    assert said.stdout.strip() == '[405, "GET, PUT", 404, 200]'
