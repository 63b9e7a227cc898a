# SPDX-License-Identifier: Apache-2.0
"""What is sent for a pair: a signed link, a staged copy, or the address as it is."""

from __future__ import annotations

import asyncio
import hashlib
import time
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_goenhance.exceptions import ErrorCode, InputError, InputStoreError
from airflow_provider_goenhance.inputs import prepare as module
from airflow_provider_goenhance.inputs.local_files import LocalFiles
from airflow_provider_goenhance.inputs.prepare import (
    InputPreparer,
    Picture,
    PreparedInputs,
    Reworked,
    Role,
)
from airflow_provider_goenhance.inputs.sign import LinkSigner
from airflow_provider_goenhance.inputs.staging import Staging, remove_copy
from airflow_provider_goenhance.inputs.stores import Found
from airflow_provider_goenhance.picture_address import PictureAddress
from airflow_provider_goenhance.pictures.decode_budget import DecodeBudget
from tests.swaps import planned
from tests.unit.pictures.pictures import encoded

from .fake_store import FakeStore

PICTURE = encoded("jpeg")
SHA = hashlib.sha256(PICTURE).hexdigest()


def preparer(store: FakeStore, folder: Path, *, scope: str = "task", **options: Any) -> InputPreparer:
    local = LocalFiles([str(folder)])

    def open_store(address: PictureAddress) -> Any:
        return local if address.kind == "local" else store

    storage = options.pop("staging", str(folder / "staging"))
    staging = Staging(storage, options.pop("url", "https://pictures.example/staging"), open_store, scope)
    return InputPreparer(open_store, LinkSigner(3600, 60), staging, **options)


def prepare(
    preparing: InputPreparer, source: str, reference: str = "https://a.example/r.jpg"
) -> PreparedInputs:
    return asyncio.run(preparing.prepare(planned(1, source_img=source, reference_img=reference)))


def test_an_object_is_sent_as_a_signed_link_and_a_public_picture_as_it_is(tmp_path: Path) -> None:
    store = FakeStore({"face.jpg": PICTURE})
    inputs = prepare(preparer(store, tmp_path), "s3://bucket/face.jpg")
    assert inputs.source_url == f"https://bucket.example/face.jpg?X-Amz-Signature=5ec2e7{SHA}"
    assert inputs.reference_url == "https://a.example/r.jpg"
    assert (inputs.source_version, inputs.reference_version) == (SHA, None)
    assert "5ec2e7" not in repr(inputs)
    assert store.calls == {"look": 1}  # nothing was downloaded


def test_a_pair_of_public_pictures_needs_nothing(tmp_path: Path) -> None:
    preparing = preparer(FakeStore(), tmp_path)
    assert not preparing.needs(planned(1))
    assert preparing.needs(planned(1, reference_img="/data/1.jpg"))


@pytest.mark.parametrize("scope", ["task", ""])
def test_a_local_file_is_staged_under_its_hash(tmp_path: Path, scope: str) -> None:
    (tmp_path / "face.jpg").write_bytes(PICTURE)
    inputs = prepare(preparer(FakeStore(), tmp_path, scope=scope), str(tmp_path / "face.jpg"))
    name = inputs.source_url.removeprefix("https://pictures.example/staging/")
    assert (tmp_path / "staging" / name).read_bytes() == PICTURE
    assert Path(name).name == f"{SHA}.jpg"
    # Without a scope it is everybody's, and a lifecycle rule removes it.
    assert len(inputs.staged_uris) == bool(scope)
    for uri in inputs.staged_uris:
        remove_copy(uri)
        assert not (tmp_path / "staging" / name).exists()


def test_tasks_have_copies_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "face.jpg").write_bytes(PICTURE)
    links = {
        prepare(preparer(FakeStore(), tmp_path, scope=scope), str(tmp_path / "face.jpg")).source_url
        for scope in ("task 1", "task 2", "task 2")
    }
    assert len(links) == 2


def test_a_store_that_cannot_sign_is_read_and_staged(tmp_path: Path) -> None:
    store = FakeStore({"face.jpg": PICTURE}, can_sign=False)
    inputs = prepare(preparer(store, tmp_path), "gs://bucket/face.jpg")
    assert inputs.source_url.endswith(f"/{SHA}.jpg")
    assert inputs.source_version == SHA


