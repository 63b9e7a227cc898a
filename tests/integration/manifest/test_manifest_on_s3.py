# SPDX-License-Identifier: Apache-2.0
"""A manifest on S3, through an Airflow connection: what is read, and how a fault of the storage is named."""

from __future__ import annotations

import gzip
import json
import socket
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_goenhance.exceptions import ManifestError, ManifestUnavailableError
from airflow_provider_goenhance.manifest.arrivals import Arrivals, list_files
from airflow_provider_goenhance.manifest.read import read_manifest
from airflow_provider_goenhance.retry_policy import is_final
from tests.unit.manifest.files import as_parquet

if TYPE_CHECKING:
    from collections.abc import Iterator

boto3 = pytest.importorskip("boto3", reason="the extra s3 is not installed")
pytest.importorskip("s3fs", reason="the extra s3 is not installed")
moto_server = pytest.importorskip("moto.server", reason="moto, an S3 server for tests, is not installed")

CONN_ID = "goenhance_test_manifests"
MANIFEST = "s3://nights/tonight/pairs.csv"
ROWS = 'source_img,reference_img,note\nhttps://a.example/1.jpg,https://a.example/2.jpg,"two\nlines"\n'


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{host}:{port}",
        region_name="us-east-1",
        aws_access_key_id="test-key-id",
        aws_secret_access_key="test-secret-key",
    )
    client.create_bucket(Bucket="nights")
    client.put_object(Bucket="nights", Key="tonight/pairs.csv", Body=ROWS.encode())
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def client(endpoint: str) -> Any:
    """A client of the storage, beside ours."""
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="test-key-id",
        aws_secret_access_key="test-secret-key",
    )


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Any:
    from airflow.sdk.io import store as airflow_store

    def connect_to(endpoint: str) -> None:
        extra = {
            "endpoint_url": endpoint,
            "region_name": "us-east-1",
            "config_kwargs": {"retries": {"max_attempts": 0}},
        }
        connection = {
            "conn_type": "aws",
            "login": "test-key-id",
            "password": "test-secret-key",
            "extra": extra,
        }
        monkeypatch.setenv(f"AIRFLOW_CONN_{CONN_ID.upper()}", json.dumps(connection))
        monkeypatch.setattr(airflow_store, "_STORE_CACHE", {})

    return connect_to


def test_a_manifest_on_s3_is_read(endpoint: str, connect: Any) -> None:
    connect(endpoint)
    assert [pair.row_number for pair in read_manifest(MANIFEST, conn_id=CONN_ID).pairs] == [2]


@pytest.mark.parametrize(
    ("location", "said"),
    [
        (
            "s3://nights/tonight/gone.csv",
            "there is no manifest s3://nights/tonight/gone.csv: check bucket, key",
        ),
        ("s3://gone/pairs.csv", "there is no manifest s3://gone/pairs.csv: check bucket, key"),
        ("s3://nights/tonight", "manifest s3://nights/tonight is a folder: name the file in it"),
    ],
)
def test_a_manifest_that_s3_does_not_have_is_final(
    endpoint: str, connect: Any, location: str, said: str
) -> None:
    connect(endpoint)
    with pytest.raises(ManifestError) as caught:
        read_manifest(location, conn_id=CONN_ID)
    assert str(caught.value).startswith(said)
    assert is_final(caught.value)


def test_an_s3_that_is_not_there_is_named_and_retried(connect: Any) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        connect(f"http://127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(ManifestUnavailableError, match="cannot be reached") as caught:
            read_manifest(MANIFEST, conn_id=CONN_ID)
    assert not is_final(caught.value)


def test_the_connection_may_be_in_the_address(endpoint: str, connect: Any) -> None:
    connect(endpoint)
    assert len(read_manifest(f"s3://{CONN_ID}@nights/tonight/pairs.csv").pairs) == 1


def test_a_compressed_parquet_or_json_file_on_s3_is_read(endpoint: str, connect: Any, client: Any) -> None:
    connect(endpoint)
    row = {"source_img": "https://a.example/1.jpg", "reference_img": "https://a.example/2.jpg"}
    client.put_object(
        Bucket="nights", Key="more/pairs.jsonl.gz", Body=gzip.compress(json.dumps(row).encode())
    )
    client.put_object(
        Bucket="nights", Key="more/pairs.parquet", Body=as_parquet(list(row), [list(row.values())])
    )
    for name in ("pairs.jsonl.gz", "pairs.parquet"):
        assert len(read_manifest(f"s3://nights/more/{name}", conn_id=CONN_ID).pairs) == 1


def test_a_watcher_sees_each_new_version_on_s3_at_once(endpoint: str, connect: Any, client: Any) -> None:
    connect(endpoint)
    watched = Arrivals([], report_existing=False)

    def landed() -> list[str]:
        return [file.location for file in watched.update(list_files("s3://nights/inbox", CONN_ID))]

    assert landed() == []
    client.put_object(Bucket="nights", Key="inbox/2026/a.csv", Body=ROWS.encode())
    assert landed() == ["s3://nights/inbox/2026/a.csv"]
    assert landed() == []
    client.put_object(Bucket="nights", Key="inbox/2026/a.csv", Body=ROWS.encode() * 2)
    client.put_object(Bucket="nights", Key="inbox/b.csv", Body=ROWS.encode())
    assert landed() == ["s3://nights/inbox/2026/a.csv", "s3://nights/inbox/b.csv"]
    assert len(read_manifest("s3://nights/inbox/b.csv", conn_id=CONN_ID).pairs) == 1
