# SPDX-License-Identifier: Apache-2.0
"""Rows of a manifest that name pictures in private stores, or files."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_goenhance.manifest.read import read_manifest
from airflow_provider_goenhance.manifest.validate import check_pairs

GOOD = [
    "s3://bucket/faces/ada.jpg",
    "s3://my_conn@bucket/faces/ada 1.jpg",
    "s3://bucket/a?b#c,d.jpg",
    "gs://bucket/größe.jpg",
    "abfs://my_conn@container/a.jpg",
    "abfss://container@account.dfs.core.windows.net/a.jpg",
    "wasb://container@account.blob.core.windows.net/a.jpg",
    "/data/faces/ada.jpg",
    "file:///data/faces/ada%201.jpg",
]


@pytest.mark.parametrize("url", GOOD)
def test_the_address_of_a_private_picture_is_kept_as_it_is_written(url: str) -> None:
    pairs = [
        {"source_img": url, "reference_img": "https://a.example/scene.jpg"},
        {"source_img": "https://a.example/face.jpg", "reference_img": url},
    ]
    manifest = check_pairs(pairs, location="here")
    assert manifest.rejected == []
    assert [(pair.source_img, pair.reference_img) for pair in manifest.pairs] == [
        (pair["source_img"], pair["reference_img"]) for pair in pairs
    ]


def test_one_object_through_two_connections_is_one_picture() -> None:
    pair = {"source_img": "s3://one@bucket/a.jpg", "reference_img": "s3a://two@bucket/a.jpg"}
    (rejected,) = check_pairs([pair], location="here").rejected
    assert rejected.code == "same_picture"


def test_a_path_may_be_relative_to_the_folder_of_a_local_manifest(tmp_path: Path) -> None:
    manifest = tmp_path / "lists" / "pairs.csv"
    manifest.parent.mkdir()
    manifest.write_text("source_img,reference_img\n../faces/ada.jpg,./scene.jpg\n")
    for location in (str(manifest), manifest.as_uri()):
        (pair,) = read_manifest(location).pairs
        assert pair.source_img == str(tmp_path / "faces" / "ada.jpg")
        assert pair.reference_img == str(tmp_path / "lists" / "scene.jpg")


def test_a_relative_path_from_elsewhere_is_rejected() -> None:
    pair = {"source_img": "./ada.jpg", "reference_img": "https://a.example/scene.jpg"}
    (rejected,) = check_pairs([pair], location="here").rejected
    assert rejected.code == "not_http_url"