def test_a_copy_in_a_bucket_is_signed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FakeStore()

    def keep(data: bytes, storage: str, name: str, **_: Any) -> str:
        store.objects[f"staging/{name}"] = data
        return f"{storage}/{name}"

    monkeypatch.setattr("airflow_provider_goenhance.inputs.staging.keep_bytes", keep)
    (tmp_path / "face.jpg").write_bytes(PICTURE)
    preparing = preparer(store, tmp_path, scope="", staging="s3://bucket/staging", url="")
    inputs = prepare(preparing, str(tmp_path / "face.jpg"))
    assert inputs.source_url.startswith(f"https://bucket.example/staging/{SHA}.jpg?X-Amz-Signature=")


def test_only_a_picture_is_staged(tmp_path: Path) -> None:
    (tmp_path / "face.jpg").write_bytes(b"root:x:0:0:root")
    with pytest.raises(InputError, match=r"face\.jpg is not a picture"):
        prepare(preparer(FakeStore(), tmp_path), str(tmp_path / "face.jpg"))
    assert not (tmp_path / "staging").exists()


def test_without_staging_a_local_file_is_not_sent(tmp_path: Path) -> None:
    (tmp_path / "face.jpg").write_bytes(PICTURE)
    with pytest.raises(InputStoreError, match=r"Set \[goenhance\] staging") as caught:
        prepare(preparer(FakeStore(), tmp_path, staging=""), str(tmp_path / "face.jpg"))
    assert caught.value.error_code == ErrorCode.NO_STAGING


class Smaller:
    """Makes every source smaller."""

    def applies_to(self, _url: str, role: Role, *, warned: bool) -> bool:
        return role == "source"

    async def __call__(self, picture: Picture) -> Reworked | None:
        return Reworked(PICTURE, f"{picture.role} made smaller") if picture.role == "source" else None


@pytest.mark.parametrize("source", ["s3://bucket/face.jpg", "https://a.example/face.jpg"])
def test_a_reworked_picture_is_staged_with_a_note(tmp_path: Path, source: str) -> None:
    store = FakeStore({"face.jpg": b"a large picture"})
    inputs = prepare(preparer(store, tmp_path, rework=Smaller()), source)
    assert inputs.source_url.endswith(f"/{SHA}.jpg")
    assert inputs.notes == "source made smaller"
    version = hashlib.sha256(b"a large picture").hexdigest() if source.startswith("s3") else None
    assert inputs.source_version == version  # still the picture that the row names


@pytest.mark.parametrize(
    "text",
    [
        "no: https://b.example/a.jpg?X-Amz-Signature=0123456789abcdef&X-Amz-Expires=60",
        "no: 0123456789abcdef",
        "no: X-Amz-Signature%3D0123456789abcdef%26X-Amz-Expires%3D60",
        "no: X-Amz-Signature=0123456789abcdef\\u0026X-Amz-Expires=60",
    ],
)
def test_an_echo_of_the_link_is_cut_out_of_an_error(text: str) -> None:
    link = "https://b.example/a.jpg?X-Amz-Signature=0123456789abcdef&X-Amz-Expires=60"
    assert "0123456789abcdef" not in PreparedInputs(link, "https://a.example/r.jpg").without_links(text)


def test_the_files_that_are_copied_at_the_same_time_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = []
    most = 0

    class Counting(FakeStore):
        def read(self, address: PictureAddress, found: Found) -> bytes:
            nonlocal most
            held.append(1)
            most = max(most, len(held))
            time.sleep(0.01)
            held.pop()
            return super().read(address, found)

    monkeypatch.setattr(module, "COPYING", DecodeBudget(3 * len(PICTURE)))
    store = Counting({f"{number}.jpg": PICTURE for number in range(20)}, can_sign=False)
    preparing = preparer(store, tmp_path)

    async def all_of_them() -> None:
        rows = [planned(number, source_img=f"gs://bucket/{number}.jpg") for number in range(20)]
        await asyncio.gather(*map(preparing.prepare, rows))

    asyncio.run(all_of_them())
    assert 1 <= most <= 3
