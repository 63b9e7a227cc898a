# SPDX-License-Identifier: Apache-2.0
"""Pictures that GoEnhance would refuse are changed before they are sent, and a real swap is made of them."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from include.sandbox.process import SandboxProcess

from .light_runner import LightTask

IMAGES = Path(__file__).resolve().parents[3] / "include" / "images"
MAX_BYTES = 5_000_000


@pytest.fixture
def staging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "staging"
    folder.mkdir()
    monkeypatch.setenv("AIRFLOW__GOENHANCE__INPUT_FOLDERS", str(tmp_path))
    monkeypatch.setenv("AIRFLOW__GOENHANCE__STAGING", str(folder))
    # The copies are looked at after the task.
    monkeypatch.setenv("AIRFLOW__GOENHANCE__KEEP_STAGED", "True")
    return folder


@pytest.fixture
def sandbox(
    connect: Callable[..., None],
    goenhance_sandbox_factory: Callable[..., SandboxProcess],
    staging: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> SandboxProcess:
    server = goenhance_sandbox_factory(engine="mesh", public=staging)
    connect(server)
    monkeypatch.setenv("AIRFLOW__GOENHANCE__STAGING_URL", f"{server.url}/public")
    return server


def large_photograph(path: Path) -> Path:
    """Write a photograph as a camera does: many pixels, much grain, more than 5 MB."""
    with Image.open(IMAGES / "collins_closeup.jpg") as picture:
        large = picture.convert("RGB").resize((3200, 3200 * picture.height // picture.width))
    grain = Image.effect_noise(large.size, 40).convert("RGB")
    Image.blend(large, grain, 0.12).save(path, quality=97)
    assert path.stat().st_size > MAX_BYTES
    return path


def test_a_source_from_a_camera_is_shrunk_swapped_and_said_on_the_row(
    sandbox: SandboxProcess, staging: Path, tmp_path: Path
) -> None:
    task = LightTask(sandbox, tmp_path, kind="batch")
    source = large_photograph(tmp_path / "camera.jpg")
    task.pairs = [
        {"pair_id": "p1", "source_img": str(source), "reference_img": f"{sandbox.url}/images/hopper.jpg"}
    ]
    assert task.attempt().error is None
    (row,) = task.rows().values()
    assert (row["status"], row["attempts"], row["source_img"]) == ("succeeded", 1, str(source))
    assert "source_img" in row["input_notes"]
    (copy,) = [path for path in staging.rglob("*") if path.is_file()]
    assert copy.stat().st_size <= MAX_BYTES
    with Image.open(copy) as sent:
        assert max(sent.size) == 2048
    assert sandbox.submissions()[0]["source_img"].endswith(copy.name)


def test_a_reference_of_another_format_is_converted(
    sandbox: SandboxProcess, staging: Path, tmp_path: Path
) -> None:
    task = LightTask(sandbox, tmp_path, kind="batch")
    with Image.open(IMAGES / "hopper.jpg") as picture:
        picture.convert("CMYK").save(tmp_path / "scene.tif")
    task.pairs = [
        {
            "pair_id": "p1",
            "source_img": f"{sandbox.url}/images/collins.jpg",
            "reference_img": str(tmp_path / "scene.tif"),
        }
    ]
    assert task.attempt().error is None
    (row,) = task.rows().values()
    assert row["status"] == "succeeded"
    assert "reference_img" in row["input_notes"]
    (copy,) = [path for path in staging.rglob("*") if path.is_file()]
    with Image.open(io.BytesIO(copy.read_bytes())) as sent:
        assert (sent.format, sent.mode) == ("JPEG", "RGB")


def test_what_may_not_be_shrunk_is_sent_as_it_is(
    sandbox: SandboxProcess, staging: Path, tmp_path: Path
) -> None:
    task = LightTask(sandbox, tmp_path, kind="batch", shrink="never")
    source = large_photograph(tmp_path / "camera.jpg")
    task.pairs = [
        {"pair_id": "p1", "source_img": str(source), "reference_img": f"{sandbox.url}/images/hopper.jpg"}
    ]
    task.attempt()
    (copy,) = [path for path in staging.rglob("*") if path.is_file()]
    assert copy.read_bytes() == source.read_bytes()


def test_a_file_that_is_no_picture_fails_its_row_alone_and_costs_nothing(
    sandbox: SandboxProcess, staging: Path, tmp_path: Path
) -> None:
    (tmp_path / "notes.tif").write_text("not a picture")
    task = LightTask(sandbox, tmp_path, kind="batch", allowed_failure_share=0.5)
    scene = f"{sandbox.url}/images/hopper.jpg"
    task.pairs = [
        {"pair_id": "bad", "source_img": str(tmp_path / "notes.tif"), "reference_img": scene},
        {"pair_id": "good", "source_img": f"{sandbox.url}/images/collins.jpg", "reference_img": scene},
    ]
    task.attempt()
    assert {row["pair_id"]: (row["status"], row["attempts"]) for row in task.rows().values()} == {
        "bad": ("failed", 0),
        "good": ("succeeded", 1),
    }
    assert len(sandbox.submissions()) == 1
