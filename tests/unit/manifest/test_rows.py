# SPDX-License-Identifier: Apache-2.0
"""Which rows are rejected, for which column, with which code and reason."""

from __future__ import annotations

import pytest

from airflow_provider_goenhance.manifest.model import RejectedRow, Rows
from airflow_provider_goenhance.manifest.read import read_manifest
from airflow_provider_goenhance.manifest.urls import url_problem
from airflow_provider_goenhance.manifest.validate import RowChecker, check_pairs

FACE = "https://pictures.example/faces/ada.jpg"
SCENE = "https://pictures.example/scenes/beach.jpg"


def checked(*rows: tuple[str, ...], limit: int | None = None) -> RowChecker:
    """Check rows of (source, reference, pair_id, consent, overflow), numbered from 2."""
    checker = RowChecker(limit)
    columns = list(zip(*((*row, *[""] * (5 - len(row))) for row in rows), strict=True))
    checker.add(Rows(list(range(2, len(rows) + 2)), *map(list, columns)))
    return checker


def rejection(*row: str) -> RejectedRow:
    checker = checked(row)
    assert checker.pairs == []
    [rejected] = checker.rejected
    return rejected


@pytest.mark.parametrize("value", ["#N/A", "#REF!", "#NAME?", "# first shoot"])
def test_a_value_that_is_no_url_is_shown_in_the_reason(manifest_file, value):
    manifest = read_manifest(manifest_file(f"source_img,reference_img\n{value},{SCENE}\n{FACE},{SCENE}\n"))
    [rejected] = manifest.rejected
    assert rejected.source_img == value
    assert rejected.reason.endswith(f": {value}")
    assert [pair.row_number for pair in manifest.pairs] == [3]


def test_a_row_without_a_source_is_rejected_with_its_row_number(manifest_file):
    manifest = read_manifest(manifest_file(f"source_img,reference_img\n{FACE},{SCENE}\n ,{SCENE}\n"))
    assert manifest.rejected == [
        RejectedRow(3, "", "", SCENE, "source_img", "missing_value", "source_img is blank")
    ]


def test_every_problem_of_a_row_is_in_its_reason():
    rejected = rejection("", "ftp://a.example/b", "x" * 201)
    assert (rejected.column, rejected.code) == ("source_img", "missing_value")
    assert rejected.reason == (
        "source_img is blank; reference_img is not an http:// or https:// URL: ftp://a.example/b; "
        "pair_id is 201 characters long, more than 200"
    )


@pytest.mark.parametrize(
    "url",
    [
        "https://me:s3cret@a.example/a.jpg",
        "https://s3cret@a.example/a.jpg",
        "https://me:s3cret/@a.example/a.jpg",
        "https://me:s3cret?@a.example/a.jpg",
        "https://me:s3cret#@a.example/a.jpg",
        "ftp://me:s3cret@a.example/a.jpg",
        "me:s3cret@a.example/a.jpg",
        "https://me:s3cret@a.example/a b.jpg",
        "https://me:s3cret@[::1/a.jpg",
        "https://me:s3://cret@a.example/s3cret@b",
    ],
)
def test_a_password_is_in_no_part_of_a_rejected_row(url):
    for row in ((url, SCENE), (FACE, url), (url, url), (FACE, SCENE, "p", "", url)):
        assert "s3cret" not in str(rejection(*row))
        assert "s3://cret" not in str(rejection(*row))


def test_a_password_moved_to_another_column_by_a_comma_does_not_show(manifest_file):
    text = f"pair_id,source_img,reference_img\np1,{FACE},https://me:a,s3cret@a.example/b.jpg,\nq,{FACE},{SCENE}\n"
    manifest = read_manifest(manifest_file(text))
    assert [p.pair_id for p in manifest.pairs] == ["q"]
    assert "s3cret" not in str(manifest.rejected)


def test_a_signed_query_is_not_repeated_in_a_reason():
    rejected = rejection("ftp://a.example/b.jpg?X-Amz-Signature=s3cret#s3cret", SCENE)
    assert rejected.reason.endswith("URL: ftp://a.example/b.jpg")


def test_the_same_picture_twice_is_rejected():
    rejected = rejection(FACE, FACE)
    assert (rejected.column, rejected.code) == ("reference_img", "same_picture")
    assert rejected.reason == "reference_img is the same picture as source_img: there is no face to swap"


def test_a_value_that_is_no_url_is_not_the_same_picture_as_a_blank_one(manifest_file):
    manifest = read_manifest(manifest_file("source_img,reference_img\n# first shoot,\n"))
    assert [row.reason for row in manifest.rejected] == [
        "source_img is not an http:// or https:// URL: # first shoot; reference_img is blank"
    ]


@pytest.mark.parametrize("signature", ["X-Amz-Date={0}&X-Amz-Signature={0}", "sv=1&se={0}&sig={0}", "#{0}"])
def test_the_same_picture_signed_twice_is_rejected(signature):
    rejected = rejection(f"{FACE}?{signature.format(1)}", f"{FACE}?{signature.format(2)}#face")
    assert rejected.code == "same_picture"


