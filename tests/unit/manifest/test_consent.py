# SPDX-License-Identifier: Apache-2.0
"""The policies that swap no face without a consent, or after it has ended."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pandas as pd
import pytest

from airflow_provider_goenhance.manifest.consent import expiry_text, read_expiry
from airflow_provider_goenhance.manifest.model import Manifest
from airflow_provider_goenhance.manifest.read import read_manifest


def test_a_row_without_consent_is_rejected_where_consent_is_required(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.csv"
    manifest.write_text(
        "source_img,reference_img,consent_ref\n"
        "https://example.com/a.jpg,https://example.com/b.jpg,contract 17\n"
        "https://example.com/a.jpg,https://example.com/c.jpg,\n"
    )
    read = read_manifest(str(manifest), require_consent=True)
    assert [pair.consent_ref for pair in read.pairs] == ["contract 17"]
    assert [(row.row_number, row.column, row.code) for row in read.rejected] == [
        (3, "consent_ref", "no_consent")
    ]


def test_consent_is_not_asked_for_unless_required(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("source_img,reference_img\nhttps://example.com/a.jpg,https://example.com/b.jpg\n")
    assert len(read_manifest(str(manifest)).pairs) == 1


def manifest_with(tmp_path: Path, *expiries: str, column: str = "consent_expires") -> Manifest:
    manifest = tmp_path / "manifest.csv"
    rows = [
        f"https://example.com/a.jpg,https://example.com/{n}.jpg,{text}" for n, text in enumerate(expiries)
    ]
    manifest.write_text("\n".join([f"source_img,reference_img,{column}", *rows]))
    return read_manifest(str(manifest))


def test_a_consent_that_has_expired_is_rejected_and_one_that_holds_today_is_not(tmp_path: Path) -> None:
    today = dt.datetime.now(dt.UTC).date()
    yesterday = today - dt.timedelta(days=1)
    read = manifest_with(tmp_path, str(yesterday), str(today + dt.timedelta(days=1)), "")
    assert [(row.column, row.code) for row in read.rejected] == [("consent_expires", "consent_expired")]
    assert f"the consent expired on {yesterday}" in read.rejected[0].reason
    tomorrow = dt.datetime.combine(today + dt.timedelta(days=1), dt.time(23, 59, 59), dt.UTC)
    assert [pair.consent_expires for pair in read.pairs] == [tomorrow, None]


@pytest.mark.parametrize("text", ["31.03.2099", "soon", "2099-13-01", "9999-12-31T23:59-10:00"])
def test_what_is_not_a_date_is_rejected(tmp_path: Path, text: str) -> None:
    (row,) = manifest_with(tmp_path, text).rejected
    assert (row.column, row.code, row.consent_expires) == ("consent_expires", "bad_date", None)
    assert "must be a date such as 2027-03-31" in row.reason


@pytest.mark.parametrize("column", ["Consent Expires", "consent_until", "consentExpiry"])
def test_the_column_has_other_names(tmp_path: Path, column: str) -> None:
    (pair,) = manifest_with(tmp_path, "2099-01-01", column=column).pairs
    assert pair.consent_expires is not None


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2099-03-31", "2099-03-31T23:59:59+00:00"),
        ("2099-03-31T12:00", "2099-03-31T12:00:00+00:00"),
        ("2099-03-31T12:00+02:00", "2099-03-31T10:00:00+00:00"),
    ],
)
def test_a_date_counts_to_the_end_of_its_day_and_a_time_without_a_zone_is_utc(text: str, moment: str) -> None:
    expires = read_expiry(text)
    assert expires == dt.datetime.fromisoformat(moment)
    assert read_expiry(expiry_text(expires)) == expires


@pytest.mark.parametrize("format_", ["json", "parquet", "xlsx"])
def test_every_format_has_the_column(tmp_path: Path, format_: str) -> None:
    path = tmp_path / f"manifest.{format_}"
    frame = pd.DataFrame(
        {
            "source_img": ["https://example.com/a.jpg"],
            "reference_img": ["https://example.com/b.jpg"],
            "consent_expires": [dt.date(2099, 3, 31)],
        }
    )
    if format_ == "json":
        path.write_text(json.dumps([{**frame.iloc[0].to_dict(), "consent_expires": "2099-03-31"}]))
    elif format_ == "parquet":
        frame.to_parquet(path)
    else:
        frame.to_excel(path, index=False)
    (pair,) = read_manifest(str(path)).pairs
    assert pair.consent_expires == read_expiry("2099-03-31")


def test_in_a_matrix_the_consent_is_that_of_the_face(tmp_path: Path) -> None:
    faces, targets = tmp_path / "faces.csv", tmp_path / "targets.csv"
    faces.write_text("source_img,consent_expires\nhttps://example.com/a.jpg,2099-03-31\n")
    targets.write_text("reference_img\nhttps://example.com/b.jpg\n")
    (pair,) = read_manifest(str(faces), mode="matrix", reference_manifest=str(targets)).pairs
    assert pair.consent_expires == read_expiry("2099-03-31")
