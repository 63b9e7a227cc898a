# SPDX-License-Identifier: Apache-2.0
"""The storages that a manifest is read from, and secrets in its location."""

from __future__ import annotations

import errno
import functools
import http.server
import socket
import ssl
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
)

from airflow_provider_goenhance.exceptions import ManifestError, ManifestUnavailableError
from airflow_provider_goenhance.manifest.read import read_manifest
from airflow_provider_goenhance.retry_policy import is_final

if TYPE_CHECKING:
    from collections.abc import Iterator

GOOD = "source_img,reference_img,pair_id\nhttps://a.example/1.jpg,https://a.example/2.jpg,p1\n"


def test_a_file_uri_and_a_home_folder_are_local_files(manifest_file, tmp_path, monkeypatch):
    location = manifest_file(GOOD)
    assert read_manifest(f"file://{location}").location == f"file://{location}"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(read_manifest("~/pairs.csv").pairs) == 1


@pytest.fixture
def bucket(monkeypatch):
    """Attach a storage of our own to Airflow, once without and once with a connection."""
    from airflow.sdk.io import attach, store
    from fsspec.implementations.memory import MemoryFileSystem

    monkeypatch.setattr(store, "_STORE_CACHE", {})
    monkeypatch.setattr(MemoryFileSystem, "store", {})
    monkeypatch.setattr(MemoryFileSystem, "pseudo_dirs", [""])
    storage = MemoryFileSystem()
    storage.pipe("/bucket/night/pairs.csv", GOOD.encode())
    attach("memory", fs=storage)
    attach("memory", conn_id="store_eu", fs=storage)
    return storage


def test_a_manifest_in_an_object_storage(bucket):
    assert [p.pair_id for p in read_manifest("memory://bucket/night/pairs.csv").pairs] == ["p1"]
    manifest = read_manifest("memory://bucket/night/pairs.csv", conn_id="store_eu")
    assert [p.row_number for p in manifest.pairs] == [2]


def test_a_missing_object_and_a_folder_in_an_object_storage(bucket):
    with pytest.raises(
        ManifestError, match=r"^there is no manifest memory://bucket/gone\.csv: check bucket, key"
    ):
        read_manifest("memory://bucket/gone.csv")
    with pytest.raises(
        ManifestError, match=r"^manifest memory://bucket/night is a folder: name the file in it$"
    ):
        read_manifest("memory://bucket/night")


def test_a_storage_that_breaks_off_is_an_error_of_the_manifest(bucket, monkeypatch):
    from fsspec.implementations.memory import MemoryFile

    def read(self, size=-1):
        raise RuntimeError("token=https://x.example/m.csv?sig=s3cret")

    monkeypatch.setattr(MemoryFile, "read", read)
    with pytest.raises(
        ManifestError, match=r"pairs\.csv cannot be read: RuntimeError: token=https"
    ) as caught:
        read_manifest("memory://bucket/night/pairs.csv")
    assert "s3cret" not in str(caught.value)


def refused(code: str, status: int) -> ClientError:
    answer = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "GetObject")