def test_a_pair_id_of_200_characters_is_kept_and_a_longer_one_is_rejected_and_cut():
    assert checked((FACE, SCENE, "ä" * 200)).pairs[0].pair_id == "ä" * 200
    rejected = rejection(FACE, SCENE, "ä" * 5000)
    assert (rejected.column, rejected.code, rejected.pair_id) == ("pair_id", "too_long", "ä" * 200 + "...")


@pytest.mark.parametrize("character", ["\n", "\t", "\x1b", "\x85", "\u2028", "\u202e", "\u2066", "\ud800"])
def test_a_control_character_in_a_pair_id_is_rejected(character):
    rejected = rejection(FACE, SCENE, f"a{character}b")
    assert (rejected.column, rejected.code) == ("pair_id", "unsafe_characters")
    assert rejected.reason == f"pair_id has the control character U+{ord(character):04X} inside"


@pytest.mark.parametrize("pair_id", ["a b/c", "名前", "👩\u200d🚀", "../x", '"', "क्\u200dष"])
def test_any_printable_pair_id_is_accepted(pair_id):
    assert [p.pair_id for p in checked((FACE, SCENE, pair_id)).pairs] == [pair_id]


def test_the_second_row_of_a_pair_id_is_rejected_and_names_the_first():
    checker = checked((FACE, SCENE, "p"), (FACE, SCENE, "q"), (SCENE, FACE, "p"), (SCENE, FACE, "p"))
    assert [p.row_number for p in checker.pairs] == [2, 3]
    reason = "pair_id p is already used by row 2: pair_ids must be unique"
    assert checker.rejected == [
        RejectedRow(number, "p", SCENE, FACE, "pair_id", "duplicate_pair_id", reason) for number in (4, 5)
    ]


def test_the_same_pictures_under_two_pair_ids_are_two_pairs():
    assert [p.pair_id for p in checked((FACE, SCENE, "p"), (FACE, SCENE, "q")).pairs] == ["p", "q"]


def test_the_same_pictures_twice_without_a_pair_id_are_one_pair_and_the_reason_says_how_to_get_two():
    checker = checked((FACE, SCENE), (FACE, SCENE), (FACE, SCENE, "again"))
    assert [p.row_number for p in checker.pairs] == [2, 4]
    [rejected] = checker.rejected
    assert (rejected.row_number, rejected.pair_id, rejected.code) == (
        3,
        checker.pairs[0].pair_id,
        "duplicate_pair_id",
    )
    assert rejected.reason == (
        "the same pictures as row 2, and no pair_id: add a unique pair_id to swap them again"
    )


def test_a_corrected_row_may_repeat_the_pair_id_of_a_rejected_one():
    checker = checked(("", SCENE, "p"), (FACE, SCENE, "p"))
    assert [p.row_number for p in checker.pairs] == [3]
    assert [r.row_number for r in checker.rejected] == [2]


def test_a_consent_reference_is_carried_and_a_blank_one_is_none():
    checker = checked((FACE, SCENE, "p", "form 17"), (FACE, SCENE, "q", ""))
    assert [p.consent_ref for p in checker.pairs] == ["form 17", None]


def test_a_limit_stops_at_that_many_pairs_over_several_chunks():
    checker = RowChecker(limit=3)
    for first in (2, 4, 6):
        rows = [first, first + 1]
        checker.add(Rows(rows, [FACE] * 2, [f"{SCENE}?{n}" for n in rows], [""] * 2, [""] * 2, [""] * 2))
        if checker.full:
            break
    assert [p.row_number for p in checker.pairs] == [2, 3, 4]


def test_values_of_a_rejected_row_are_cut_to_a_size_that_fits_a_table():
    rejected = rejection("https://a.example/" + "a" * 100_000, SCENE)
    assert len(rejected.source_img) == 2048 + 3
    assert len(rejected.reason) < 300


def test_url_problem_finds_nothing_wrong_with_a_good_url():
    assert url_problem(FACE) is None


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (4711, "4711"),
        (4711.0, "4711"),
        (1e5, "100000"),
        (0.5, "0.5"),
        ("1e5", "1e5"),
        ("007", "007"),
        ("None", "None"),
        ("NaN", "NaN"),
        ("true", "true"),
        ("[1, 2]", "[1, 2]"),
        ("4711.0", "4711.0"),
    ],
)
def test_an_id_that_another_task_hands_over_is_the_text_it_was(value, kept):
    record = {"source_img": FACE, "reference_img": SCENE, "pair_id": value, "consent_ref": value}
    manifest = check_pairs([record], location="a task")
    assert [(pair.pair_id, pair.consent_ref) for pair in manifest.pairs] == [(kept, kept)]


@pytest.mark.parametrize("blank", [None, float("nan"), "", "  "])
def test_a_blank_that_another_task_hands_over_is_no_text(blank):
    record = {"source_img": FACE, "reference_img": SCENE, "pair_id": blank, "consent_ref": blank}
    [pair] = check_pairs([record], location="a task").pairs
    assert pair.pair_id.startswith("ada__beach__")
    assert pair.consent_ref is None

    [row] = check_pairs([{"source_img": blank, "reference_img": SCENE}], location="a task").rejected
    assert (row.column, row.code, row.source_img) == ("source_img", "missing_value", "")
