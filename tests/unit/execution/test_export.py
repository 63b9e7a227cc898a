# SPDX-License-Identifier: Apache-2.0
"""Rows and pictures that leave the results table: what is in the files, and what never is."""

from __future__ import annotations

import csv
import dataclasses
import datetime as dt
import io
import zipfile

import pytest

from airflow_provider_goenhance.exceptions import CollectError
from airflow_provider_goenhance.execution.export import COLUMNS, csv_chunks, exported, inert
from airflow_provider_goenhance.execution.picture_zip import MISSING, zip_chunks
from airflow_provider_goenhance.results.swap import Swap
from tests.swaps import planned

SIGNED = "https://h/a.jpg?X-Amz-Signature=s3cret&X-Amz-Credential=c&X-Amz-Date=20260101T000000Z"


def read(swaps: list[Swap]) -> list[dict[str, str]]:
    text = b"".join(csv_chunks(swaps)).decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize("start", ["=1+1", "+1", "-1", "@SUM(1)", "\tx", "\rx", "\uff1dcmd"])
def test_a_cell_that_a_spreadsheet_would_execute_is_text(start: str) -> None:
    assert inert(start) == f"'{start}"
    (row,) = read([planned(0, pair_id=start)])
    assert row["pair_id"].startswith("'")


@pytest.mark.parametrize("value", ["p1", "1-2", "", 7, None])
def test_other_cells_are_as_they_are(value: object) -> None:
    assert inert(value) == value


def test_no_signature_and_nothing_internal_leaves() -> None:
    swap = planned(
        0,
        source_img=SIGNED,
        error_message=f"Could not read {SIGNED}",
        consent_ref=SIGNED,
        labels=f'{{"brief": "{SIGNED}"}}',
        claimed_by="swap[0] try 1",
        account="fingerprint-of-account",
    )
    text = b"".join(csv_chunks([swap])).decode()
    assert "s3cret" not in text
    assert "swap[0] try 1" not in text
    assert "fingerprint-of-account" not in text


def test_every_exported_column_is_one_of_the_table_and_times_are_iso() -> None:
    moment = dt.datetime(2026, 11, 28, 2, 30, tzinfo=dt.UTC)
    assert set(COLUMNS) <= set(Swap.names())
    assert exported(planned(0, planned_at=moment))["planned_at"] == "2026-11-28T02:30:00+00:00"


def test_many_rows_are_yielded_in_pieces() -> None:
    swaps = [planned(number) for number in range(450)]
    pieces = list(csv_chunks(iter(swaps)))
    assert len(pieces) == 3
    assert len(read(swaps)) == 450


def row(number: int, uri: str, **values: object) -> Swap:
    return dataclasses.replace(planned(number), result_uri=uri, **values)  # type: ignore[arg-type]


def unzip(rows: list[Swap], stored: dict[str, bytes]) -> dict[str, bytes]:
    def fetch(uri: str) -> bytes:
        if uri not in stored:
            raise CollectError("It is gone.")
        return stored[uri]

    data = b"".join(zip_chunks(rows, fetch))
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        assert file.testzip() is None
        return {name: file.read(name) for name in file.namelist()}


def test_pictures_of_the_same_name_are_all_in_the_file_and_runs_are_folders() -> None:
    rows = [
        row(0, "file:///a/p.png"),
        row(1, "file:///b/P.png"),
        row(2, "s3://bucket/p.png", run_id="another"),
    ]
    stored = {"file:///a/p.png": b"1", "file:///b/P.png": b"2", "s3://bucket/p.png": b"3"}
    assert unzip(rows, stored) == {"run/p.png": b"1", "run/P-2.png": b"2", "another/p.png": b"3"}


def test_further_pictures_of_a_job_are_in_the_file() -> None:
    rows = [row(0, "file:///p.png", additional_result_uris=("file:///p__1.png",))]
    assert set(unzip(rows, {"file:///p.png": b"1", "file:///p__1.png": b"2"})) == {
        "run/p.png",
        "run/p__1.png",
    }


def test_a_name_never_leads_out_of_the_folder_it_is_extracted_to() -> None:
    uri = "file:///x/..%2F..%2Fetc%2Fpasswd"
    (name,) = unzip([row(0, uri, run_id="../../run")], {uri: b"1"})
    assert ".." not in name.split("/")
    assert not name.startswith("/")


def test_a_picture_that_is_gone_is_named_and_the_others_are_there() -> None:
    rows = [row(0, "file:///gone.png"), row(1, "file:///p.png")]
    found = unzip(rows, {"file:///p.png": b"1"})
    assert set(found) == {"run/p.png", MISSING}
    assert b"pair 'p0'" in found[MISSING]


def test_one_picture_is_in_memory_at_a_time() -> None:
    sizes = [
        len(piece)
        for piece in zip_chunks([row(n, f"file:///{n}.png") for n in range(5)], lambda uri: b"x" * 9000)
    ]
    assert max(sizes) < 2 * 9000
