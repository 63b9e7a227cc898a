# SPDX-License-Identifier: Apache-2.0
"""Which rows are rejected, for which column, with which code and reason."""

from __future__ import annotations

import json

import pytest

from airflow_provider_goenhance.api.models import submit_body
from airflow_provider_goenhance.manifest.model import RejectedRow, Rows
from airflow_provider_goenhance.manifest.read import read_manifest
from airflow_provider_goenhance.manifest.urls import PLAIN_URL, url_problem
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


GOOD_URLS = [
    FACE,
    "http://127.0.0.1:8765/images/a.png",
    "HTTPS://Pictures.Example/A.JPG",
    "https://pictures.example",
    "https://pictures.example?id=7",
    "https://pictures.example:443/a",
    "https://pictures.example:8080/a?b=c&d=%20#e",
    "https://under_score.example/a.jpg",
    "https://bücher.example/größe.jpg",
    "https://[::1]:8080/a.jpg",
    "https://pictures.example./a.jpg",
    "https://medium.example/@ada/me.jpg",
    "https://a.example/x?email=a@b.example",
    "https://a.example/a,b.jpg",
    "https://a.example/a,b,,c.jpg?x=1,2;3|4",
    "https://a.example/%2Fa%2fb%20c.jpg?sig=a%2Bb%3D",
    "https://a.example/größe,名前.jpg",
    "https://a.example//a//b.jpg",
    "https://proxy.example/fetch/w_300,h_200/https://b.example/a.jpg",
    "https://proxy.example/?url=https://b.example/a.jpg",
    "https://proxy.example/?url=https%3A%2F%2Fb.example&next%3Dhttps://c.example/",
    "https://proxy.example/plain:https://b.example/a.jpg",
    "https://thumbs.example/unsafe/filters:watermark(http://b.example/w.png,10)/https://b.example/a.jpg",
    "https://archive.example/web/2020im_/http://b.example/a.jpg",
    "https://https.example/a.jpg",
    "https://httpshost/a.jpg",
    "https://a.example/x?path=C:\\y",
    "https://a.example:65535/",
    "https://192.0.2.7/a.jpg",
    "https://[2001:db8::7]/a.jpg",
    "https://xn--bcher-kva.example/a.jpg",
    "HtTp://a.example/a.jpg",
    "https://pictures.example/" + "a" * (2048 - len("https://pictures.example/")),
]

