# SPDX-License-Identifier: Apache-2.0
"""What the columns of a manifest may be called, and what happens to the others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_provider_goenhance.exceptions import ManifestError
from airflow_provider_goenhance.manifest.columns import ALIASES, KNOWN, match_columns
from airflow_provider_goenhance.manifest.labels import (
    LONGEST_TEXT,
    LONGEST_VALUE,
    MAX_LABELS,
    labels_text,
    read_labels,
)
from airflow_provider_goenhance.manifest.read import read_manifest
from airflow_provider_goenhance.manifest.validate import check_pairs

FACE = "https://pictures.example/faces/ada.jpg"
SCENE = "https://pictures.example/scenes/beach.jpg"
DOCS = Path(__file__).resolve().parents[3] / "docs" / "manifest.md"


@pytest.mark.parametrize(("name", "alias"), [(name, alias) for name in KNOWN for alias in ALIASES[name]])
def test_every_alias_names_its_column_in_any_spelling(name, alias):
    for spelling in (
        alias,
        alias.upper(),
        alias.replace("_", " ").title(),
        alias.replace("_", "-"),
        f" {alias} ",
    ):
        assert match_columns(["x", spelling]).position == {name: 1}


def test_every_alias_is_documented():
    page = DOCS.read_text()
    for name, aliases in ALIASES.items():
        row = next(line for line in page.splitlines() if line.startswith(f"| `{name}`"))
        assert [alias for alias in aliases if f"`{alias}`" not in row] == []


def test_the_columns_own_name_comes_before_an_alias():
    found = match_columns(["face", "source_img", "target", "Reference_Img"])
    assert found.position == {"source_img": 1, "reference_img": 3}
    assert [name for name, _ in found.labels] == ["face", "target"]


def test_two_columns_that_could_be_meant_are_refused(manifest_file):
    location = manifest_file(f"face,source,target\n{FACE},{FACE},{SCENE}\n")
    with pytest.raises(
        ManifestError, match=r"columns face, source \(columns 1 and 2\) could each be source_img"
    ):
        read_manifest(location)
    assert len(read_manifest(location, columns={"source_img": "source"}).pairs) == 1


def test_a_mapping_says_which_column_is_which(manifest_file):
    location = manifest_file(f"Portrait,Motiv,Nr.,source_img\n{FACE},{SCENE},7,x\n")
    columns = {"source_img": "Portrait", "reference_img": "motiv", "pair_id": "Nr."}
    [pair] = read_manifest(location, columns=columns).pairs
    assert (pair.source_img, pair.reference_img, pair.pair_id) == (FACE, SCENE, "7")
    assert json.loads(pair.labels or "") == {"source_img": "x"}


def test_a_mapped_column_that_the_file_does_not_have_is_refused(manifest_file):
    location = manifest_file(f"source_img,reference_img\n{FACE},{SCENE}\n")
    with pytest.raises(ManifestError, match=r"the column Nr\. is missing; found: source_img, reference_img"):
        read_manifest(location, columns={"pair_id": "Nr."})


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"source": "x"}, r"columns must map source_img, .*; got the key 'source'"),
        ({"source_img": ""}, r"columns\['source_img'\] must be the name of a column"),
        ({"source_img": "x", "reference_img": "x"}, "'x' is named twice"),
    ],
)
def test_a_mapping_that_cannot_be_meant_is_an_error_of_the_dag(manifest_file, columns, said):
    with pytest.raises(ValueError, match=said):
        read_manifest(manifest_file("a,b\n"), columns=columns)


def test_labels_are_bounded():
    text = labels_text({f"column {number}": "é" * 2000 for number in range(100)})
    labels = read_labels(text)
    assert len(text) <= LONGEST_TEXT
    assert len(labels["column 0"]) == LONGEST_VALUE
    assert len(read_labels(labels_text({str(number): "x" for number in range(100)}))) == MAX_LABELS
    assert labels_text({"a": ""}) == ""


def test_a_label_is_text_that_every_database_stores():
    assert read_labels(labels_text({"a\0": "b\0c\ud800"})) == {"a\ufffd": "b\ufffdc?"}
    assert read_labels("not JSON") == {}
    assert read_labels("[1]") == {}


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("https://u:s3cret@h/a.jpg?x=1", "https://h/a.jpg?x=1"),
        ("https://h/a.jpg?X-Amz-Signature=s3cret&X-Amz-Credential=c", "https://h/a.jpg"),
        ("see ftp://u:s3cret@h/a and mail ada@example.com", "see ftp://h/a and mail ada@example.com"),
        ("ada@example.com", "ada@example.com"),
    ],
)
def test_a_label_carries_no_password_and_no_signature(value, kept):
    assert read_labels(labels_text({"a": value})) == {"a": kept}


def test_keys_of_a_pair_from_another_task_are_labels_too():
    record = {"source_img": FACE, "reference_img": SCENE, "shoot": 7, "tags": ["a"], "none": None}
    [pair] = check_pairs([record], location="a task").pairs
    assert pair.labels == '{"shoot": "7", "tags": "[\\"a\\"]"}'


def test_a_row_that_has_only_a_label_beyond_the_limits_is_a_row(manifest_file):
    names = [f"c{number}" for number in range(MAX_LABELS + 1)]
    header = ",".join(["source_img", "reference_img", *names])
    manifest = read_manifest(manifest_file(f"{header}\n{FACE},{SCENE}\n{',' * (MAX_LABELS + 2)}x\n"))
    assert [row.row_number for row in manifest.rejected] == [3]
