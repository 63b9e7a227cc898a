# SPDX-License-Identifier: Apache-2.0
"""One object that S3 refuses stops no other; credentials that it refuses stop all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from airflow_provider_goenhance.exceptions import InputError, InputStoreError
from airflow_provider_goenhance.hooks.input_stores import open_versions

pytest.importorskip("boto3", reason="the extra s3 is not installed")


class Objects(ThreadingHTTPServer):
    """An S3 server with one bucket, which refuses some of its objects, or everything."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        #: What is answered for each key: an error's status and code, or headers of an object.
        self.refused: dict[str, tuple[int, str]] = {}
        self.headers: dict[str, dict[str, str]] = {}
        self.lists = True


class _Handler(BaseHTTPRequestHandler):
    server: Objects

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        url = urlsplit(self.path)
        key = unquote(url.path).removeprefix("/pictures").strip("/")
        status, code = self.server.refused.get(key, (0, ""))
        if not key and not self.server.lists:
            status, code = 403, "AccessDenied"
        if status:
            body = f"<Error><Code>{code}</Code><Message>no</Message></Error>" if with_body else ""
        elif not key and "list-type" in parse_qs(url.query):
            status, body = 200, _listing(["a.jpg", "b.jpg", "c.jpg", "d.jpg"])
        else:
            status, body = 200, "content" if with_body else ""
        self.send_response(status)
        for name, value in self.server.headers.get(key, {}).items():
            self.send_header(name, value)
        self.send_header("ETag", '"tag"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *args: object) -> None:
        """Log nothing."""


def _listing(keys: list[str]) -> str:
    entries = "".join(f"<Contents><Key>{key}</Key><ETag>tag</ETag><Size>7</Size></Contents>" for key in keys)
    return f"<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>"


@pytest.fixture
def objects(monkeypatch: pytest.MonkeyPatch) -> Iterator[Objects]:
    server = Objects()
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    connection = {
        "conn_type": "aws",
        "login": "key-id",
        "password": "secret",
        "extra": {
            "endpoint_url": f"http://127.0.0.1:{server.server_port}",
            "region_name": "eu-central-1",
            "config_kwargs": {"s3": {"addressing_style": "path"}, "retries": {"max_attempts": 0}},
        },
    }
    monkeypatch.setenv("AIRFLOW_CONN_PICTURES", json.dumps(connection))
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def look_up(*keys: str) -> dict[str, str]:
    """Look pictures up as a plan does; return the version or the error code of each."""
    found = open_versions().look_up(f"s3://pictures@pictures/{key}" for key in keys)
    return {
        url.rpartition("/")[2]: there.error_code if isinstance(there, InputError) else there.version
        for url, there in found.items()
    }


@pytest.mark.parametrize("lists", [True, False], ids=["may-list", "may-not-list"])
@pytest.mark.parametrize(
    "refusal",
    [(403, "AccessDenied"), (400, "InvalidRequest"), (400, "KMS.DisabledException")],
    ids=lambda refusal: refusal[1],
)
def test_an_object_that_is_refused_fails_its_row_alone(
    objects: Objects, refusal: tuple[int, str], lists: bool
) -> None:
    objects.refused["a.jpg"], objects.lists = refusal, lists
    assert look_up("a.jpg", "b.jpg") == {"a.jpg": "input_not_allowed", "b.jpg": "tag"}


def test_the_refusal_of_one_object_names_it_and_the_permissions(objects: Objects) -> None:
    objects.refused["a.jpg"] = 403, "AccessDenied"
    found = open_versions().look_up(["s3://pictures@pictures/a.jpg"])
    assert str(found["s3://pictures@pictures/a.jpg"]).startswith(
        "s3://pictures/a.jpg cannot be read with S3 through connection 'pictures': AccessDenied. Give the "
        "connection the permissions s3:GetObject and s3:ListBucket"
    )


@pytest.mark.parametrize(
    "refusal",
    [
        (403, "InvalidAccessKeyId"),
        (403, "SignatureDoesNotMatch"),
        (400, "ExpiredToken"),
        (403, "RequestTimeTooSkewed"),
        (401, "Unauthorized"),
    ],
    ids=lambda refusal: refusal[1],
)
def test_credentials_that_are_refused_stop_all(objects: Objects, refusal: tuple[int, str]) -> None:
    objects.refused = dict.fromkeys(("a.jpg", "b.jpg"), refusal)
    with pytest.raises(InputStoreError, match=refusal[1] if refusal[0] != 401 else "401"):
        look_up("a.jpg", "b.jpg")


def test_a_connection_that_may_list_a_bucket_and_read_nothing_in_it_stops_all(objects: Objects) -> None:
    objects.refused = {f"{name}.jpg": (403, "AccessDenied") for name in "abcd"}
    with pytest.raises(InputStoreError, match="s3:GetObject"):
        look_up("a.jpg", "b.jpg")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"x-amz-storage-class": "GLACIER"}, "input_unusable"),
        (
            {"x-amz-storage-class": "DEEP_ARCHIVE", "x-amz-restore": 'ongoing-request="true"'},
            "input_unusable",
        ),
        (
            {"x-amz-storage-class": "INTELLIGENT_TIERING", "x-amz-archive-status": "ARCHIVE_ACCESS"},
            "input_unusable",
        ),
        (
            {
                "x-amz-storage-class": "GLACIER",
                "x-amz-restore": 'ongoing-request="false", expiry-date="Fri, 21 Dec 2040 00:00:00 GMT"',
            },
            "tag",
        ),
        ({"x-amz-storage-class": "GLACIER_IR"}, "tag"),
        ({"x-amz-storage-class": "STANDARD_IA"}, "tag"),
    ],
)
def test_an_archived_object_is_not_paid_for(objects: Objects, headers: dict[str, str], expected: str) -> None:
    objects.headers["a.jpg"] = headers
    assert look_up("a.jpg") == {"a.jpg": expected}
