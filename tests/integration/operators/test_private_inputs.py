# SPDX-License-Identifier: Apache-2.0
"""Pairs of private pictures, in buckets of an S3 server and in local folders, from the manifest to the picture."""

from __future__ import annotations

import csv
import datetime as dt
import json
import logging
import re
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_goenhance.exceptions import InputStoreError, ManifestError
from airflow_provider_goenhance.operators.plan import GoEnhancePlanOperator
from include.sandbox.process import SandboxProcess

from .light_runner import LightTask, LightTaskInstance

boto3 = pytest.importorskip("boto3", reason="the extra s3 is not installed")
pytest.importorskip("s3fs", reason="the extra s3 is not installed")
moto_server = pytest.importorskip("moto.server", reason="moto, an S3 server for tests, is not installed")

IMAGES = Path(__file__).resolve().parents[3] / "include" / "images"
KEYS = {"aws_access_key_id": "test-key-id", "aws_secret_access_key": "test-secret-key"}


@dataclass
class Bucket:
    """A private bucket, seen past the code under test."""

    client: Any
    name: str

    def put(self, key: str, data: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=data)

    def keys(self) -> list[str]:
        return [each["Key"] for each in self.client.list_objects_v2(Bucket=self.name).get("Contents", [])]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set the AWS connection."""

    def connect(**extra: Any) -> None:
        from airflow.sdk.io import store as airflow_store

        connection = {
            "conn_type": "aws",
            "login": KEYS["aws_access_key_id"],
            "password": KEYS["aws_secret_access_key"],
            "extra": {"endpoint_url": endpoint, "region_name": "eu-central-1", **extra},
        }
        monkeypatch.setenv("AIRFLOW_CONN_PICTURES", json.dumps(connection))
        monkeypatch.setattr(airflow_store, "_STORE_CACHE", {})

    connect()
    return connect


@pytest.fixture(params=["plain", "versioned"])
def bucket(request: pytest.FixtureRequest, endpoint: str, aws: Callable[..., None]) -> Iterator[Bucket]:
    name = f"bucket-{request.param}"
    client = boto3.client("s3", endpoint_url=endpoint, region_name="eu-central-1", **KEYS)
    client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    if request.param == "versioned":
        client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    yield Bucket(client, name)
    listed = client.list_object_versions(Bucket=name)
    for version in listed.get("Versions", []) + listed.get("DeleteMarkers", []):
        client.delete_object(Bucket=name, Key=version["Key"], VersionId=version["VersionId"])
    client.delete_bucket(Bucket=name)


def pair(name: str, source: str, reference: str) -> dict[str, str]:
    return {"pair_id": name, "source_img": source, "reference_img": reference}


def fetched(link: str) -> bytes:
    with urllib.request.urlopen(link) as answer:
        data: bytes = answer.read()
    return data


def signatures(sandbox: SandboxProcess) -> list[str]:
    links = [job[side] for job in sandbox.submissions() for side in ("source_img", "reference_img")]
    return [found[1] for link in links if (found := re.search(r"X-Amz-Signature=(\w+)", link))]


def next_night(task: LightTask) -> Any:
    number = int(task.ti.run_id.removeprefix("run-")) + 1
    task.ti = LightTaskInstance("swap", run_id=f"run-{number}")
    return task.attempt()


def statuses(task: LightTask) -> dict[str, int]:
    found: dict[str, int] = {}
    for row in task.rows().values():
        found[row["status"]] = found.get(row["status"], 0) + 1
    return found


def test_a_private_pair_is_swapped_and_its_links_are_in_the_requests_alone(
    bucket: Bucket,
    connect: Callable[..., None],
    goenhance_sandbox_factory: Callable[..., SandboxProcess],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    sandbox = goenhance_sandbox_factory(engine="mesh")
    connect(sandbox)
    bucket.put("faces/collins 1.jpg", (IMAGES / "collins_closeup.jpg").read_bytes())
    bucket.put("scenes/hopper.jpg", (IMAGES / "hopper.jpg").read_bytes())
    task = LightTask(sandbox, tmp_path, kind="batch", deferrable=True, sidecar=True)
    source, reference = (
        f"s3://pictures@{bucket.name}/{key}" for key in ("faces/collins 1.jpg", "scenes/hopper.jpg")
    )
    task.pairs = [pair("pair-1", source, reference)]
    with caplog.at_level(logging.DEBUG):
        ending = task.attempt()

    assert ending.error is None
    row = task.row()
    assert (row["status"], row["source_img"], row["reference_img"]) == ("succeeded", source, reference)
    assert Path(row["result_uri"].removeprefix("file://")).is_file()
    (submitted,) = sandbox.submissions()
    # The sandbox has fetched both, without the keys of the bucket.
    assert fetched(submitted["source_img"]) == (IMAGES / "collins_closeup.jpg").read_bytes()
    assert "eu-central-1%2Fs3%2Faws4_request" in submitted["source_img"]
    assert ("versionId=" in submitted["source_img"]) == (bucket.name == "bucket-versioned")
    assert "X-Amz-Expires=43200" in submitted["source_img"]
    secrets = signatures(sandbox)
    assert len(secrets) == 2
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()).decode(
        errors="ignore"
    )
    operator = task.operator()
    rendered = {name: getattr(operator, name) for name in operator.template_fields}
    # But for the S3 server's own log.
    logged = "\n".join(record.getMessage() for record in caplog.records if record.name != "werkzeug")
    assert "botocore" in caplog.text
    for secret in secrets:
        for place in (written, logged, str(ending), str(rendered), str(task.state_store.values)):
            assert secret not in place
    assert "X-Amz-Signature" not in written
    assert row["source_img"] in written


@pytest.mark.slow
def test_the_same_pairs_on_two_nights_are_paid_for_once_and_an_overwritten_one_once_more(
    bucket: Bucket, task: Callable[..., LightTask]
) -> None:
    swap = task(kind="batch")
    bucket.put("scene.jpg", b"a scene")
    for number in range(200):
        bucket.put(f"faces/{number:03}.jpg", b"face %d" % number)
    swap.pairs = [
        pair(
            f"pair-{number}",
            f"s3://pictures@{bucket.name}/faces/{number:03}.jpg",
            f"s3://pictures@{bucket.name}/scene.jpg",
        )
        for number in range(200)
    ]
    assert swap.attempt().error is None
    assert (swap.accepted(), statuses(swap)) == (200, {"succeeded": 200})

    assert next_night(swap).error is None
    assert (swap.accepted(), statuses(swap)) == (200, {"reused": 200})

    bucket.put("faces/007.jpg", b"another face")
    bucket.put("faces/008.jpg", b"face 8")  # the same content again
    assert next_night(swap).error is None
    assert (swap.accepted(), statuses(swap)) == (201, {"succeeded": 1, "reused": 199})
    assert swap.rows()["pair-7"]["status"] == "succeeded"

    assert next_night(swap).error is None
    assert (swap.accepted(), statuses(swap)) == (201, {"reused": 200})


@pytest.mark.parametrize("kind", ["single", "batch"])
@pytest.mark.parametrize("with_table", [True, False])
def test_a_retry_stays_with_the_job_although_the_picture_is_another_one_now(
    bucket: Bucket, task: Callable[..., LightTask], kind: str, with_table: bool
) -> None:
    if kind == "batch" and not with_table:
        pytest.skip("a batch needs a results table")
    options = {} if with_table else {"results_conn_id": None}
    swap = task(kind=kind, timeout=0.05, **options)
    bucket.put("face.jpg", b"a face")
    swap.pairs = [pair("pair-1", f"s3://pictures@{bucket.name}/face.jpg", "https://a.example/scene.jpg")]
    swap.let_no_job_end()
    assert "A retry or clear polls the same job again" in swap.attempt().message
    swap.let_jobs_end()
    bucket.client.delete_object(Bucket=bucket.name, Key="face.jpg")
    swap.arguments["timeout"] = 60
    assert swap.attempt().error is None
    assert swap.accepted() == 2  # ours, and the stranger's


def test_a_missing_picture_is_a_rejected_row_that_names_it_and_stops_no_other(
    bucket: Bucket, task: Callable[..., LightTask]
) -> None:
    swap = task(kind="batch", allowed_failure_share=0.5)
    bucket.put("1.jpg", b"a face")
    swap.pairs = [
        pair(f"pair-{number}", f"s3://pictures@{bucket.name}/{number}.jpg", "https://a.example/scene.jpg")
        for number in (1, 2)
    ]
    assert swap.attempt().error is None
    row = swap.row(2)
    assert (row["status"], row["error_code"], row["attempts"]) == ("rejected", "input_not_found", 0)
    assert row["error_message"].startswith(f"s3://{bucket.name}/2.jpg is not there (S3 through connection")
    assert swap.row(1)["status"] == "succeeded"
    assert swap.accepted() == 1

    bucket.put("2.jpg", b"another face")
    assert swap.attempt().error is None
    assert swap.row(2)["status"] == "succeeded"


def test_a_missing_picture_is_in_rejected_csv_and_strict_stops_before_anything_is_planned(
    bucket: Bucket, task: Callable[..., LightTask], tmp_path: Path
) -> None:
    swap = task(kind="batch")
    bucket.put("1.jpg", b"a face")
    manifest = tmp_path / "pairs.csv"
    here = f"s3://pictures@{bucket.name}"
    manifest.write_text(
        "pair_id,source_img,reference_img,team\n"
        f"good,{here}/1.jpg,https://a.example/scene.jpg,red\n"
        f"gone,{here}/1.jpg,{here}/2.jpg,blue\n"
    )
    plan = GoEnhancePlanOperator(
        task_id="plan", manifest=str(manifest), storage=str(tmp_path / "kept"), preflight="off", strict=True
    )
    ti = LightTaskInstance("plan")
    with pytest.raises(
        ManifestError, match=r"1 row of it cannot be swapped.*row 3: s3://.*2.jpg is not there"
    ):
        plan.execute({"ti": ti})  # type: ignore[typeddict-item]
    assert swap.rows() == {}

    with Path(str(ti.xcoms["rejected_csv"]).removeprefix("file://")).open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["row_number"], row["error_code"], row["column"]) == ("3", "input_not_found", "reference_img")
    assert (row["pair_id"], row["reference_img"], row["team"]) == ("gone", f"{here}/2.jpg", "blue")

    plan.strict = False
    assert len(plan.execute({"ti": ti})) == 1  # type: ignore[typeddict-item]
    assert {row["pair_id"]: row["status"] for row in swap.rows().values()} == {
        "good": "planned",
        "gone": "rejected",
    }


def test_a_picture_that_is_overwritten_between_plan_and_submit_is_paid_for_as_what_it_is(
    bucket: Bucket, task: Callable[..., LightTask], tmp_path: Path
) -> None:
    swap = task(kind="batch")
    manifest = tmp_path / "pairs.csv"
    bucket.put("face.jpg", b"a face")
    manifest.write_text(
        f"pair_id,source_img,reference_img\npair-1,s3://pictures@{bucket.name}/face.jpg,https://a.example/s.jpg\n"
    )

    def plan(run_id: str) -> None:
        swap.ti = LightTaskInstance("swap", run_id=run_id)
        context: Any = {"ti": LightTaskInstance("plan", run_id=run_id)}
        (planned,) = GoEnhancePlanOperator(task_id="plan", manifest=str(manifest)).execute(context)
        swap.pairs, swap.arguments = None, {**swap.arguments, "batch": planned["batch"]}  # type: ignore[assignment]

    def version() -> str:
        return str(bucket.client.head_object(Bucket=bucket.name, Key="face.jpg")["ETag"]).strip('"')

    plan("run-1")
    assert swap.row()["source_version"] == version()
    bucket.put("face.jpg", b"another face")
    assert swap.attempt().error is None
    row = swap.row()
    assert (row["status"], row["attempts"], row["source_version"]) == ("succeeded", 1, version())

    context: Any = {"ti": LightTaskInstance("plan", run_id="run-2")}
    assert GoEnhancePlanOperator(task_id="plan", manifest=str(manifest)).execute(context) == []
    assert swap.accepted() == 1  # the next night knows it as what was paid for


def test_a_bucket_that_is_not_there_stops_the_plan(
    task: Callable[..., LightTask], aws: Callable[..., None]
) -> None:
    swap = task()
    swap.pairs = [pair("pair-1", "s3://pictures@nowhere/face.jpg", "https://a.example/scene.jpg")]
    ending = swap.attempt()
    assert isinstance(ending.error, InputStoreError)
    assert "There is no bucket 'nowhere' (S3 through connection 'pictures')" in ending.message
    assert swap.accepted() == 0


def test_a_store_that_cannot_be_reached_is_tried_again(
    task: Callable[..., LightTask], aws: Callable[..., None]
) -> None:
    aws(endpoint_url="http://127.0.0.1:9", config_kwargs={"retries": {"total_max_attempts": 1}})
    swap = task()
    swap.pairs = [pair("pair-1", "s3://pictures@bucket/face.jpg", "https://a.example/scene.jpg")]
    ending = swap.attempt()
    assert isinstance(ending.error, InputStoreError)
    assert ending.error.retryable
    assert "Nothing was sent" in ending.message
    assert swap.accepted() == 0


def test_a_connection_without_credentials_is_named_before_anything_is_paid(
    task: Callable[..., LightTask], endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    connection = {"conn_type": "aws", "extra": {"endpoint_url": endpoint}}
    monkeypatch.setenv("AIRFLOW_CONN_PICTURES", json.dumps(connection))
    swap = task()
    swap.pairs = [pair("pair-1", "s3://pictures@bucket/face.jpg", "https://a.example/scene.jpg")]
    ending = swap.attempt()
    assert "S3 through connection 'pictures' has no credentials" in ending.message
    assert swap.accepted() == 0


def test_a_link_that_would_end_with_the_credentials_before_its_job_may_is_not_paid_for(
    bucket: Bucket, task: Callable[..., LightTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The credentials are those of an assumed role that ends in an hour; the S3 server knows no roles."""
    from botocore.credentials import RefreshableCredentials

    ends = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    role: Any = RefreshableCredentials(*KEYS.values(), "token", ends, lambda: None, "assume-role")
    monkeypatch.setattr("boto3.session.Session.get_credentials", lambda _session: role)
    bucket.put("face.jpg", b"a face")
    swap = task(timeout=7200)
    swap.pairs = [pair("pair-1", f"s3://pictures@{bucket.name}/face.jpg", "https://a.example/scene.jpg")]
    ending = swap.attempt()
    assert re.search(r"would be valid for (59|60) min", ending.message)
    assert "a job may take 2.0 h (timeout). Nothing was sent." in ending.message
    assert swap.accepted() == 0
    assert swap.row()["status"] == "planned"

    swap.arguments["timeout"] = 600
    assert swap.attempt().error is None
    (seconds,) = re.findall(r"X-Amz-Expires=(\d+)", swap.sandbox.submissions()[0]["source_img"])
    assert 3300 < int(seconds) <= 3600


