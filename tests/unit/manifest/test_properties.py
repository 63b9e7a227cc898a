# SPDX-License-Identifier: Apache-2.0
"""Properties of every manifest, whatever its content."""

from __future__ import annotations

import csv
import io
import tempfile
from functools import partial
from pathlib import Path
from unittest import mock

from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_goenhance.exceptions import ErrorCode, ManifestError
from airflow_provider_goenhance.manifest.model import Manifest
from airflow_provider_goenhance.manifest.pair_ids import PLAIN_PAIR_ID, pair_id_problem
from airflow_provider_goenhance.manifest.read import READERS, read_manifest
from airflow_provider_goenhance.manifest.read_csv import read_by_pandas, read_by_record, read_csv
from airflow_provider_goenhance.manifest.source import find_source
from airflow_provider_goenhance.manifest.urls import PLAIN_URL, url_problem

FACES = [f"https://pictures.example/faces/{n}.jpg" for n in range(3)]
SCENES = [f"https://pictures.example/scenes/{n},x.jpg" for n in range(3)]
good_rows = st.tuples(
    st.sampled_from(["", "a", "b", "NA", "007"]), st.sampled_from(FACES), st.sampled_from(SCENES)
)
bad_urls = st.sampled_from(
    ["", "ftp://x/y", "https://", "https://u:s3cret@h/", "https://a b/", "x\ny", 'q"', "nan"]
)
bad_rows = st.one_of(
    st.tuples(st.just("a"), bad_urls, st.sampled_from(SCENES)),
    st.tuples(st.just(""), st.sampled_from(FACES), bad_urls),
    st.tuples(st.just("c"), st.sampled_from(FACES), st.sampled_from(SCENES), st.just("more")),
    st.tuples(st.just("c"), st.sampled_from(FACES), st.sampled_from(SCENES), st.just(""), st.just("more")),
    st.tuples(st.just("only")),
    st.tuples(st.text("x\x01\u2028", min_size=1), st.sampled_from(FACES), st.sampled_from(SCENES)),
)
blank_rows = st.sampled_from([(), ("", ""), ("", "", ""), (" ", "\t", ""), ("", "", "", "", "")])


def as_csv(rows: list[tuple[str, ...]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("pair_id", "source_img", "reference_img"))
    for row in rows:
        if row:
            writer.writerow(row)
        else:
            out.write("\n")
    return out.getvalue()


def in_file(text: str) -> tuple[tempfile.TemporaryDirectory, str]:
    folder = tempfile.TemporaryDirectory()
    path = Path(folder.name) / "pairs.csv"
    path.write_bytes(text.encode())
    return folder, str(path)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.one_of(good_rows, good_rows, bad_rows, blank_rows), max_size=20), st.sampled_from([1, 4, 50])
)
def test_every_row_is_a_pair_or_rejected_exactly_once_with_its_own_row_number(rows, chunk_rows):
    expected = {
        number: row for number, row in enumerate(rows, start=2) if any(value.strip() for value in row)
    }
    folder, location = in_file(as_csv(rows))
    with folder, mock.patch.dict(READERS, {".csv": partial(read_csv, chunk_rows=chunk_rows)}):
        try:
            manifest = read_manifest(location)
        except ManifestError:
            manifest = Manifest(location, [], [])

    assert sorted(r.row_number for r in (*manifest.pairs, *manifest.rejected)) == sorted(expected)
    for pair in manifest.pairs:
        pair_id, source, reference = (value.strip() for value in expected[pair.row_number][:3])
        assert (pair.source_img, pair.reference_img) == (source, reference)
        assert pair.pair_id == pair_id or not pair_id
    assert len({pair.pair_id for pair in manifest.pairs}) == len(manifest.pairs)
    assert all(rejected.reason and rejected.code for rejected in manifest.rejected)
    assert "s3cret" not in str(manifest.rejected)


@settings(deadline=None, max_examples=40)
@given(st.text("a,\n\r \ufeffé", max_size=40))
@example("a,b\r\nc,d\re,f\n")
@example("a, b,  \n   \n  c ,d \n")
def test_pandas_and_the_record_reader_tell_rows_and_values_apart_in_the_same_way(body):
    # Where pandas fails or a quote appears, the other reader continues from the last row: both must count rows alike.
    from pandas.errors import ParserError

    folder, location = in_file(f"source_img,reference_img\n{body}")
    with folder:
        try:
            by_pandas = [row for _, rows in read_by_pandas(find_source(location), 50) for row in rows]
        except ParserError:
            return
        assert [
            row for rows in read_by_record(find_source(location), 50, after=1) for row in rows
        ] == by_pandas


