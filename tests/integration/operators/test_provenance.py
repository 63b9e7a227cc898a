# SPDX-License-Identifier: Apache-2.0
"""What travels with a kept picture: the mark, the claim, the sidecar, and whose consent it is."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from PIL import Image

from airflow_provider_goenhance.operators.collect import GoEnhanceCollectOperator
from airflow_provider_goenhance.operators.face_swap_batch import GoEnhanceFaceSwapBatchOperator
from airflow_provider_goenhance.operators.plan import GoEnhancePlanOperator
from airflow_provider_goenhance.pictures.formats import jpeg, png, webp
from airflow_provider_goenhance.pictures.formats.xmp import DIGITAL_SOURCE_TYPE, read_properties
from airflow_provider_goenhance.pictures.verify import identify_picture
from airflow_provider_goenhance.retry_policy import is_final
from include.sandbox.process import SandboxProcess
from tests.unit.pictures.certificates import signing_credentials
from tests.unit.pictures.claims import read_claim
from tests.unit.pictures.pictures import pixels

from .light_runner import LightTask, LightTaskInstance

ROOT = Path(__file__).resolve().parents[3]
READERS = {"jpeg": jpeg, "png": png, "webp": webp}
EXTENSIONS = {"jpeg": ".jpg", "png": ".png", "webp": ".webp"}
VALUE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"

needs_c2pa = pytest.mark.skipif(
    importlib.util.find_spec("c2pa") is None, reason="the extra c2pa is not installed"
)


def path_of(row: dict[str, Any]) -> Path:
    return Path(unquote(urlsplit(row["result_uri"]).path))


@pytest.fixture
def signer(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Define the connection ``signer`` with a certificate made here."""

    def define(*, key: str | None = None) -> str:
        made = signing_credentials()
        conn = {
            "conn_type": "generic",
            "password": made.private_key if key is None else key,
            "extra": {"certificate_chain": made.certificate_chain},
        }
        monkeypatch.setenv("AIRFLOW_CONN_SIGNER", json.dumps(conn))
        return "signer"

    return define


# -- the mark, and the claim -------------------------------------------------------------------------------------------


@pytest.fixture
def three_formats(tmp_path: Path) -> Path:
    """One face, and one target in each of the three formats."""
    folder = tmp_path / "images"
    folder.mkdir()
    with Image.open(ROOT / "include" / "images" / "collins.jpg") as face:
        face.resize((256, 256)).save(folder / "face.jpg")
    with Image.open(ROOT / "include" / "images" / "hopper.jpg") as target:
        small = target.convert("RGB").resize((256, 310))
        for extension in EXTENSIONS.values():
            small.save(folder / f"target{extension}")
    return folder


@pytest.mark.slow
@needs_c2pa
def test_real_swaps_of_every_format_carry_the_iptc_mark_and_then_a_claim_that_verifies(
    goenhance_sandbox_factory: Callable[..., SandboxProcess],
    connect: Callable[..., None],
    signer: Callable[..., str],
    three_formats: Path,
    tmp_path: Path,
) -> None:
    sandbox = goenhance_sandbox_factory(engine="mesh", images=three_formats)
    connect(sandbox)

    def keep(folder: str, **arguments: Any) -> dict[str, bytes]:
        batch = LightTask(sandbox, tmp_path, kind="batch", storage=str(tmp_path / folder), **arguments)
        batch.pairs = [
            {
                "pair_id": kind,
                "source_img": sandbox.image("face.jpg"),
                "reference_img": sandbox.image(f"target{extension}"),
            }
            for kind, extension in EXTENSIONS.items()
        ]
        batch.ti.run_id = folder
        ending = batch.attempt()
        assert ending.error is None, ending.message
        return {path.stem: path.read_bytes() for path in (tmp_path / folder / folder).glob("*.*")}

    delivered = keep("as-delivered", marking=False)
    signed = keep("signed", reuse="never", signing_conn_id=signer())

    assert set(delivered) == set(signed) == set(EXTENSIONS)
    for kind, data in signed.items():
        packet = READERS[kind].read_xmp(data)
        assert packet is not None
        said = read_properties(packet)
        # The sandbox writes a source type of its own; the system used is our hand.
        assert (said["DigitalSourceType"], said["AISystemUsed"]) == (VALUE, "GoEnhance")
        assert "AISystemUsed" not in read_properties(READERS[kind].read_xmp(delivered[kind]) or b"")
        assert pixels(data) == pixels(delivered[kind])
        assert identify_picture(data).kind == kind
        claim = read_claim(data)
        assert claim is not None
        assert claim["validation_state"] == "Valid"
        actions = [a["data"]["actions"] for a in claim["assertions"] if a["label"].startswith("c2pa.actions")]
        assert [action["action"] for action in actions[0]] == ["c2pa.opened", "c2pa.edited"]
        assert actions[0][1]["digitalSourceType"] == VALUE == DIGITAL_SOURCE_TYPE


