# SPDX-License-Identifier: Apache-2.0
"""Pictures that GoEnhance would refuse are changed before they are sent, and a real swap is made of them."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from airflow_provider_goenhance.hooks.results import open_results
from airflow_provider_goenhance.operators.face_swap_batch import GoEnhanceFaceSwapBatchOperator
from airflow_provider_goenhance.operators.plan import GoEnhancePlanOperator
from airflow_provider_goenhance.results.ledger import Ledger, RunKey
from include.sandbox.process import SandboxProcess
from tests.unit.inputs.file_server import FileServer

from .light_runner import LightTask, LightTaskInstance

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


@pytest.fixture(scope="module")
def camera_picture() -> bytes:
    """Return a JPEG of 24 million pixels and more than 10 MB that shows a face."""
    with Image.open(IMAGES / "collins_closeup.jpg") as picture:
        large = picture.convert("RGB").resize((4000, 6000))
    grain = Image.effect_noise((2000, 3000), 40).resize(large.size).convert("RGB")
    out = io.BytesIO()
    Image.blend(large, grain, 0.25).save(out, "JPEG", quality=97)
    assert len(out.getvalue()) >= 10_000_000
    return out.getvalue()


@pytest.mark.slow
def test_a_public_picture_of_24_megapixels_and_10_mb_is_not_rejected_but_shrunk_and_swapped(
    sandbox: SandboxProcess, staging: Path, tmp_path: Path, camera_picture: bytes
) -> None:
    with FileServer() as server:
        server.add("/camera.jpg", camera_picture)
        manifest = tmp_path / "pairs.csv"
        scene = f"{sandbox.url}/images/hopper.jpg"
        manifest.write_text(
            f"pair_id,source_img,reference_img\np1,{server.link('/camera.jpg')},{scene}\n"
            f"p2,{sandbox.url}/images/collins.jpg,{server.link('/camera.jpg')}\n"
        )
        plan = GoEnhancePlanOperator(task_id="plan", manifest=str(manifest), preflight="reject")
        (batch, *_) = plan.execute({"ti": LightTaskInstance("plan")})  # type: ignore[arg-type]
        planned = {row.pair_id: row for row in Ledger(open_results()).of_run(RunKey("light", "run-1"))}
        assert "is shrunk before it is sent" in (planned["p1"].input_notes or "")
        assert planned["p1"].input_warnings is None
        # Its result would be smaller too, so that is for a person to choose.
        assert (planned["p2"].status, planned["p2"].error_code) == ("rejected", "input_too_large")
        swap = GoEnhanceFaceSwapBatchOperator(
            task_id="swap", batch=batch["batch"], deferrable=False, storage=str(tmp_path / "kept")
        )
        swap.execute({"ti": LightTaskInstance("swap")})  # type: ignore[arg-type]

    row = next(row for row in Ledger(open_results()).of_run(RunKey("light", "run-1")) if row.pair_id == "p1")
    assert (row.status, row.attempts) == ("succeeded", 1)
    assert "shrunk" in (row.input_notes or "")
    assert "4000 x 6000" in (row.input_notes or "")
    (submission,) = sandbox.submissions()
    (copy,) = [path for path in staging.rglob("*") if path.is_file()]
    assert submission["source_img"].endswith(copy.name)
    assert copy.stat().st_size <= MAX_BYTES


def test_a_single_swap_shrinks_a_public_picture_that_no_plan_has_looked_at(
    sandbox: SandboxProcess, tmp_path: Path
) -> None:
    with FileServer() as server:
        server.add("/camera.jpg", large_photograph(tmp_path / "camera.jpg").read_bytes())
        task = LightTask(sandbox, tmp_path, kind="single")
        task.pairs = [
            {
                "pair_id": "pair-1",
                "source_img": server.link("/camera.jpg"),
                "reference_img": f"{sandbox.url}/images/hopper.jpg",
            }
        ]
        ending = task.attempt()
    assert ending.error is None
    assert "/public/" in sandbox.submissions()[0]["source_img"]
