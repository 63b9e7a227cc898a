# SPDX-License-Identifier: Apache-2.0
"""Private pictures on Azure Blob Storage, against Azurite, Microsoft's emulator, over HTTP."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
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

pytest.importorskip("airflow.providers.microsoft.azure", reason="the extra azure is not installed")
AZURITE = shutil.which("azurite-blob")
pytestmark = pytest.mark.skipif(
    AZURITE is None, reason="azurite-blob, an emulator from npm, is not installed"
)

CONN_ID = "goenhance_test_azure"
ACCOUNT = "devstoreaccount1"
#: Azurite's well-known key.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("azurite")
    options = ["--blobHost", "127.0.0.1", "--blobPort", "0", "--skipApiVersionCheck"]
    server = subprocess.Popen(
        [str(AZURITE), *options, "--location", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert server.stdout is not None
    for line in server.stdout:
        if found := re.search(r"listens on (http://127\.0\.0\.1:\d+)", line):
            break
    else:
        pytest.fail("azurite-blob did not start")
    yield f"{found[1]}/{ACCOUNT}"
    server.terminate()
    server.wait(timeout=30)
    server.stdout.close()


@pytest.fixture
def container(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    from azure.storage.blob import BlobServiceClient

    text = f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={endpoint};"
    connection = {"conn_type": "wasb", "extra": {"connection_string": text}}
    monkeypatch.setenv(f"AIRFLOW_CONN_{CONN_ID.upper()}", json.dumps(connection))
    client = BlobServiceClient.from_connection_string(text).create_container("pictures")
    yield client
    client.delete_container()


def stores() -> InputStores:
    return InputStores(InputSettings((), "", "", False, 43200))


def address(key: str, scheme: str = "abfs") -> PictureAddress:
    found = read_address(f"{scheme}://{CONN_ID}@pictures/{key}")
    assert found is not None
    return found


def query_of(link: str) -> dict[str, str]:
    return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(link).query))


@pytest.mark.parametrize("scheme", ["abfs", "wasb"])
def test_a_link_is_signed_with_the_account_key(container: Any, scheme: str) -> None:
    container.upload_blob("faces/a b.jpg", b"a face")
    there = address("faces/a b.jpg", scheme)
    store = stores().open(there)
    assert store.can_sign
    found = store.look(there)
    assert (found.version, found.size) == (hashlib.md5(b"a face", usedforsecurity=False).hexdigest(), 6)
    link = LinkSigner(43200, 3600).sign(store, there, found)
    query = query_of(link)
    assert (query["sp"], query["sr"]) == ("r", "b")  # to read this blob, and nothing else
    ends = dt.datetime.fromisoformat(query["se"]) - dt.datetime.now(dt.UTC)
    assert dt.timedelta(hours=11, minutes=59) < ends <= dt.timedelta(hours=12)
    with urllib.request.urlopen(link) as answer:
        assert answer.read() == b"a face"
    assert store.read(there, found) == b"a face"


def test_pictures_are_looked_at_and_an_overwritten_one_has_another_version(container: Any) -> None:
    urls = []
    for number in range(20):
        container.upload_blob(f"faces/{number}.jpg", b"%d" % number)
        urls.append(f"abfs://{CONN_ID}@pictures/faces/{number}.jpg")
    before = InputVersions(stores().open).look_up(urls)
    assert all(isinstance(there, Found) for there in before.values())
    container.upload_blob("faces/7.jpg", b"another face", overwrite=True)
    after = InputVersions(stores().open).look_up(urls)
    assert [url for url in urls if before[url] != after[url]] == [urls[7]]


def test_a_missing_blob_is_named(container: Any) -> None:
    with pytest.raises(
        InputError, match=r"abfs://pictures/none\.jpg is not there \(Azure Blob Storage through"
    ):
        stores().open(address("none.jpg")).look(address("none.jpg"))


def test_a_missing_container_stops_the_plan(container: Any) -> None:
    nowhere = read_address(f"abfs://{CONN_ID}@nowhere/face.jpg")
    assert nowhere is not None
    with pytest.raises((InputStoreError, InputError), match=r"nowhere/face\.jpg"):
        stores().open(nowhere).look(nowhere)


def test_the_connection_of_another_account_is_refused(
    container: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_WASB_DEFAULT", json.dumps({"conn_type": "wasb", "login": ACCOUNT, "password": KEY})
    )
    other = read_address("abfss://pictures@another.dfs.core.windows.net/face.jpg")
    assert other is not None
    with pytest.raises(
        InputStoreError, match="in the storage account 'another', but Azure Blob Storage through"
    ):
        stores().open(other).look(other)


def test_without_an_account_key_a_delegation_key_is_asked_for_once(
    container: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Azurite gives delegation keys over HTTPS only: the test answers for it."""
    from azure.storage.blob import UserDelegationKey

    class Token:
        def get_token(self, *_: object, **__: object) -> None:
            raise AssertionError("no request is made")

    asked: list[tuple[dt.datetime, dt.datetime]] = []

    def delegation_key(start: dt.datetime, ends: dt.datetime) -> UserDelegationKey:
        asked.append((start, ends))
        key = UserDelegationKey()
        key.signed_oid = key.signed_tid = "00000000-0000-0000-0000-000000000001"
        key.signed_start, key.signed_expiry = start.isoformat(), ends.isoformat()
        key.signed_service, key.signed_version, key.value = "b", "2024-08-04", KEY
        return key

    container.upload_blob("face.jpg", b"a face")
    store: Any = stores().open(address("face.jpg"))
    found = store.look(address("face.jpg"))
    monkeypatch.setattr(store, "account_key", lambda: None)
    monkeypatch.setattr(store.service, "get_user_delegation_key", delegation_key)
    links = [LinkSigner(43200, 3600).sign(store, address("face.jpg"), found) for _ in range(3)]
    assert len(asked) == 1
    assert (asked[0][1] - asked[0][0]) < dt.timedelta(days=7, minutes=10)
    assert all(query_of(link)["skoid"].endswith("1") for link in links)


def test_a_shared_access_signature_is_not_passed_on(container: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = {"conn_type": "wasb", "login": ACCOUNT, "extra": {"sas_token": "sv=2024-08-04&sig=abc"}}
    monkeypatch.setenv("AIRFLOW_CONN_WASB_DEFAULT", json.dumps(connection))
    there = read_address("abfs://pictures/face.jpg")
    assert there is not None
    assert not stores().open(there).can_sign