@needs_c2pa
def test_what_was_submitted_unsigned_is_signed_when_it_is_collected(
    task: Callable[..., LightTask], signer: Callable[..., str]
) -> None:
    batch = task(kind="batch", pairs=1, wait_for_completion=False)
    batch.attempt()
    batch.sandbox.wait_for(batch.row()["img_uuid"])

    GoEnhanceCollectOperator(
        task_id="collect", storage=str(batch.folder / "kept"), signing_conn_id=signer(), sidecar=True
    ).execute({"ti": LightTaskInstance("collect")})  # type: ignore[typeddict-item]

    claim = read_claim(path_of(batch.row()).read_bytes())
    assert claim is not None
    assert claim["validation_state"] == "Valid"
    sidecar = json.loads(Path(f"{path_of(batch.row())}.json").read_text())
    assert sidecar["provenance"]["c2pa"] == "signed"


@needs_c2pa
@pytest.mark.parametrize("kind", ["single", "batch"])
def test_credentials_that_cannot_sign_end_the_task_before_anything_is_paid(
    task: Callable[..., LightTask], signer: Callable[..., str], kind: str
) -> None:
    swap = task(kind=kind, signing_conn_id=signer(key=signing_credentials().private_key))

    ending = swap.attempt()

    assert isinstance(ending.error, ValueError)
    assert is_final(ending.error)
    assert ending.message.startswith("Connection 'signer' cannot sign pictures")
    assert swap.accepted() == 0
    assert not (swap.folder / "results.db").exists()


def test_without_marking_a_picture_is_kept_as_it_was_delivered(task: Callable[..., LightTask]) -> None:
    marked, plain = task(kind="batch", pairs=1), task(kind="batch", pairs=1, marking=False, reuse="never")
    plain.ti.run_id = "run-2"

    assert marked.attempt().error is None
    with_mark = path_of(marked.row()).read_bytes()
    assert plain.attempt().error is None
    without = next((plain.folder / "kept" / "run-2").glob("*.*")).read_bytes()

    assert VALUE.encode() in with_mark
    assert VALUE.encode() not in without


# -- consent -----------------------------------------------------------------------------------------------------------


def test_a_row_without_consent_is_rejected_and_the_reference_of_the_others_travels_with_the_picture(
    task: Callable[..., LightTask], tmp_path: Path
) -> None:
    batch = task(kind="batch")
    image = batch.sandbox.image
    lines = [
        "pair_id,source_img,reference_img,consent_ref",
        f"pair-1,{image('s1.jpg')},{image('r1.jpg')},contract 7/2026 §3",
        f"pair-2,{image('s2.jpg')},{image('r2.jpg')},",
        f"pair-3,{image('s3.jpg')},{image('r3.jpg')},   ",
    ]
    manifest = tmp_path / "pairs.csv"
    manifest.write_text("\n".join(lines) + "\n")
    planned = GoEnhancePlanOperator(
        task_id="plan", manifest=str(manifest), require_consent="True", swap_task_id="swap"
    ).execute({"ti": LightTaskInstance("plan")})  # type: ignore[typeddict-item]
    assert [entry["label"] for entry in planned] == ["pair-1"]

    GoEnhanceFaceSwapBatchOperator(
        task_id="swap",
        batch=planned[0]["batch"],
        storage=str(tmp_path / "kept"),
        poll_interval=0.05,
        sidecar=True,
        deferrable=False,
    ).execute({"ti": LightTaskInstance("swap", map_index=0)})  # type: ignore[typeddict-item]

    rows = batch.rows()
    assert [rows[f"pair-{n}"]["status"] for n in (1, 2, 3)] == ["succeeded", "rejected", "rejected"]
    assert all("consent_ref" in rows[name]["error_message"] for name in ("pair-2", "pair-3"))
    assert rows["pair-1"]["consent_ref"] == "contract 7/2026 §3"
    sidecar = json.loads(Path(f"{path_of(rows['pair-1'])}.json").read_text())
    assert sidecar["consent_ref"] == "contract 7/2026 §3"
    assert sidecar["img_uuid"] == rows["pair-1"]["img_uuid"]
    assert sidecar["picture"]["sha256"] == rows["pair-1"]["result_sha256"]
    assert batch.accepted() == 1


