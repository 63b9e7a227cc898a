# SPDX-License-Identifier: Apache-2.0
"""The files of rows that a run writes can be read as manifests again, with nothing lost and nothing added."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_goenhance.exceptions import ManifestError
from airflow_provider_goenhance.manifest.labels import labels_text, read_labels
from airflow_provider_goenhance.manifest.model import Manifest, Pair
from airflow_provider_goenhance.manifest.own_files import RowsFile
from airflow_provider_goenhance.manifest.read import read_manifest

ManifestFile = Callable[..., str]

FACE, SCENE = "https://img.example.com/face.jpg", "https://img.example.com/scene.jpg"
SIGNED = f"{FACE}?v=2&X-Amz-Signature=s3cret&X-Amz-Credential=c&X-Amz-Date=20260101T000000Z"
COLUMNS = ("row_number", "status", "error_code", "reason")


def written(rows: Sequence[Pair]) -> str:
    file = RowsFile(COLUMNS)
    for row in rows:
        file.add(row, [row.row_number, "failed", "job_failed", "no face"])
    with file.finish() as content:
        return content.read().decode()


def pair(number: int = 2, **columns: str | None) -> Pair:
    return dataclasses.replace(Pair("p1", FACE, SCENE, number), **columns)  # type: ignore[arg-type]


def fed_back(rows: Sequence[Pair], manifest_file: ManifestFile, **options: object) -> Manifest:
    return read_manifest(manifest_file(written(rows), "failures.csv"), **options)  # type: ignore[arg-type]


def test_a_row_comes_back_as_it_stood(manifest_file: ManifestFile) -> None:
    labels = labels_text(
        {"shoot": "night 7", "reason": "client's", "status": "x", "label reason": "y", "face": "z"}
    )
    row = pair(consent_ref="c/1", source_key="anna", reference_key="beach", labels=labels)
    manifest = fed_back([row], manifest_file)
    assert manifest.pairs == [row]
    assert list(read_labels(manifest.pairs[0].labels)) == list(read_labels(labels))


def test_what_the_file_says_about_a_row_is_no_label_however_often_it_is_fed_back(
    manifest_file: ManifestFile,
) -> None:
    rows = [pair(labels=labels_text({"shoot": "7"}))]
    for _ in range(3):
        rows = fed_back(rows, manifest_file).pairs
    assert [json.loads(row.labels or "") for row in rows] == [{"shoot": "7"}]


def test_columns_that_are_not_needed_may_be_deleted(manifest_file: ManifestFile) -> None:
    [row] = csv.DictReader(io.StringIO(written([pair(labels=labels_text({"shoot": "7"}))])))
    del row["row_number"], row["reason"], row["consent_ref"]
    text = f"{','.join(row)}\n{','.join(row.values())}\n"
    [read] = read_manifest(manifest_file(text)).pairs
    assert read == pair(labels=labels_text({"shoot": "7"}))


def test_columns_of_the_same_names_in_any_other_manifest_are_labels(manifest_file: ManifestFile) -> None:
    text = f"source_img,reference_img,status,reason,row_number\n{FACE},{SCENE},new,fun,7\n"
    [row] = read_manifest(manifest_file(text)).pairs
    assert read_labels(row.labels) == {"status": "new", "reason": "fun", "row_number": "7"}


def test_the_file_has_no_signature_and_says_so_in_a_column() -> None:
    content = written([pair(source_img=SIGNED), pair(pair_id="p2")])
    first, second = csv.DictReader(io.StringIO(content))
    assert "s3cret" not in content
    assert (first["source_img"], first["signature_removed"]) == (f"{FACE}?v=2", "source_img")
    assert (second["source_img"], second["signature_removed"]) == (FACE, "")


@pytest.mark.parametrize("suffix", ["csv", "json", "parquet"])
def test_a_row_without_its_signature_is_rejected_and_the_others_are_not(
    tmp_path: Path, manifest_file: ManifestFile, suffix: str
) -> None:
    import pandas as pd

    content = written([pair(source_img=SIGNED, source_key="anna"), pair(pair_id="p2")])
    path = Path(manifest_file(content, "failures.csv"))
    if suffix != "csv":
        frame = pd.read_csv(io.StringIO(content), dtype=str, keep_default_na=False)
        path = tmp_path / f"failures.{suffix}"
        frame.to_json(path, orient="records") if suffix == "json" else frame.to_parquet(path)
    manifest = read_manifest(str(path))
    assert [row.pair_id for row in manifest.pairs] == ["p2"]
    [row] = manifest.rejected
    assert (row.code, row.column) == ("signature_removed", "source_img")
    assert row.reason == (
        "source_img was signed, and the file has the link without its signature: put in a link that is signed again, "
        "or clear signature_removed if the link needs no signature"
    )


@pytest.mark.parametrize(
    "correction",
    [{"source_img": f"{SIGNED}2"}, {"signature_removed": ""}],
    ids=["signed again", "needs no signature"],
)
def test_a_corrected_row_is_accepted(manifest_file: ManifestFile, correction: dict[str, str]) -> None:
    [row] = csv.DictReader(io.StringIO(written([pair(source_img=SIGNED)])))
    corrected = io.StringIO()
    writer = csv.DictWriter(corrected, list(row))
    writer.writeheader()
    writer.writerow(row | correction)
    manifest = read_manifest(manifest_file(corrected.getvalue(), "failures.csv"))
    assert [found.source_img for found in manifest.pairs] == [correction.get("source_img", f"{FACE}?v=2")]


def test_the_names_that_other_manifests_have_do_not_matter(manifest_file: ManifestFile) -> None:
    manifest = fed_back([pair()], manifest_file, columns={"source_img": "Portrait", "reference_img": "Motif"})
    assert manifest.pairs == [pair()]


def test_a_matrix_of_it_is_refused(manifest_file: ManifestFile) -> None:
    with pytest.raises(
        ManifestError, match="a matrix would combine each face with each target: read it with mode"
    ):
        fed_back([pair()], manifest_file, mode="matrix")


def test_a_link_that_may_be_secret_is_cut_too() -> None:
    [row] = csv.DictReader(io.StringIO(written([pair(source_img=f"{FACE}?id=7&token=abc")])))
    assert (row["source_img"], row["signature_removed"]) == (FACE, "source_img")


_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
_ROWS_IN_A_VALUE = st.sampled_from(
    [f'a"\n{FACE},{SCENE},x', f"\n{FACE},{SCENE}\n", "a, \\", '"', 'a""', "x\r\ny", "\r"]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(_TEXT, _TEXT | _ROWS_IN_A_VALUE, max_size=5), min_size=1, max_size=4))
def test_any_labels_can_be_written_and_read_again(
    manifest_file: ManifestFile, of_rows: list[dict[str, str]]
) -> None:
    rows = [
        pair(number, pair_id=f"p{number}", labels=labels_text(labels))
        for number, labels in enumerate(of_rows, start=2)
    ]
    manifest = fed_back(rows, manifest_file)
    assert manifest.rejected == []
    assert [row.pair_id for row in manifest.pairs] == [row.pair_id for row in rows]
    flat = [sorted("".join(value.split()) for value in read_labels(row.labels).values()) for row in rows]
    read = [
        sorted("".join(value.split()) for value in read_labels(row.labels).values()) for row in manifest.pairs
    ]
    assert read == [[value for value in values if value] for values in flat]


@given(st.dictionaries(_TEXT, _TEXT, max_size=8))
def test_labels_are_the_json_text_of_an_object(labels: dict[str, str]) -> None:
    kept = {name: value for name, value in labels.items() if value}
    assert labels_text(labels) == (json.dumps(kept, ensure_ascii=False) if kept else "")
