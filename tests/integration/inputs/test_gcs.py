# SPDX-License-Identifier: Apache-2.0
"""Private pictures on Google Cloud Storage, against an emulator that speaks its protocol over HTTP."""

from __future__ import annotations

import hashlib
import json
import threading
import urllib.parse
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_goenhance.exceptions import InputError, InputStoreError
from airflow_provider_goenhance.hooks.input_stores import InputStores
from airflow_provider_goenhance.inputs.sign import LinkSigner
from airflow_provider_goenhance.inputs.stores import Found
from airflow_provider_goenhance.inputs.versions import InputVersions
from airflow_provider_goenhance.picture_address import PictureAddress, read_address
from airflow_provider_goenhance.settings import InputSettings

pytest.importorskip("airflow.providers.google", reason="the extra gcs is not installed")
emulator = pytest.importorskip("gcp_storage_emulator.server", reason="gcp-storage-emulator is not installed")

CONN_ID = "goenhance_test_gcs"


class _Tokens(BaseHTTPRequestHandler):
    """Gives a token to each who asks, as Google does to a service account."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.dumps({"access_token": "a-token", "expires_in": 3600, "token_type": "Bearer"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Write no log."""


@pytest.fixture(scope="module")
def token_url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Tokens)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/token"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = emulator.create_server("127.0.0.1", 0, in_memory=True, default_bucket="pictures")
    server.start()
    host, port = server._api._httpd.server_address[:2]
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str, token_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {
        "type": "service_account",
        "project_id": "project",
        "private_key_id": "1",
        "private_key": key.decode(),
        "client_email": "swapper@project.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": token_url,
    }
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", endpoint)
    connection = {
        "conn_type": "google_cloud_platform",
        "extra": {"keyfile_dict": json.dumps(account), "project": "project"},
    }
    monkeypatch.setenv(f"AIRFLOW_CONN_{CONN_ID.upper()}", json.dumps(connection))
    client = storage.Client(project="project", credentials=AnonymousCredentials())
    yield client.bucket("pictures")
    for blob in list(client.list_blobs("pictures")):
        blob.delete()


def stores() -> InputStores:
    return InputStores(InputSettings((), "", "", False, 43200))


def address(key: str, bucket: str = "pictures") -> PictureAddress:
    found = read_address(f"gs://{CONN_ID}@{bucket}/{key}")
    assert found is not None
    return found


def md5(data: bytes) -> str:
    return b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def test_a_link_is_signed_with_the_private_key_for_the_generation_that_was_looked_at(bucket: Any) -> None:
    bucket.blob("faces/a b.jpg").upload_from_string(b"a face")
    store = stores().open(address("faces/a b.jpg"))
    assert store.can_sign
    found = store.look(address("faces/a b.jpg"))
    assert found.version == md5(b"a face")
    assert found.size == 6
    link = LinkSigner(43200, 3600).sign(store, address("faces/a b.jpg"), found)
    query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(link).query))
    assert query["X-Goog-Algorithm"] == "GOOG4-RSA-SHA256"
    assert query["X-Goog-Expires"] == "43200"
    assert query["generation"] == found.object_version
    assert len(query["X-Goog-Signature"]) == 512
    with urllib.request.urlopen(link) as answer:
        assert answer.read() == b"a face"
    assert store.read(address("faces/a b.jpg"), found) == b"a face"


def test_a_listing_and_a_look_name_the_same_version(bucket: Any) -> None:
    urls = []
    for number in range(20):
        bucket.blob(f"faces/{number:02}.jpg").upload_from_string(b"%d" % number)
        urls.append(f"gs://{CONN_ID}@pictures/faces/{number:02}.jpg")
    listed = InputVersions(stores().open).look_up(urls)
    assert {there.version for there in listed.values() if isinstance(there, Found)} == {
        md5(b"%d" % number) for number in range(20)
    }


def test_an_overwritten_object_has_another_version(bucket: Any) -> None:
    bucket.blob("face.jpg").upload_from_string(b"a face")
    before = stores().open(address("face.jpg")).look(address("face.jpg"))
    bucket.blob("face.jpg").upload_from_string(b"another face")
    after = stores().open(address("face.jpg")).look(address("face.jpg"))
    assert before.version != after.version


def test_a_missing_object_is_named(bucket: Any) -> None:
    store = stores().open(address("none.jpg"))
    with pytest.raises(
        InputError, match=r"gs://pictures/none\.jpg is not there \(Google Cloud Storage through"
    ):
        store.look(address("none.jpg"))


def test_without_a_private_key_google_signs(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Google's signBlob is no part of the emulator: the test answers for it."""
    from google.auth import compute_engine

    bucket.blob("face.jpg").upload_from_string(b"a face")
    store: Any = stores().open(address("face.jpg"))
    found = store.look(address("face.jpg"))
    credentials: Any = compute_engine.Credentials(service_account_email="default")

    def refresh(_request: object) -> None:
        credentials.token, credentials._service_account_email = "a-token", "swapper@project"

    asked: list[tuple[str, str]] = []

    class Iam:
        """Answers as Google's IAM service."""

        status = 200
        data = json.dumps({"signedBlob": b64encode(b"\xab" * 256).decode()}).encode()

        def __call__(self, *, url: str, headers: dict[str, str], **_: Any) -> Iam:
            asked.append((url, headers["Authorization"]))
            return self

    monkeypatch.setattr(credentials, "refresh", refresh)
    monkeypatch.setattr(store, "credentials", credentials)
    monkeypatch.setattr("google.auth.transport.requests.Request", Iam)
    assert store.can_sign
    link = LinkSigner(43200, 3600).sign(store, address("face.jpg"), found)
    ((url, authorization),) = asked
    assert authorization == "Bearer a-token"
    assert url.partition("?")[0].endswith("/serviceAccounts/swapper@project:signBlob")
    assert "X-Goog-Signature=abab" in link


def test_a_store_without_an_account_cannot_sign(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from google.auth.credentials import AnonymousCredentials

    store: Any = stores().open(address("face.jpg"))
    monkeypatch.setattr(store, "credentials", AnonymousCredentials())
    assert not store.can_sign


def test_a_connection_that_does_not_exist_is_named() -> None:
    found = read_address("gs://no_such_conn@pictures/face.jpg")
    assert found is not None
    with pytest.raises(InputStoreError, match="through connection 'no_such_conn' cannot be opened"):
        stores().open(found)
