# SPDX-License-Identifier: Apache-2.0
"""Whether the pictures of earlier rows are still in storage: only a clear no makes a pair be fetched again."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_goenhance.execution.kept_pictures import NAMED_ERRORS, KeptPictures
from airflow_provider_goenhance.pictures import storage
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.swap import Swap
from tests.swaps import planned


def kept(number: int, folder: Path) -> Swap:
    uri = (folder / f"{number}.jpg").as_uri()
    return planned(number, status=Status.SUCCEEDED, result_uri=uri)


def test_rows_whose_picture_is_gone_are_left_out_and_counted_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [kept(number, tmp_path) for number in range(40)]
    for number in range(0, 40, 2):
        (tmp_path / f"{number}.jpg").write_bytes(b"a picture")
    pictures = KeptPictures()

    found = pictures.still_there(rows)
    pictures.log_missing()

    assert found == {row.pair_fingerprint: row for row in rows[::2]}
    assert [record.getMessage() for record in caplog.records] == [
        "20 earlier pictures are no longer in storage; if GoEnhance still has the job, it is fetched again at no cost."
    ]


def test_without_rows_the_storage_is_not_asked(caplog: pytest.LogCaptureFixture) -> None:
    pictures = KeptPictures()

    assert pictures.still_there([]) == {}
    pictures.log_missing()

    assert caplog.records == []


def test_a_storage_that_cannot_be_asked_never_makes_a_pair_be_paid_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(uri: str, conn_id: str | None = None) -> bool:
        raise OSError("the share is away")

    monkeypatch.setattr(storage, "picture_exists", fail)
    rows = [kept(number, tmp_path) for number in range(NAMED_ERRORS + 5)]
    pictures = KeptPictures("share")

    found = pictures.still_there(rows)
    pictures.log_missing()

    assert len(found) == len(rows)
    *named, last = [record.getMessage() for record in caplog.records]
    assert len(named) == NAMED_ERRORS
    assert all("the share is away. Assuming that it does." in message for message in named)
    assert last == f"{len(rows)} earlier pictures could not be looked for, and are assumed to exist."
