# SPDX-License-Identifier: Apache-2.0
"""Quotes in a manifest: sound ones are read, and damaged ones never swallow a row without a word."""

from __future__ import annotations

import csv
import io
import re
from functools import partial
from itertools import permutations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_goenhance.exceptions import ManifestError
from airflow_provider_goenhance.manifest.read import READERS, read_manifest
from airflow_provider_goenhance.manifest.read_csv import read_csv

A = "https://img.example.com/a.jpg"
B = "https://img.example.com/b.jpg"
C = "https://img.example.com/c.jpg"
HEADER = "source_img,reference_img,pair_id,note\n"
PAIRS = ((A, B), (A, C), (B, C), (C, B), (B, A))


def with_urls(text: str) -> str:
    """Replace the letters A, B and C, where they stand alone, by URLs."""
    return re.sub(r"\b[ABC]\b", lambda match: {"A": A, "B": B, "C": C}[match[0]], text)


DAMAGED = {
    "an unfinished quote that a later quoted value closes": (
        'A,B,x,"unfinished\nA,C,y,ok\nB,C,z,"fine"\nC,B,w,\n',
        "row 2, column note: the quote opened in line 2 is closed only in line 4, with text behind it",
    ),
    "a backslash before a quote": (
        'A,B,x,"size 5\\""\nA,C,y,"ok"\nB,C,z,\n',
        r"row 2, column note: line 2 writes a quote inside a value as \", which ends the value",
    ),
    "a backslash before a quote within one line": (
        'A,B,x,"say \\"hi\\" now"\nA,C,y,ok\n',
        r"row 2, column note: line 2 writes a quote inside a value as \"",
    ),
    "backslashes in two rows": (
        'A,B,x,"5\\""\nA,C,y,"6\\""\nB,C,z,\n',
        r"row 2, column note: line 2 writes a quote inside a value as \"",
    ),
    "text behind a closing quote": (
        'A,B,x,\nA,C,y,"five" inches\n',
        "row 3, column note: text follows the closing quote of a value in line 3",
    ),
    "a quote inside a quoted value that is not doubled": (
        'A,B,x,"a 5" tube"\nA,C,y,ok\n',
        "row 2, column note: text follows the closing quote of a value in line 2",
    ),
    "an unfinished quote that a lone quote closes": (
        'A,B,x,"unfinished\nA,C,y,ok\nB,C,z,"\nC,B,w,\n',
        "row 2, column note: the quote opened in line 2 is closed only in line 4, and the lines between look like rows",
    ),
    "two values that each begin with a quote only": (
        'A,B,x,"\nA,C,y,"\nB,C,z,\n',
        "row 2, column note: the quote opened in line 2 is closed only in line 3, and the lines between look like rows",
    ),
    "a quote in the first column": (
        '"A,B,x,one\nA",C,y,ok\nB,C,z,\n',
        "row 2, column source_img: the quote opened in line 2 is closed only in line 3, and the lines",
    ),
    "a quote that shifts the row": (
        'A,"B\nA",C,y,ok\n',
        "row 2: the row has more values than the header has columns, and a quoted value in it that starts in line 2",
    ),
    "rows with a blank behind each comma": (
        'A, B, x, "one\nA, C, y, two"\nB, C, z,\n',
        "row 2, column note: the quote opened in line 2 is closed only in line 3, and the lines between look like rows",
    ),
    "a swallowed row with addresses of another kind": (
        'A, B, x, "one\ns3://bucket/a.jpg, s3://bucket/b.jpg, y, two"\n',
        "row 2, column note: the quote opened in line 2 is closed only in line 3, and the lines between look like rows",
    ),
    "a swallowed row without any URL": (
        'A,B,x,"one\np,q,r,s\ntwo"\n',
        "row 2, column note: the quote opened in line 2 is closed only in line 4, and the lines between look like rows",
    ),
    "a quote never closed behind a value of several lines": (
        'A,B,x,"one\ntwo"\n\nA,C,"y,\nB,C,z,\n',
        "row 4, column pair_id: a quote is opened and never closed, so the rest of the file cannot be split into rows: "
        "close it in line 5",
    ),
    "a tab before a quote": (
        'A,B,x,\t"one, two"\n',
        "row 2, column note: the character U+0009 stands before a quote in line 2",
    ),
    "a no-break space before a quote": (
        'A,B,x, \u00a0"one, two"\n',
        "row 2, column note: the character U+00A0 stands before a quote in line 2",
    ),
    "a byte order mark before a quote": (
        'A,B,x,\n\ufeff"A",C,y,\n',
        "row 3, column source_img: the character U+FEFF stands before a quote in line 3",
    ),
    "rows between commas and semicolons": (
        '"A";"B";"x"\nA,C,y,\n',
        "row 2, column source_img: text follows the closing quote of a value in line 2",
    ),
}


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(("body", "said"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_quote_refuses_the_file_with_the_line(manifest_file, body, said, line_end):
    location = manifest_file(with_urls(HEADER + body).replace("\n", line_end))
    with pytest.raises(ManifestError) as caught:
        read_manifest(location)
    assert str(caught.value).startswith(f"manifest {location}, {said}")
    assert re.search(r": [^:]+$", str(caught.value).partition(". Also: ")[0])  # and what to do


@pytest.mark.parametrize("separator", [",", ", ", ",  "])
@pytest.mark.parametrize(
    "order", [*permutations(("source_img", "reference_img", "pair_id", "note"))], ids=",".join
)
def test_quotes_alone_in_two_rows_swallow_none_in_any_order_of_the_columns(manifest_file, order, separator):
    def row(number, note):
        source, reference = PAIRS[number]
        values = {"source_img": source, "reference_img": reference, "pair_id": f"p{number}", "note": note}
        return separator.join(values[name] for name in order)

    lines = [",".join(order), row(0, '"'), row(1, '"'), row(2, '""'), row(3, '"1,5"')]
    with pytest.raises(ManifestError, match="line 2"):
        read_manifest(manifest_file("\n".join(lines) + "\n"))


@pytest.mark.parametrize(
    "note",
    [
        "see A, then\nwrite to Ada",
        "first line\nA",
        "A\nB",
        "two links:\nA,\nB",
        "one, two,\nthree",
    ],
)
def test_a_note_of_several_lines_with_links_in_it_is_read(manifest_file, note):
    body = with_urls(f'A,B,x,"{note}"\nA,C,y,"ok"\n')
    assert [pair.pair_id for pair in read_manifest(manifest_file(HEADER + body)).pairs] == ["x", "y"]


def test_a_damaged_quote_behind_the_first_chunk_refuses_the_file_too(manifest_file, monkeypatch):
    monkeypatch.setitem(READERS, ".csv", partial(read_csv, chunk_rows=5))
    rows = "".join(f"A,B,p{n},\n" for n in range(2, 40))
    location = manifest_file(with_urls(f'{HEADER}{rows}A,B,x,"one\nA,C,y,"two"\n'))
    with pytest.raises(ManifestError, match="row 40, column note: the quote opened in line 40 "):
        read_manifest(location)


SOUND = {
    "a blank before a quote": ('A, B, "x, y"\n', [(2, "x, y")]),
    "blanks around quotes": ('  "A"  ,  "B"\t, "x" , "one"  \n', [(2, "x")]),
    "doubled quotes": ('A,B,"say ""hi""","5"""\n"A","B","""",""\n', [(2, 'say "hi"'), (3, '"')]),
    "a quote inside a value without quotes": ('A,B,x"y,5" tube\nA,C,z,say "hi\n', [(2, 'x"y'), (3, "z")]),
    "a backslash at the end of a quoted value": (
        'A,B,"E:\\dir\\","D:\\"\nA,C,y,\n',
        [(2, "E:\\dir\\"), (3, "y")],
    ),
    "a note of several lines": ('A,B,x,"one\ntwo\r\nthree\r\rfour"\nA,C,y,\n', [(2, "x"), (3, "y")]),
    "a note with blank lines": ('A,B,x,"one\n\n\ntwo"\nA,C,y,\n', [(2, "x"), (3, "y")]),
    "a note of several lines with prose": (
        'A,B,x,"Dear Ada,\nplease, when you can, use the red one, not the blue.\nSee A, it is better.\nThanks,\nBob"\n'
        "A,C,y,\n",
        [(2, "x"), (3, "y")],
    ),
    "a note of several lines with URLs": (
        'A,B,x,"see\nA\nand B\n"\nA,C,y,"C\nB"\n',
        [(2, "x"), (3, "y")],
    ),
    "a note with numbers": ('A,B,x,"total\n1,234,567,890 pixels\n"\nA,C,y,\n', [(2, "x"), (3, "y")]),
    "a note with quoted words on two lines": (
        'A,B,x,"say ""hi"",\nthen ""bye"""\nA,C,y,\n',
        [(2, "x"), (3, "y")],
    ),
    "a line break at the end of a value": ('"A\n","B\r\n","x\n"\nA,C,y,\n', [(2, "x"), (3, "y")]),
    "empty quoted values": ('A,B,"",""\n"","","",""\nA,C,y,""\n', [(2, None), (4, "y")]),
}


@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize(("body", "expected"), SOUND.values(), ids=SOUND)
def test_sound_quotes_are_read(manifest_file, body, expected, bom):
    manifest = read_manifest(manifest_file(with_urls(bom + HEADER + body)))
    assert manifest.rejected == []
    assert [pair.row_number for pair in manifest.pairs] == [number for number, _ in expected]
    for pair, (_, pair_id) in zip(manifest.pairs, expected, strict=True):
        assert pair_id is None or pair.pair_id == pair_id


@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_a_quoted_header_is_read_with_and_without_a_byte_order_mark(manifest_file, bom):
    text = with_urls(f'{bom}"source_img", "reference_img" ,"pair ""id""","a\nb"\n"A","B","x","y"\n')
    assert [pair.row_number for pair in read_manifest(manifest_file(text)).pairs] == [2]


def test_a_value_in_single_or_typographic_quotes_is_rejected_with_its_row(manifest_file):
    manifest = read_manifest(manifest_file(with_urls(f"{HEADER}A,B,x,'a, b'\nA,C,y,“a, b”\nB,C,z,\n")))
    assert [(row.row_number, row.code) for row in manifest.rejected] == [
        (2, "too_many_values"),
        (3, "too_many_values"),
    ]
    assert [pair.row_number for pair in manifest.pairs] == [4]


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (
            'source_img,reference_img,"note\nA,B,x\nA,C,"\nB,C,\n',
            "row 1: the quote opened in line 1 is closed only in line 3",
        ),
        ('"source_img"x,reference_img\n', "row 1: text follows the closing quote of a value in line 1"),
        (
            '"source_img,reference_img,note"\n"A,B,x"\n',
            "Row 1 is one quoted value: remove the quotes around whole rows",
        ),
    ],
)
def test_damaged_quotes_in_the_header_are_named(manifest_file, header, said):
    with pytest.raises(ManifestError, match=re.escape(said)):
        read_manifest(manifest_file(with_urls(header)))