LOOKS_LIKE_ANOTHER_TYPE = [
    *(
        "4711",
        "1e5",
        "007",
        "None",
        "NaN",
        "nan",
        "NA",
        "null",
        "true",
        "False",
        "[1, 2]",
        "4711.0",
        "0x1F",
        "1_000",
    ),
    *("2026-11-25", "inf", "-0", "1E+400", "+5", ".5", "1,5", "=1+1", "'007", "{}", "99999999999999999999"),
]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([*LOOKS_LIKE_ANOTHER_TYPE, ""]), st.sampled_from(["", *LOOKS_LIKE_ANOTHER_TYPE])
        )
    ),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from([1, 2, 50]),
)
@example([("4711", ""), ("", ""), ("1", "")], csv.QUOTE_MINIMAL, 50)
def test_every_value_stays_the_text_it_was(rows, quoting, chunk_rows):
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n", quoting=quoting)
    writer.writerow(("pair_id", "consent_ref", "source_img", "reference_img"))
    for number, (pair_id, consent) in enumerate(rows):
        writer.writerow(
            (pair_id, consent, FACES[0], f"https://pictures.example/{number}?id={pair_id.replace(' ', '')}")
        )
    folder, location = in_file(out.getvalue())
    if not rows:
        return
    with folder, mock.patch.dict(READERS, {".csv": partial(read_csv, chunk_rows=chunk_rows)}):
        manifest = read_manifest(location)

    seen = set()
    firsts = [row for row in rows if not (row[0] in seen or (row[0] and seen.add(row[0])))]
    assert len(manifest.pairs) == len(firsts)
    for pair, (pair_id, consent) in zip(manifest.pairs, firsts, strict=True):
        assert pair.pair_id == pair_id or not pair_id
        assert pair.consent_ref == (consent or None)
    assert {row.code for row in manifest.rejected} <= {"duplicate_pair_id"}


one_url = st.builds(
    "{}://{}/{}".format,
    st.sampled_from(["http", "https", "HTTPS"]),
    st.sampled_from(["a.example", "bücher.example", "a.example:8080", "192.0.2.7", "[2001:db8::7]"]),
    st.text("azA09-._~,;|=&+%/()ö!*'", max_size=20),
)


@settings(deadline=None, max_examples=100)
@given(one_url)
def test_a_url_is_kept_byte_for_byte(url):
    folder, location = in_file(f'source_img,reference_img\n"{url}",{SCENES[0].split(",")[0]}\n')
    with folder:
        assert [pair.source_img for pair in read_manifest(location).pairs] == [url]


@settings(max_examples=200)
@given(one_url, st.sampled_from([",", ", ", " ", ";", " ; ", "|", " | ", "\n", "\r\n", "\t"]), one_url)
def test_a_cell_with_two_urls_has_a_code_of_its_own(first, separator, second):
    problem = url_problem(f"{first}{separator}{second}")
    assert problem is not None
    assert problem[0] == ErrorCode.TWO_URLS


@settings(deadline=None, max_examples=40)
@given(st.binary(max_size=60))
@example(b"\xef\xbb\xbf\xef\xbb\xbf\n")
@example(b'"\xff')
@example(b'"' + b"\n" * 10)
def test_any_bytes_at_all_give_a_manifest_or_an_error_that_names_the_file(content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pairs.csv"
        for head in (b"", b"source_img,reference_img\n"):
            path.write_bytes(head + content)
            try:
                said = read_manifest(str(path)).location
            except ManifestError as error:
                said = str(error)
            assert str(path) in said


@settings(max_examples=200)
@given(
    st.builds(
        "{}://{}{}/{}".format,
        st.sampled_from(["http", "https"]),
        st.text("aZ0-.", max_size=9),
        st.sampled_from(["", "", ":8080", ":0", ":99999", "@h", "[", "%", "_"]),
        st.text("aZ0-_.:@[]/?#% \té", max_size=9),
    )
)
@example("https://-/")
@example("http://" + "a" * 63 + "/" + "x" * 1900)
@example("http://xn--/")
def test_a_url_that_is_waved_through_has_no_problem(url):
    assert not PLAIN_URL.fullmatch(url) or url_problem(url) is None


PIECES = [
    "http",
    "https",
    ":",
    "://",
    "/",
    "//",
    "a",
    "a.example",
    "1",
    "1.2.3.4",
    ".",
    ",",
    ";",
    "|",
    "@",
    "?",
    "#",
    "\\",
]
PIECES += ['"', "%", "%2F", "[", "]", ":80", "_", "-", "é", " ", "ftp", "s3"]


@settings(max_examples=500)
@given(st.sampled_from(["http://", "https://", ""]), st.lists(st.sampled_from(PIECES), max_size=9))
@example("https://", ["https", "/", "a"])
@example("https://", ["1", ".", "1", "/"])
@example("https://", ["a", "/", "a", "https", "://", "a"])
def test_a_url_of_odd_pieces_that_is_waved_through_has_no_problem(start, pieces):
    url = start + "".join(pieces)
    assert not PLAIN_URL.fullmatch(url) or url_problem(url) is None


@settings(max_examples=50)
@given(st.from_regex(PLAIN_PAIR_ID, fullmatch=True))
def test_a_pair_id_that_is_waved_through_has_no_problem(pair_id):
    assert pair_id_problem(pair_id) is None


@given(st.text(max_size=60), st.sampled_from(["", "https://", "http://h", "https://u:p@"]))
def test_any_text_can_be_asked_about_as_a_url(text, start):
    problem = url_problem((start + text).strip())
    assert problem is None or (problem[0] and problem[1])
