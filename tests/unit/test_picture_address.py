# SPDX-License-Identifier: Apache-2.0
"""Which object an address names, however it is written."""

from __future__ import annotations

import pytest

from airflow_provider_goenhance.picture_address import PictureAddress, is_private, read_address
from airflow_provider_goenhance.redaction import excerpt, redact_link, unsigned_link
from airflow_provider_goenhance.results.swap import pair_fingerprint
from airflow_provider_goenhance.url_identity import url_identity

ADDRESSES = [
    ("s3://bucket/a/b.jpg", "s3://bucket/a/b.jpg", None),
    ("S3A://my_conn@bucket/a/b.jpg", "s3://bucket/a/b.jpg", "my_conn"),
    ("s3://bucket/a#1?.jpg", "s3://bucket/a#1?.jpg", None),
    ("gcs://bucket/a b.jpg", "gs://bucket/a b.jpg", None),
    ("abfs://my_conn@container/a.jpg", "abfs://container/a.jpg", "my_conn"),
    (
        "abfss://container@Account.dfs.core.windows.net/a.jpg",
        "abfs://container@account.dfs.core.windows.net/a.jpg",
        None,
    ),
    (
        "wasbs://container@account.blob.core.windows.net/a.jpg",
        "abfs://container@account.blob.core.windows.net/a.jpg",
        None,
    ),
    ("/data/a%20b.jpg", "file:///data/a%20b.jpg", None),
    ("file:///data/a%20b.jpg", "file:///data/a b.jpg", None),
    ("file://localhost/data/a.jpg", "file:///data/a.jpg", None),
]


@pytest.mark.parametrize(("url", "identity", "conn_id"), ADDRESSES)
def test_an_address_is_its_object_whatever_connection_reads_it(
    url: str, identity: str, conn_id: str | None
) -> None:
    address = read_address(url)
    assert isinstance(address, PictureAddress)
    assert address.identity == url_identity(url) == identity
    assert address.conn_id == conn_id
    assert address.uri == url


@pytest.mark.parametrize(
    "url", ["https://a.example/b.jpg", "//a.example/b.jpg", "pictures/b.jpg", "data:x", ""]
)
def test_others_are_fetched_by_the_vendor(url: str) -> None:
    assert not is_private(url)
    assert read_address(url) is None


def test_an_overwritten_object_is_another_picture_and_another_link_is_not() -> None:
    one, other = "s3://one@bucket/a.jpg", "s3://two@bucket/a.jpg"
    assert pair_fingerprint(one, "r", source_version="1") == pair_fingerprint(other, "r", source_version="1")
    assert pair_fingerprint(one, "r", source_version="1") != pair_fingerprint(one, "r", source_version="2")
    key = {"source_key": "anna"}
    assert pair_fingerprint(one, "r", source_version="1", **key) == pair_fingerprint(one, "r", **key)


def test_the_name_of_an_object_is_written_down_whole() -> None:
    assert redact_link("s3://my_conn@bucket/a?sig=1#2") == "s3://my_conn@bucket/a?sig=1#2"
    assert unsigned_link("s3://my_conn@bucket/a?sig=1#2") == "s3://my_conn@bucket/a?sig=1#2"


@pytest.mark.parametrize(
    "text",
    [
        "could not fetch https://b.example/a.jpg?X-Amz-Signature=5ec2e75ec2e7&X-Amz-Expires=60",
        "could not fetch https:\\/\\/b.example\\/a.jpg?X-Amz-Signature=5ec2e75ec2e7",
        "url=https%3A%2F%2Fb.example%2Fa.jpg%3FX-Amz-Signature%3D5ec2e75ec2e7",
        "X-Amz-Expires=60 X-Amz-Signature=5ec2e75ec2e7",
        'X-Goog-Signature\\u003d5ec2e75ec2e7"',
        "se=2026&sr=b&sig=5ec2e75ec2e7%3D",
    ],
)
def test_no_signature_is_left_in_a_text_of_the_vendor(text: str) -> None:
    assert "5ec2e7" not in excerpt(text)