def test_a_damaged_value_of_a_megabyte_is_refused_at_once(manifest_file):
    location = manifest_file(with_urls(HEADER) + f'{A},{B},x,"' + '""' * 60_000 + "\n")
    with pytest.raises(ManifestError, match="a quote is opened and never closed"):
        read_manifest(location)


# Each row is written by the standard library, then one place of the file is damaged. Either the file is refused, or
# every other row is the pair that it was.
notes = st.sampled_from(["", "ok", "a, b", 'say "hi"', "one\ntwo", '5"', "see A\nor B, please", "'", "\\"])
damages = st.sampled_from(['"', '""', '\\"', ' "', '" ', '"\n', "'"])


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.tuples(st.sampled_from(PAIRS), notes), min_size=1, max_size=6),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    damages,
    st.floats(0, 1, exclude_max=True),
    st.sampled_from([",", ";", "\t", "|"]),
)
@example([(PAIRS[0], "ok"), (PAIRS[1], "ok"), (PAIRS[2], "ok")], csv.QUOTE_MINIMAL, '"', 0.3, ",")
@example([(PAIRS[0], "ok"), (PAIRS[1], "ok"), (PAIRS[2], "ok")], csv.QUOTE_MINIMAL, '"', 0.3, "\t")
def test_no_row_vanishes_however_a_quote_is_damaged(
    tmp_path_factory, rows, quoting, damage, where, delimiter
):
    texts = []
    for number, ((source, reference), note) in enumerate(rows):
        out = io.StringIO()
        writer = csv.writer(out, delimiter=delimiter, lineterminator="\n", quoting=quoting)
        writer.writerow([source, reference, f"id{number}", note])
        texts.append(out.getvalue())
    damaged = int(where * len(rows))
    place = int((where * len(rows) - damaged) * len(texts[damaged]))
    texts[damaged] = texts[damaged][:place] + damage + texts[damaged][place:]
    path = tmp_path_factory.mktemp("damaged") / "pairs.csv"
    path.write_text(HEADER.replace(",", delimiter) + "".join(texts), newline="")
    try:
        manifest = read_manifest(str(path))
    except ManifestError as error:
        refusal = str(error)
    else:
        refusal = ""
    if refusal:
        assert re.search(r"\bline \d+", refusal)
        return
    assert len(manifest.pairs) + len(manifest.rejected) >= len(rows)
    untouched = {f"id{number}" for number in range(len(rows)) if number != damaged}
    assert {pair.pair_id for pair in manifest.pairs} >= untouched


@settings(deadline=None, max_examples=300)
@given(st.lists(st.sampled_from([A, B, "x", '"', '""', ",", "\n", " ", "\\", "ok", "\t"]), max_size=25))
def test_every_line_is_a_pair_a_rejected_row_or_part_of_a_quoted_value(tmp_path_factory, tokens):
    body = "".join(tokens)
    path = tmp_path_factory.mktemp("tokens") / "pairs.csv"
    path.write_text(HEADER + body, newline="")
    try:
        manifest = read_manifest(str(path))
    except ManifestError:
        return
    rows = {row.row_number for row in (*manifest.pairs, *manifest.rejected)}
    records = list(csv.reader(io.StringIO(body, newline=""), skipinitialspace=True))
    expected = {number for number, row in enumerate(records, start=2) if any(value.strip() for value in row)}
    assert rows == expected
    # A record of several lines never holds the URLs of a second row.
    for record in records:
        for value in record:
            later = value.strip().split("\n")[1:]
            assert not any(re.search(r"(^|,)https?://\S+,https?://", line) for line in later)
