# SPDX-License-Identifier: Apache-2.0
"""The versions of a manifest's private pictures are looked up in few calls, and each picture once."""

from __future__ import annotations

import pytest

from airflow_provider_goenhance.exceptions import InputError, InputStoreError
from airflow_provider_goenhance.inputs.stores import Found
from airflow_provider_goenhance.inputs.versions import InputVersions

from .fake_store import FakeStore


def filled(count: int, folder: str = "faces", **options: object) -> FakeStore:
    return FakeStore({f"{folder}/{number:07}.jpg": b"%d" % number for number in range(count)}, **options)  # type: ignore[arg-type]


def urls(numbers: range, folder: str = "faces") -> list[str]:
    return [f"s3://bucket/{folder}/{number:07}.jpg" for number in numbers]


def test_ten_thousand_pictures_of_a_folder_are_listed_a_thousand_at_a_time() -> None:
    store = filled(10_000)
    found = InputVersions(store.open).look_up(urls(range(10_000)))
    assert len(found) == 10_000
    assert store.calls == {"list": 10}


def test_a_listing_begins_where_the_next_wanted_picture_is() -> None:
    store = filled(100_000)
    wanted = urls(range(100)) + urls(range(99_000, 99_100))
    assert len(InputVersions(store.open).look_up(wanted)) == 200
    assert store.calls == {"list": 2}


def test_scattered_pictures_are_looked_at_one_by_one() -> None:
    store = filled(100_000)
    assert len(InputVersions(store.open).look_up(urls(range(0, 100_000, 2000)))) == 50
    assert store.calls["list"] == 1
    assert store.calls["look"] == 49


def test_a_few_pictures_are_looked_at_without_a_listing() -> None:
    store = filled(3)
    assert len(InputVersions(store.open).look_up(urls(range(3)))) == 3
    assert store.calls == {"look": 3}


def test_a_face_in_every_row_is_looked_up_once() -> None:
    store = filled(1)
    versions = InputVersions(store.open)
    for _ in range(5):
        versions.look_up(urls(range(1)))
    assert store.calls == {"look": 1}


def test_a_listing_and_a_look_name_the_same_version() -> None:
    store = filled(20)
    listed = InputVersions(store.open).look_up(urls(range(20)))
    looked = InputVersions(store.open).look_up(urls(range(1)))
    (url,) = urls(range(1))
    assert listed[url] == looked[url]


def test_a_missing_picture_is_an_error_of_its_own() -> None:
    store = filled(20)
    found = InputVersions(store.open).look_up([*urls(range(20)), "s3://bucket/faces/none.jpg"])
    missing = found.pop("s3://bucket/faces/none.jpg")
    assert isinstance(missing, InputError)
    assert "s3://bucket/faces/none.jpg is not there" in str(missing)
    assert all(isinstance(there, Found) for there in found.values())


def test_a_store_that_may_not_be_listed_is_looked_at() -> None:
    store = filled(20, may_list=False)
    assert len(InputVersions(store.open).look_up(urls(range(20)))) == 20
    assert store.calls == {"list": 1, "look": 20}


def test_public_pictures_are_not_looked_up() -> None:
    store = filled(1)
    assert InputVersions(store.open).look_up(["https://a.example/1.jpg"]) == {}
    assert store.calls == {}


def test_a_store_that_cannot_be_used_stops_the_plan() -> None:
    def refuse(_address: object) -> FakeStore:
        raise InputStoreError("no permission.")

    with pytest.raises(InputStoreError, match="no permission"):
        InputVersions(refuse).look_up(urls(range(1)))