def caused_by(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


STORAGE_FAULTS = [
    (
        caused_by(PermissionError("Access Denied"), refused("AccessDenied", 403)),
        "HTTP status 403, access",
        True,
    ),
    (caused_by(PermissionError("Forbidden"), refused("ExpiredToken", 400)), "HTTP status 400", True),
    (caused_by(TimeoutError(), refused("RequestTimeout", 400)), "the answer timed out", False),
    (refused("InvalidAccessKeyId", 403), "HTTP status 403, access", True),
    (caused_by(OSError(errno.EBUSY, "Slow Down"), refused("SlowDown", 503)), "HTTP status 503", False),
    (caused_by(FileNotFoundError("m.csv"), ConnectionRefusedError()), "the connection was refused", False),
    (PermissionError("no"), "access is refused", True),
    (OSError(errno.EIO, "x"), "Input/output error", False),
    (OSError(errno.EINVAL, "x"), "Invalid argument", True),
    (
        EndpointConnectionError(endpoint_url="https://s3.example/?sig=s3cret"),
        "EndpointConnectionError: ",
        False,
    ),
    (ConnectTimeoutError(endpoint_url="https://s3.example"), "ConnectTimeoutError: ", False),
    (NoCredentialsError(), "NoCredentialsError: ", True),
    (TimeoutError(), "the answer timed out", False),
    (socket.gaierror(-2, "x"), "the host is unknown", False),
    (ConnectionResetError(), "the connection was cut", False),
    (caused_by(RuntimeError("x"), ssl.SSLError("x")), "TLS: the handshake failed", False),
    (ValueError("bad key"), "ValueError: bad key", True),
]


@pytest.mark.parametrize(("error", "said", "final"), STORAGE_FAULTS, ids=lambda value: repr(value)[:40])
@pytest.mark.parametrize("call", ["info", "open", "read"])
def test_a_fault_of_a_storage_is_named_and_says_whether_a_retry_can_help(
    bucket, monkeypatch, call, error, said, final
):
    from fsspec.implementations.memory import MemoryFile, MemoryFileSystem

    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(MemoryFile if call == "read" else MemoryFileSystem, call, fail)
    with pytest.raises(ManifestError) as caught:
        read_manifest("memory://bucket/night/pairs.csv")
    assert f": {said}" in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert is_final(caught.value) is final
    assert isinstance(caught.value, ManifestUnavailableError) is not final


@pytest.mark.parametrize(
    ("number", "final"),
    [
        (errno.EACCES, True),
        (errno.ENOENT, True),
        (errno.EIO, False),
        (errno.ESTALE, False),
        (errno.EMFILE, False),
        (errno.ETIMEDOUT, False),
    ],
)
@pytest.mark.parametrize("call", ["stat", "open"])
def test_a_local_file_on_a_share_that_is_away_for_a_moment_is_retried(
    manifest_file, monkeypatch, number, final, call
):
    location = manifest_file(GOOD)

    def fail(*args, **kwargs):
        raise OSError(number, "x")

    monkeypatch.setattr(Path, call, fail)
    with pytest.raises(ManifestError) as caught:
        read_manifest(location)
    assert location in str(caught.value)
    assert is_final(caught.value) is final


def test_a_storage_that_airflow_does_not_know_says_what_is_needed():
    with pytest.raises(ManifestError, match=r"^manifest nowhere://b/m\.csv cannot be reached: .*provider"):
        read_manifest("nowhere://b/m.csv")


def test_a_password_in_a_storage_uri_is_refused_unseen():
    with pytest.raises(ManifestError, match="carries a password") as caught:
        read_manifest("s3://key:s3cret@bucket/m.csv")
    assert "s3cret" not in str(caught.value)


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args) -> None:
        pass


@pytest.fixture
def website(tmp_path) -> Iterator[str]:
    handler = functools.partial(QuietHandler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_manifest_on_a_web_server(website, manifest_file):
    manifest_file(GOOD + "\n" * 300_000 + "https://a.example/1.jpg,https://a.example/2.jpg,p2\n")
    manifest = read_manifest(f"{website}/pairs.csv?sig=s3cret#x")
    assert [p.row_number for p in manifest.pairs] == [2, 300_003]
    assert manifest.location == f"{website}/pairs.csv"


def test_a_manifest_that_the_web_server_does_not_have(website):
    with pytest.raises(ManifestError) as caught:
        read_manifest(f"{website}/gone.csv?sig=s3cret")
    assert (
        str(caught.value)
        == f"manifest {website}/gone.csv cannot be read: HTTP status 404, there is no such file; check the address"
    )


def test_a_bad_byte_on_a_web_server_is_located_too(website, manifest_file):
    manifest_file(GOOD.encode() + b"\xe9")
    with pytest.raises(ManifestError, match=r"row 3, column source_img: byte 0xE9"):
        read_manifest(f"{website}/pairs.csv")


def test_a_web_server_that_is_not_there():
    with http.server.HTTPServer(("127.0.0.1", 0), QuietHandler) as server:
        port = server.server_port
    with pytest.raises(
        ManifestError, match=rf"^manifest http://127\.0\.0\.1:{port}/m\.csv cannot be read: "
    ) as caught:
        read_manifest(f"http://127.0.0.1:{port}/m.csv?sig=s3cret")
    assert "s3cret" not in str(caught.value)
