# SPDX-License-Identifier: Apache-2.0
"""Private pictures on S3, against moto's server over HTTP: links, versions, and what each refusal is called."""

from __future__ import annotations

import datetime as dt
import json
import logging
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_provider_goenhance.exceptions import (
    ErrorCode,
    InputError,
    InputStoreError,
    InputStoreUnavailableError,
    InputUnavailableError,
)
from airflow_provider_goenhance.hooks import signers_s3
from airflow_provider_goenhance.inputs.stores import MOST_BYTES, Found
from airflow_provider_goenhance.picture_address import PictureAddress, read_address

boto3 = pytest.importorskip("boto3", reason="the extra s3 is not installed")
moto_server = pytest.importorskip("moto.server", reason="moto, an S3 server for tests, is not installed")

KEYS = {"aws_access_key_id": "test-key-id", "aws_secret_access_key": "test-secret-key"}
REGION = "eu-central-1"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def connect(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Define the connection ``pictures``."""

    def define(login: str | None = KEYS["aws_access_key_id"], **extra: Any) -> None:
        fields = {
            "conn_type": "aws",
            "login": login,
            "password": KEYS["aws_secret_access_key"] if login else None,
            "extra": {"endpoint_url": endpoint, "region_name": REGION, **extra},
        }
        monkeypatch.setenv("AIRFLOW_CONN_PICTURES", json.dumps(fields))

    define()
    return define


@pytest.fixture
def client(endpoint: str, connect: Callable[..., None]) -> Iterator[Any]:
    """Create the bucket ``pictures``, and return a client past the code under test."""
    client = boto3.client("s3", endpoint_url=endpoint, region_name=REGION, **KEYS)
    client.create_bucket(Bucket="pictures", CreateBucketConfiguration={"LocationConstraint": REGION})
    yield client
    listed = client.list_object_versions(Bucket="pictures")
    for version in listed.get("Versions", []) + listed.get("DeleteMarkers", []):
        client.delete_object(Bucket="pictures", Key=version["Key"], VersionId=version["VersionId"])
    client.delete_bucket(Bucket="pictures")


def address(key: str, bucket: str = "pictures") -> PictureAddress:
    found = read_address(f"s3://pictures@{bucket}/{key}")
    assert found is not None
    return found


@pytest.mark.parametrize("versioned", [False, True])
def test_a_link_gives_the_version_that_was_looked_at_for_its_time_only(client: Any, versioned: bool) -> None:
    if versioned:
        status = {"Status": "Enabled"}
        client.put_bucket_versioning(Bucket="pictures", VersioningConfiguration=status)
    client.put_object(Bucket="pictures", Key="faces/a b.jpg", Body=b"a face")
    store = signers_s3.S3Pictures("pictures")
    found = store.look(address("faces/a b.jpg"))
    client.put_object(Bucket="pictures", Key="faces/a b.jpg", Body=b"another")

    link = store.sign(address("faces/a b.jpg"), found, 3600)

    query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(link).query))
    assert (query["X-Amz-Algorithm"], query["X-Amz-Expires"]) == ("AWS4-HMAC-SHA256", "3600")
    assert REGION in query["X-Amz-Credential"]
    assert query.get("versionId") == found.object_version
    assert bool(found.object_version) is versioned
    with urllib.request.urlopen(link) as answer:
        assert answer.read() == (b"a face" if versioned else b"another")


def test_a_picture_that_was_overwritten_is_not_read_as_the_one_that_was_looked_at(client: Any) -> None:
    client.put_object(Bucket="pictures", Key="face.jpg", Body=b"a face")
    store = signers_s3.S3Pictures("pictures")
    found = store.look(address("face.jpg"))
    assert store.read(address("face.jpg"), found) == b"a face"
    client.put_object(Bucket="pictures", Key="face.jpg", Body=b"another")

    with pytest.raises(InputUnavailableError, match="was overwritten while it was read") as caught:
        store.read(address("face.jpg"), found)

    assert caught.value.error_code == ErrorCode.INPUT_CHANGED


def test_a_picture_that_is_too_large_is_not_read(client: Any) -> None:
    store = signers_s3.S3Pictures("pictures")
    with pytest.raises(InputError):
        store.read(address("face.jpg"), Found("etag", MOST_BYTES + 1))


def test_a_listing_begins_at_the_key_and_says_where_it_ended(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signers_s3, "LISTED_NAMES", 2)
    for name in "abcd":
        client.put_object(Bucket="pictures", Key=f"faces/{name}.jpg", Body=name.encode())
    store = signers_s3.S3Pictures("pictures")

    first = store.list_from(address("faces/b.jpg"), "faces/")
    last = store.list_from(address("faces/d.jpg"), "faces/")
    none = store.list_from(address("other/a.jpg"), "other/")

    assert (list(first.found), first.last) == (["faces/b.jpg", "faces/c.jpg"], "faces/c.jpg")
    assert (list(last.found), last.last) == (["faces/d.jpg"], None)
    assert first.found["faces/b.jpg"].version == store.look(address("faces/b.jpg")).version
    assert (none.found, none.last) == ({}, None)


def test_a_missing_picture_and_a_missing_bucket_are_named(client: Any) -> None:
    store = signers_s3.S3Pictures("pictures")
    with pytest.raises(InputError, match=r"s3://pictures/none\.jpg is not there \(S3 through"):
        store.look(address("none.jpg"))
    with pytest.raises(InputStoreError, match=r"There is no bucket 'nowhere'.*Nothing was sent"):
        store.look(address("face.jpg", "nowhere"))


def test_a_link_is_signed_for_the_region_of_its_bucket_not_for_that_of_the_connection(
    client: Any, connect: Callable[..., None]
) -> None:
    connect(region_name="us-west-2")
    client.put_object(Bucket="pictures", Key="face.jpg", Body=b"a face")
    store = signers_s3.S3Pictures("pictures")

    link = store.sign(address("face.jpg"), store.look(address("face.jpg")), 60)

    assert f"%2F{REGION}%2Fs3%2F" in link


def test_a_server_that_is_not_there_may_be_there_later(connect: Callable[..., None]) -> None:
    connect(endpoint_url="http://127.0.0.1:9", config_kwargs={"retries": {"max_attempts": 0}})
    with pytest.raises(InputStoreUnavailableError, match=r"cannot find bucket pictures: .*Nothing was sent"):
        signers_s3.S3Pictures("pictures").look(address("face.jpg"))


@pytest.mark.parametrize(
    ("status", "code", "error", "said"),
    [
        (
            403,
            "AccessDenied",
            InputError,
            "cannot be read with S3 .*AccessDenied.*Give the connection the permissions s3:GetObject",
        ),
        (503, "SlowDown", InputStoreUnavailableError, "SlowDown. Nothing was sent."),
        (404, "NoSuchKey", InputError, "is not there"),
    ],
)
def test_what_s3_refuses_is_told_from_what_it_refuses_for_now(
    client: Any, monkeypatch: pytest.MonkeyPatch, status: int, code: str, error: type[Exception], said: str
) -> None:
    from botocore.client import BaseClient
    from botocore.exceptions import ClientError

    client.put_object(Bucket="pictures", Key="face.jpg", Body=b"a face")
    store = signers_s3.S3Pictures("pictures")
    send = BaseClient._make_api_call

    def refuse(self: Any, operation: str, arguments: Any) -> Any:
        if operation != "HeadObject":
            return send(self, operation, arguments)
        answer: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
        raise ClientError(answer, operation)

    monkeypatch.setattr(BaseClient, "_make_api_call", refuse)
    with pytest.raises(error, match=said):
        store.look(address("face.jpg"))


def test_a_connection_without_credentials_and_one_that_does_not_exist_are_named(
    connect: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from botocore.session import Session

    monkeypatch.setattr(Session, "get_credentials", lambda self: None)
    connect(login=None)
    with pytest.raises(InputStoreError, match="S3 through connection 'pictures' has no credentials"):
        signers_s3.S3Pictures("pictures")


def test_credentials_that_end_are_read_again_from_the_connection_and_others_do_not_say(
    connect: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from botocore.credentials import Credentials, RefreshableCredentials
    from botocore.session import Session

    def ending(seconds: int) -> Any:
        end = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)
        return RefreshableCredentials("key", "secret", "token", end, dict, "test")

    given: list[Any] = [Credentials("key", "secret")]
    monkeypatch.setattr(Session, "get_credentials", lambda self: given[-1])
    assert signers_s3.S3Pictures("pictures").credential_seconds() is None

    given.append(ending(900))
    store = signers_s3.S3Pictures("pictures")
    given.append(ending(3600))
    left = store.credential_seconds()
    assert left is not None
    assert 880 < left <= 900

    later = time.monotonic() + signers_s3.RENEW_SECONDS + 1
    monkeypatch.setattr(signers_s3.time, "monotonic", lambda: later)
    left = store.credential_seconds()
    assert left is not None
    assert 3580 < left <= 3600


def test_no_signature_gets_into_the_log_of_botocore(client: Any, caplog: pytest.LogCaptureFixture) -> None:
    store = signers_s3.S3Pictures("pictures")
    with caplog.at_level(logging.DEBUG, logger="botocore.auth"):
        link = store.sign(address("face.jpg"), Found("etag", 1), 60)

    signature = urllib.parse.parse_qs(urllib.parse.urlsplit(link).query)["X-Amz-Signature"][0]
    assert any(record.name == "botocore.auth" for record in caplog.records)
    assert signature not in caplog.text