def test_the_consent_of_a_pair_submitted_now_is_in_the_sidecar_of_what_is_collected_later(
    task: Callable[..., LightTask],
) -> None:
    batch = task(kind="batch", pairs=1, wait_for_completion=False)
    batch.pairs[0]["consent_ref"] = "form 12"
    batch.attempt()
    batch.sandbox.wait_for(batch.row()["img_uuid"])

    GoEnhanceCollectOperator(
        task_id="collect", storage=str(batch.folder / "kept"), sidecar=True, deferrable=False
    ).execute({"ti": LightTaskInstance("collect")})  # type: ignore[typeddict-item]

    assert json.loads(Path(f"{path_of(batch.row())}.json").read_text())["consent_ref"] == "form 12"


# -- reused pictures ---------------------------------------------------------------------------------------------------


def _system_in(row: dict[str, Any]) -> str | None:
    data = path_of(row).read_bytes()
    packet = READERS[identify_picture(data).kind].read_xmp(data)
    return read_properties(packet or b"").get("AISystemUsed")


@pytest.mark.parametrize("planned", [False, True])
@pytest.mark.parametrize("kind", ["single", "batch"])
def test_a_run_that_marks_reuses_a_marked_copy_of_an_unmarked_picture(
    task: Callable[..., LightTask], tmp_path: Path, kind: str, planned: bool
) -> None:
    swap = task(kind=kind, marking=False)
    assert swap.attempt().error is None
    earlier = swap.rows()
    before = {pair_id: path_of(row).read_bytes() for pair_id, row in earlier.items()}

    swap.ti = LightTaskInstance("swap", run_id="run-2")
    swap.arguments["marking"] = True
    if planned:
        manifest = tmp_path / "pairs.csv"
        lines = [f"{pair['pair_id']},{pair['source_img']},{pair['reference_img']}" for pair in swap.pairs]
        manifest.write_text("\n".join(["pair_id,source_img,reference_img", *lines]))
        plan = GoEnhancePlanOperator(task_id="plan", manifest=str(manifest))
        plan.execute({"ti": LightTaskInstance("plan", run_id="run-2")})
    else:
        assert swap.attempt().error is None

    assert swap.accepted() == len(swap.pairs)
    assert swap.rows().keys() == earlier.keys()
    for pair_id, row in swap.rows().items():
        assert (row["status"], _system_in(row), _system_in(earlier[pair_id])) == ("reused", "GoEnhance", None)
        assert row["result_sha256"] == hashlib.sha256(path_of(row).read_bytes()).hexdigest()
    assert {pair_id: path_of(row).read_bytes() for pair_id, row in earlier.items()} == before


@pytest.mark.parametrize("marking", [True, False])
def test_a_picture_that_needs_no_mark_is_reused_where_it_is(
    task: Callable[..., LightTask], marking: bool
) -> None:
    swap = task(marking=marking)
    swap.attempt()
    earlier = swap.row()["result_uri"]
    assert bool(swap.row()["result_mark"]) is marking
    swap.ti = LightTaskInstance("swap", run_id="run-2")
    swap.attempt()
    assert (swap.row()["status"], swap.row()["result_uri"]) == ("reused", earlier)
    assert bool(swap.row()["result_mark"]) is marking