@pytest.mark.parametrize("kind", ["single", "batch"])
def test_local_files_are_staged_in_a_folder_that_is_served_and_removed_afterwards(
    connect: Callable[..., None],
    goenhance_sandbox_factory: Callable[..., SandboxProcess],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    staging = tmp_path / "staging"
    staging.mkdir()
    sandbox = goenhance_sandbox_factory(engine="mesh", public=staging)
    connect(sandbox)
    monkeypatch.setenv("AIRFLOW__GOENHANCE__INPUT_FOLDERS", str(IMAGES))
    monkeypatch.setenv("AIRFLOW__GOENHANCE__STAGING", str(staging))
    monkeypatch.setenv("AIRFLOW__GOENHANCE__STAGING_URL", f"{sandbox.url}/public")
    task = LightTask(sandbox, tmp_path, kind=kind)
    task.pairs = [
        pair("pair-1", str(IMAGES / "collins_closeup.jpg"), (IMAGES / "hopper.jpg").as_uri()),
        pair("pair-2", str(IMAGES / "collins_closeup.jpg"), str(IMAGES / "hopper_grey.jpg")),
    ][: 1 if kind == "single" else 2]
    assert task.attempt().error is None
    for row in task.rows().values():
        assert (row["status"], row["staged_uris"]) == ("succeeded", None)
    assert sandbox.submissions()[0]["source_img"].startswith(f"{sandbox.url}/public/")
    assert [path for path in staging.rglob("*") if path.is_file()] == []


def test_copies_of_jobs_that_still_run_are_left_for_them(
    task: Callable[..., LightTask], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__GOENHANCE__INPUT_FOLDERS", str(IMAGES))
    monkeypatch.setenv("AIRFLOW__GOENHANCE__STAGING", str(tmp_path / "staging"))
    monkeypatch.setenv("AIRFLOW__GOENHANCE__STAGING_URL", "http://127.0.0.1:9/public")
    swap = task(kind="batch", timeout=0.05)
    swap.pairs = [
        pair(f"pair-{number}", str(IMAGES / "hopper.jpg"), f"https://a.example/{number}.jpg")
        for number in (1, 2)
    ]
    swap.let_no_job_end()
    swap.attempt()
    (copy,) = [path for path in (tmp_path / "staging").rglob("*") if path.is_file()]
    assert json.loads(swap.row()["staged_uris"]) == [copy.as_uri()]
    swap.let_jobs_end()
    swap.arguments["timeout"] = 60
    assert swap.attempt().error is None
    assert not copy.exists()
    assert swap.row()["staged_uris"] is None


def test_a_copy_in_a_bucket_is_signed_and_removed_afterwards(
    bucket: Bucket, task: Callable[..., LightTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__GOENHANCE__INPUT_FOLDERS", str(IMAGES))
    swap = task(kind="batch", staging=f"s3://pictures@{bucket.name}/staging")
    swap.pairs = [pair("pair-1", str(IMAGES / "hopper.jpg"), "https://a.example/scene.jpg")]
    swap.arguments["wait_for_completion"] = False
    assert swap.attempt().error is None
    (key,) = bucket.keys()
    assert key.startswith("staging/")
    assert fetched(swap.sandbox.submissions()[0]["source_img"]) == (IMAGES / "hopper.jpg").read_bytes()
    swap.arguments["wait_for_completion"] = True
    assert swap.attempt().error is None
    assert bucket.keys() == []


def test_a_declined_picture_that_was_replaced_is_sent_by_a_clear_and_paid_for_once(
    bucket: Bucket, task: Callable[..., LightTask]
) -> None:
    swap = task(kind="batch")
    bucket.put("face.jpg", b"a face that is too dark")
    swap.pairs = [pair("pair-1", f"s3://pictures@{bucket.name}/face.jpg", "https://a.example/scene.jpg")]
    swap.sandbox.put_faults(submit={"kind": "business_error", "code": 1001, "msg": "too dark", "count": 1})
    swap.attempt()
    assert (swap.row()["status"], swap.row()["error_code"]) == ("failed", "bad_request")
    bucket.put("face.jpg", b"a brighter face")
    swap.attempt()
    assert swap.row()["status"] == "failed"  # a retry changes nothing
    swap.clear()
    assert swap.attempt().error is None
    row = swap.row()
    assert (row["status"], row["attempts"], swap.accepted()) == ("succeeded", 1, 1)