BAD_URLS = [
    ("", "missing_value", "is blank"),
    ("https://pictures.example/" + "a" * 2024, "too_long", "is 2049 characters long, more than 2048"),
    (
        "https://a.example/a b.jpg",
        "unsafe_characters",
        "has a space (write %20) inside: https://a.example/a b.jpg",
    ),
    (
        "https://a.example/a\nb",
        "unsafe_characters",
        "has a line break (is a quote missing?) inside: https://a.e",
    ),
    (
        "https://a.example/a\tb",
        "unsafe_characters",
        r"has the character U+0009 inside: https://a.example/a\tb",
    ),
    (
        "https://a.example/\u200bb",
        "unsafe_characters",
        r"has the character U+200B inside: https://a.example/\u200bb",
    ),
    ("https://a.example/\x7f", "unsafe_characters", "has the character U+007F inside"),
    ("https://a.example/\ud800", "unsafe_characters", "has the character U+D800 inside"),
    ("https://a\u3000.example/", "unsafe_characters", "has the character U+3000 inside"),
    ("ftp://a.example/a.jpg", "not_http_url", "is not an http:// or https:// URL: ftp://a.example/a.jpg"),
    ("pictures/a.jpg", "not_http_url", "is not an http:// or https:// URL: pictures/a.jpg"),
    ("s3://bucket/a.jpg", "not_http_url", "is not an http:// or https:// URL: s3://bucket/a.jpg"),
    ("https:/a.example/a.jpg", "not_http_url", "is not"),
    ("data:image/png;base64,AAAA", "not_http_url", "is not"),
    ("javascript:alert(1)", "not_http_url", "is not"),
    ("//a.example/a.jpg", "not_http_url", "is not"),
    ("https://", "no_host", "names no host: https://"),
    ("https:///a.jpg", "no_host", "names no host: https:///a.jpg"),
    ("https://:80/a.jpg", "no_host", "names no host"),
    ("https://?a", "no_host", "names no host: https://"),
    ("https://a..example/a.jpg", "bad_host", "has no usable host or port: https://a..example/a.jpg"),
    ("https://" + "a" * 64 + ".example/a.jpg", "bad_host", "has no usable host or port"),
    ("https://./a.jpg", "bad_host", "has no usable host or port"),
    ("https://[::1/a.jpg", "bad_host", "has no usable host (Invalid IPv6 URL)"),
    ("https://a.example:port/a.jpg", "bad_host", "has no usable host or port"),
    ("https://a.example:0/a.jpg", "bad_host", "has no usable host or port"),
    ("https://a.example:65536/a.jpg", "bad_host", "has no usable host or port"),
    (
        "https://me:s3cret@a.example/a.jpg",
        "credentials_in_url",
        "carries a user name or password, which would be ",
    ),
    ("https://me@a.example/a.jpg", "credentials_in_url", "carries"),
    (
        "http://https://a.example/a.jpg",
        "two_schemes",
        "begins with two schemes: http://https://a.example/a.jpg",
    ),
    ("https://HTTPS://a.example/a.jpg", "two_schemes", "begins with two schemes"),
    ("https://https//a.example/a.jpg", "two_schemes", "begins with two schemes"),
    ("https://https:/a.example/a.jpg", "two_schemes", "begins with two schemes"),
    ("https://http/a.example/a.jpg", "two_schemes", "begins with two schemes"),
    ("https://https%3A%2F%2Fa.example/a.jpg", "two_schemes", "begins with two schemes"),
    ("https:https://a.example/a.jpg", "two_schemes", "begins with two schemes"),
    ("http://ftp://a.example/a.jpg", "two_schemes", "begins with two schemes"),
    ("http://s3://bucket/a.jpg", "two_schemes", "begins with two schemes"),
    ("http://https:", "two_schemes", "begins with two schemes"),
    (
        "https://a.example/1.jpg,https://b.example/2.jpg",
        "two_urls",
        "holds two URLs; put one URL in each cell: https://a.example/1.jpg,https://b.example/2.jpg",
    ),
    ("https://a.example/1.jpg, https://b.example/2.jpg", "two_urls", "holds two URLs; put"),
    ("https://a.example/1.jpg https://b.example/2.jpg", "two_urls", "holds two URLs; put"),
    ("https://a.example/1.jpg;https://b.example/2.jpg", "two_urls", "holds two URLs; put"),
    ("https://a.example/1.jpg | http://b.example/2.jpg", "two_urls", "holds two URLs; put"),
    ("https://a.example/1.jpg|HTTP://b.example/2.jpg", "two_urls", "holds two URLs; put"),
    (
        "https://a.example/1.jpg\nhttps://b.example/2.jpg",
        "two_urls",
        "holds two URLs (is a quote missing?); put",
    ),
    ("https://a.example/1.jpghttps://b.example/2.jpg", "two_urls", "holds two URLs; put"),
    ("https://a.example/1.jpg?sig=s3cret,https://b.example/2.jpg", "two_urls", "holds two URLs; put"),
    ("https://a.example/1.jpg,s3://bucket/2.jpg", "two_urls", "holds two URLs; put"),
    (
        "https://a.example:/a.jpg",
        "bad_host",
        "has no usable host or port (nothing follows the colon): https://a",
    ),
    ("https://a.example:", "bad_host", "has no usable host or port (nothing follows the colon)"),
    ("https://a.example://a.jpg", "bad_host", "has no usable host or port (nothing follows the colon)"),
    ("https://a.example:99999/a.jpg", "bad_host", "has no usable host or port (a port is 1 to 65535)"),
    ("https://a.example:+80/a.jpg", "bad_host", "has no usable host or port"),
    ("https://a.example:-1/a.jpg", "bad_host", "has no usable host or port"),
    ("https://a.example:8\u0660/a.jpg", "bad_host", "has no usable host or port"),
    ("https://a.example:80:80/a.jpg", "bad_host", "has no usable host or port"),
    ("https:// /a.jpg", "no_host", "names no host"),
    ("https:// /", "no_host", "names no host"),
    ("http:////a.example/a.jpg", "no_host", "names no host"),
    ("https://#a", "no_host", "names no host"),
    ("https://[]/a.jpg", "bad_host", "has no usable host"),
    ("https://[1.2.3.4]/a.jpg", "bad_host", "has no usable host"),
    ("https://[::1]x/a.jpg", "bad_host", "has no usable host"),
    ("https://[::g]/a.jpg", "bad_host", "has no usable host"),
    ("https://256.1.1.1/a.jpg", "bad_host", "has no usable host or port"),
    ("https://1.2.3/a.jpg", "bad_host", "has no usable host or port"),
    ("https://a.example,b.example/a.jpg", "bad_host", "has no usable host or port"),
    ("https://a%20b.example/a.jpg", "bad_host", "has no usable host or port"),
    ("https://.a.example/a.jpg", "bad_host", "has no usable host or port"),
    ("https://a.example../a.jpg", "bad_host", "has no usable host or port"),
    ("https://a.example\\b.jpg", "unsafe_characters", "has a backslash (write / or %5C) inside"),
    ("https://a.example/x\\b.jpg", "unsafe_characters", "has a backslash (write / or %5C) inside"),
    ("https:\\\\a.example\\b.jpg", "not_http_url", "is not an http:// or https:// URL"),
    ('https://a.example/a.jpg"', "unsafe_characters", "has a double quote (write %22) inside"),
    ('https://a.example/a.jpg?x="b"', "unsafe_characters", "has a double quote (write %22) inside"),
    ("C:\\pictures\\a.jpg", "not_http_url", "is not an http:// or https:// URL: C:\\pictures\\a.jpg"),
    ("hhttps://a.example/a.jpg", "not_http_url", "is not an http:// or https:// URL"),
    ("http//a.example/a.jpg", "not_http_url", "is not an http:// or https:// URL"),
    ("#N/A", "not_http_url", "is not an http:// or https:// URL: #N/A"),
    ("# first shoot", "not_http_url", "is not an http:// or https:// URL: # first shoot"),
    ("\u200bhttps://a.example/a.jpg", "unsafe_characters", "has the character U+200B inside"),
]


@pytest.mark.parametrize("url", GOOD_URLS)
def test_a_usable_url_is_accepted_in_either_column(url):
    assert [p.source_img for p in checked((url, SCENE)).pairs] == [url]
    assert [p.reference_img for p in checked((FACE + "?", url)).pairs] == [url]


@pytest.mark.parametrize(("url", "code", "clause"), BAD_URLS)
def test_a_bad_url_is_rejected_in_either_column_with_its_reason(url, code, clause):
    assert not PLAIN_URL.fullmatch(url)
    for row, column in (((url, SCENE), "source_img"), ((FACE, url), "reference_img")):
        rejected = rejection(*row)
        assert (rejected.row_number, rejected.column, rejected.code) == (2, column, code)
        assert rejected.reason.startswith(f"{column} {clause}")


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


@pytest.mark.parametrize("url", GOOD_URLS)
def test_a_usable_url_reaches_the_body_of_the_submit_byte_for_byte(manifest_file, url):
    [pair] = read_manifest(manifest_file(f'source_img,reference_img\n"{url}",{SCENE}?\n')).pairs
    sent = json.loads(json.dumps(submit_body(pair.source_img, pair.reference_img)))
    assert sent["args"] == {"source_img": url, "reference_img": f"{SCENE}?"}


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
