# SPDX-License-Identifier: Apache-2.0
"""Pictures on S3, through an Airflow connection, against moto's server."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_goenhance.exceptions import CollectError
from airflow_provider_goenhance.pictures.collector import StorageOptions, collect_picture
from airflow_provider_goenhance.pictures.removal import delete_file, files_of_tasks, storage_of
from airflow_provider_goenhance.pictures.storage import (
    keep_file,
    keep_picture,
    picture_exists,
    read_picture,
    remove_file,
)
from tests.unit.pictures.picture_server import PictureServer
from tests.unit.pictures.pictures import encoded, pixels

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

boto3 = pytest.importorskip("boto3", reason="the extra s3 is not installed")
pytest.importorskip("s3fs", reason="the extra s3 is not installed")
moto_server = pytest.importorskip("moto.server", reason="moto, an S3 server for tests, is not installed")

CONN_ID = "goenhance_test_pictures"
STORAGE = "s3://pictures/swaps"
PICTURE = encoded("jpeg")
OTHER = encoded("jpeg", mode="L")


@dataclass
class Bucket:
    """A bucket on the server, seen past the code under test."""

    client: Any
    name: str = "pictures"

    def keys(self) -> list[str]:
        found = self.client.list_objects_v2(Bucket=self.name).get("Contents", [])
        return [each["Key"] for each in found]

    def unfinished_uploads(self) -> list[Any]:
        uploads: list[Any] = self.client.list_multipart_uploads(Bucket=self.name).get("Uploads", [])
        return uploads

    def version(self, key: str) -> tuple[str, Any]:
        head = self.client.head_object(Bucket=self.name, Key=key)
        return head["VersionId"], head["LastModified"]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    from airflow.sdk.io import store as airflow_store

    connection = {
        "conn_type": "aws",
        "login": "test-key-id",
        "password": "test-secret-key",
        "extra": {"endpoint_url": endpoint, "region_name": "us-east-1"},
    }
    monkeypatch.setenv(f"AIRFLOW_CONN_{CONN_ID.upper()}", json.dumps(connection))
    monkeypatch.setattr(airflow_store, "_STORE_CACHE", {})
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="test-key-id",
        aws_secret_access_key="test-secret-key",
    )
    client.create_bucket(Bucket="pictures")
    client.put_bucket_versioning(Bucket="pictures", VersioningConfiguration={"Status": "Enabled"})
    yield Bucket(client)
    listed = client.list_object_versions(Bucket="pictures")
    for version in listed.get("Versions", []) + listed.get("DeleteMarkers", []):
        client.delete_object(Bucket="pictures", Key=version["Key"], VersionId=version["VersionId"])
    client.delete_bucket(Bucket="pictures")


def test_a_picture_is_kept_on_s3_through_an_airflow_connection(bucket: Bucket) -> None:
    kept = keep_picture(PICTURE, "s3://pictures/swaps", "run-1", "pair-1", ".jpg", conn_id=CONN_ID)
    assert kept.uri == "s3://pictures/swaps/run-1/pair-1.jpg"
    assert bucket.keys() == ["swaps/run-1/pair-1.jpg"]
    assert bucket.unfinished_uploads() == []
    assert picture_exists(kept.uri, CONN_ID)
    assert read_picture(kept.uri, CONN_ID) == PICTURE


def test_the_connection_may_stand_in_the_storage_as_airflow_writes_it(bucket: Bucket) -> None:
    kept = keep_picture(PICTURE, f"s3://{CONN_ID}@pictures/swaps/", "r", "p", ".jpg")
    assert kept.uri == f"s3://{CONN_ID}@pictures/swaps/r/p.jpg"
    assert picture_exists(kept.uri)
    assert read_picture(kept.uri) == PICTURE


def test_keeping_the_same_bytes_again_writes_no_new_version(bucket: Bucket) -> None:
    keep_picture(PICTURE, "s3://pictures", "r", "p", ".jpg", conn_id=CONN_ID)
    before = bucket.version("r/p.jpg")
    keep_picture(PICTURE, "s3://pictures", "r", "p", ".jpg", conn_id=CONN_ID)
    assert bucket.version("r/p.jpg") == before
    keep_picture(OTHER, "s3://pictures", "r", "p", ".jpg", conn_id=CONN_ID)
    assert bucket.version("r/p.jpg") != before


def test_a_file_is_kept_on_s3_in_place_of_another_and_removed(bucket: Bucket, tmp_path: Path) -> None:
    for content in (b"first", b"second" * 2_000_000):
        path = tmp_path / "failures.csv"
        path.write_bytes(content)
        with path.open("rb") as file:
            uri = keep_file(file, "s3://pictures/swaps", "run-1/failures.csv", conn_id=CONN_ID)
        assert read_picture(uri, CONN_ID) == content
    assert bucket.unfinished_uploads() == []
    for _ in range(2):
        remove_file("s3://pictures/swaps", "run-1/failures.csv", conn_id=CONN_ID)
        assert bucket.keys() == []


def test_another_picture_of_the_same_run_and_pair_is_left_alone(bucket: Bucket) -> None:
    first = keep_picture(PICTURE, "s3://pictures", "r", "p", ".jpg", conn_id=CONN_ID, img_uuid="job-1")
    second = keep_picture(OTHER, "s3://pictures", "r", "p", ".jpg", conn_id=CONN_ID, img_uuid="job-2")
    assert read_picture(first.uri, CONN_ID) == PICTURE
    assert read_picture(second.uri, CONN_ID) == OTHER
    assert bucket.keys() == sorted(["r/p.jpg", second.name])


def test_a_picture_that_somebody_deleted_is_seen_to_be_gone(bucket: Bucket) -> None:
    kept = keep_picture(PICTURE, "s3://pictures", "r", "p", ".jpg", conn_id=CONN_ID)
    assert picture_exists(kept.uri, CONN_ID)
    bucket.client.delete_object(Bucket="pictures", Key="r/p.jpg")
    assert not picture_exists(kept.uri, CONN_ID)
    with pytest.raises(CollectError, match=r"pictures/r/p\.jpg"):
        read_picture(kept.uri, CONN_ID)


def test_a_bucket_that_does_not_exist_is_an_error_that_names_it(bucket: Bucket) -> None:
    with pytest.raises(CollectError, match=r"s3://no-such-bucket/r/p\.jpg") as caught:
        keep_picture(PICTURE, "s3://no-such-bucket", "r", "p", ".jpg", conn_id=CONN_ID)
    assert caught.value.error_code == "not_kept"


async def test_a_job_is_collected_from_its_link_to_s3(bucket: Bucket) -> None:
    import aiohttp

    async with PictureServer(encoded("png")) as server, aiohttp.ClientSession() as session:

        async def link_of(refresh: bool) -> list[str]:
            return [server.link("/user/a_0.png" if refresh else "/status/403"), server.link("/user/a_1.png")]

        kept = await collect_picture(
            session,
            link_of,
            StorageOptions(
                "s3://pictures/swaps",
                "scheduled__2026-11-22T02:00:00+00:00",
                conn_id=CONN_ID,
                sidecar=True,
            ),
            pair_id="../p",
        )
    assert [k.mark for k in kept] == ["marked", "marked"]
    written = bucket.keys()
    assert len(written) == 4
    assert all(key.startswith("swaps/scheduled__2026-11-22T02_00_00_00_00-") for key in written)
    for each in kept:
        assert pixels(read_picture(each.uri, CONN_ID)) == pixels(encoded("png"))
        assert each.sidecar_uri is not None
        content = json.loads(read_picture(each.sidecar_uri, CONN_ID))
        assert content["picture"]["sha256"] == each.sha256


def test_a_deleted_file_is_gone_and_deleting_it_again_is_harmless(bucket: Bucket) -> None:
    kept = keep_picture(PICTURE, STORAGE, "run", "p1", ".jpg", conn_id=CONN_ID)
    assert delete_file(kept.uri, CONN_ID)
    assert bucket.keys() == []
    assert not delete_file(kept.uri, CONN_ID)


def test_the_files_of_a_run_are_found_beside_its_pictures(bucket: Bucket, tmp_path: Path) -> None:
    keep_picture(PICTURE, STORAGE, "run", "p1", ".jpg", conn_id=CONN_ID)
    for name in (
        "run/contact-sheet-dag.report.html",
        "run/dag.report/failures.csv",
        "another/dag.report/failures.csv",
    ):
        path = tmp_path / "file"
        path.write_bytes(b"x")
        with path.open("rb") as file:
            keep_file(file, STORAGE, name, conn_id=CONN_ID)
    assert list(files_of_tasks(STORAGE, "run", CONN_ID)) == [
        ("dag.report.html", f"{STORAGE}/run/contact-sheet-dag.report.html"),
        ("dag.report", f"{STORAGE}/run/dag.report/failures.csv"),
    ]
    assert list(files_of_tasks(STORAGE, "no-such-run", CONN_ID)) == []
    assert storage_of(f"{STORAGE}/run/p1.jpg", "run") == STORAGE
