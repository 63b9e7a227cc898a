# SPDX-License-Identifier: Apache-2.0
"""The formats of a manifest: the same table gives the same pairs, and what is broken is named."""

from __future__ import annotations

import builtins
import datetime as dt
import gzip
import io
import json
import zipfile

import openpyxl
import pyarrow as pa
import pytest
from pyarrow import parquet

from airflow_provider_goenhance.exceptions import ManifestError, ManifestUnavailableError
from airflow_provider_goenhance.manifest import compression, read_excel
from airflow_provider_goenhance.manifest.read import open_manifest, read_manifest

from .files import FORMATS, as_delimited, as_excel, as_json, as_json_lines, as_parquet, in_zstd

FACE = "https://pictures.example/faces/ada.jpg"
SCENE = "https://pictures.example/scenes/beach.jpg"
HEADER = ("pair_id", "source_img", "reference_img", "note")
ROWS = [
    ("007", FACE, f"{SCENE}?a,b;c|d", "one"),
    ("1e5", FACE, SCENE, 'two "quoted", words'),
    ("", FACE, f"{SCENE}?3", ""),
]


def refusal(location: str) -> str:
    with pytest.raises(ManifestError) as caught:
        read_manifest(location)
    return str(caught.value)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_pairs(manifest_file, name):
    write, first = FORMATS[name]
    manifest = read_manifest(manifest_file(write(HEADER, ROWS), name))
    assert [(p.source_img, p.reference_img) for p in manifest.pairs] == [row[1:3] for row in ROWS]
    assert [p.pair_id for p in manifest.pairs][:2] == ["007", "1e5"]
    assert [p.labels and json.loads(p.labels) for p in manifest.pairs] == [
        {"note": "one"},
        {"note": 'two "quoted", words'},
        None,
    ]
    assert [p.row_number for p in manifest.pairs] == [first, first + 1, first + 2]
    assert manifest.rejected == []


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_can_be_read_chunk_by_chunk_and_again(manifest_file, name):
    write, _ = FORMATS[name]
    stream = open_manifest(manifest_file(write(HEADER, ROWS), name))
    for _ in range(2):
        assert sum(len(checked.pairs) for checked in stream) == len(ROWS)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("pairs.csv", as_parquet(HEADER, ROWS)),
        ("pairs.csv", as_excel(HEADER, ROWS)),
        ("pairs.csv", gzip.compress(as_delimited(HEADER, ROWS))),
        ("pairs", as_json(HEADER, ROWS)),
        ("pairs.txt", as_json_lines(HEADER, ROWS)),
        ("pairs", in_zstd(as_json_lines(HEADER, ROWS))),
        ("pairs.gz", as_delimited(HEADER, ROWS)),
    ],
)
def test_the_content_decides_where_it_is_certain(manifest_file, name, content):
    assert len(read_manifest(manifest_file(content, name)).pairs) == len(ROWS)


# -- delimiters --


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["pairs.csv", "pairs.tsv", "pairs.txt"])
def test_the_delimiter_is_that_of_the_header(manifest_file, name, delimiter):
    location = manifest_file(as_delimited(HEADER, ROWS, delimiter), name)
    assert [p.reference_img for p in read_manifest(location).pairs] == [row[2] for row in ROWS]


def test_excels_line_that_names_the_delimiter_is_a_row_of_its_own(manifest_file):
    text = f"sep=;\r\nsource_img;reference_img\r\n{FACE};{SCENE}\r\n{FACE};{SCENE}?2;more\r\n"
    manifest = read_manifest(manifest_file(text))
    assert [p.row_number for p in manifest.pairs] == [3]
    assert [(r.row_number, r.code) for r in manifest.rejected] == [(4, "too_many_values")]


@pytest.mark.parametrize("blank", ["\n", ";;\r\n", ",,,\n  \n", "\n" * 9])
@pytest.mark.parametrize("sep", ["", "sep=;\n"])
@pytest.mark.parametrize("note", ["plain", '"a; b"'])
def test_blank_rows_above_the_header_are_counted_and_left_out(manifest_file, blank, sep, note):
    content = f"{blank}{sep}source_img;reference_img;note\n\n{FACE};{SCENE};{note}\n;{SCENE};y\n"
    manifest = read_manifest(manifest_file(content, "pairs.csv"))
    first = blank.count("\n") + bool(sep) + 3
    assert [pair.row_number for pair in manifest.pairs] == [first]
    assert [row.row_number for row in manifest.rejected] == [first + 1]


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_a_damaged_quote_is_found_whatever_the_delimiter(manifest_file, delimiter):
    rows = [f'{FACE},{SCENE},x,"unfinished', f"{FACE},{SCENE}?2,y,ok", f'{FACE},{SCENE}?3,z,"fine"']
    text = "\n".join(["source_img,reference_img,pair_id,note", *rows, ""])
    message = refusal(manifest_file(text.replace(",", delimiter)))
    assert (
        "row 2, column note: the quote opened in line 2 is closed only in line 4, with text behind it"
        in message
    )


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_commas_in_quoted_prose_are_no_columns_of_a_file_with_another_delimiter(manifest_file, delimiter):
    note = '"a, b, c, d\none, two, three, four"'
    text = delimiter.join(HEADER) + "\n" + delimiter.join(["x", FACE, SCENE, note]) + "\n"
    [pair] = read_manifest(manifest_file(text)).pairs
    assert json.loads(pair.labels or "")["note"] == note.strip('"')


def test_a_bad_byte_behind_semicolons_is_found_in_its_column(manifest_file):
    text = f"pair_id;source_img;reference_img\np1;{FACE};https://pictures.example/caf"
    assert ", row 2, column reference_img: byte 0xE9" in refusal(manifest_file(text.encode() + b"\xe9.jpg\n"))


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", ["pairs.txt", "pairs.csv", "pairs.json"])
def test_unicode_text_of_a_spreadsheet_is_read(manifest_file, encoding, name):
    rows = [("Zoë 🙂", FACE, f"{SCENE}?{number}", "") for number in range(3000)]
    text = ("\ufeff" + FORMATS[name][0](HEADER, rows).decode()).encode(encoding)
    manifest = read_manifest(manifest_file(text, name))
    assert manifest.pairs[0].pair_id == "Zoë 🙂"
    assert len(manifest.pairs) + len(manifest.rejected) == 3000


# -- JSON --


def test_numbers_in_json_stay_the_text_that_they_are(manifest_file):
    ids = ["4711", "1e5", "1.50", "12345678901234567890", "true"]
    rows = [f'{{"id": {id_}, "source_img": "{FACE}", "reference_img": "{SCENE}"}}' for id_ in ids]
    for content in ("\n".join(rows), f"[{', '.join(rows)}]"):
        manifest = read_manifest(manifest_file(content, "pairs.json"))
        assert [p.pair_id for p in manifest.pairs] == ids


def test_a_line_of_json_lines_that_is_broken_is_one_rejected_row(manifest_file):
    good = f'{{"source_img": "{FACE}", "reference_img": "{SCENE}?%d"}}'
    lines = [
        good % 1,
        "",
        good[:-9],
        "[1]",
        "null",
        '{"source_img": ["x"], "reference_img": {}}',
        "{}",
        good % 8,
    ]
    manifest = read_manifest(manifest_file("\n".join(lines), "pairs.jsonl"))
    assert [p.row_number for p in manifest.pairs] == [1, 8]
    assert [(r.row_number, r.code) for r in manifest.rejected] == [
        (3, "unreadable_row"),
        (4, "unreadable_row"),
        (5, "unreadable_row"),
        (6, "unreadable_row"),
        (7, "missing_value"),
    ]
    assert "the line is not JSON (" in manifest.rejected[0].reason
    assert (
        manifest.rejected[3].reason
        == "source_img is a list, not a text; reference_img is an object, not a text"
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", " is empty: it needs at least one pair"),
        ("  \n\n", " is empty: it needs at least one pair"),
        ("[]", " has no rows: it needs at least one pair"),
        ("pair_id,source_img", " is not JSON; it begins with 'pair_id,source_img': it must be"),
        (
            f'[{{"source_img": "{FACE}", "reference_img": "{SCENE}"}}, ',
            ", row 2 cannot be read (expecting value)",
        ),
        (
            f'[{{"source_img": "{FACE}" "reference_img": 1}}]',
            ", row 1 cannot be read (expecting ',' delimiter)",
        ),
        (
            f'[{{"source_img": "{FACE}", "reference_img": "{SCENE}"}}] x',
            " cannot be read: text follows the end",
        ),
        (
            f'[{{"source_img": "{FACE}", "reference_img": "{SCENE}"}}',
            ", row 1 cannot be read (the file ends in",
        ),
        (
            f'[{{"source_img": "{FACE}", "reference_img": "{SCENE}"}} {{',
            ", row 1 cannot be read (a comma or ] must",
        ),
        ('{\n "pairs": []\n}', " is one JSON object: it must be an array of objects, or an object a line"),
        ('[{"a": 1}]', ", row 1: the columns source_img and reference_img are missing; found: a"),
    ],
)
def test_json_that_is_no_manifest_is_refused_with_the_place(manifest_file, content, said):
    location = manifest_file(content, "pairs.json")
    message = refusal(location)
    assert message.startswith(f"manifest {location}")
    assert said in message


def test_json_in_another_encoding_names_line_and_byte(manifest_file):
    content = b'[\n{"source_img": "caf\xe9"}]'
    assert "is not UTF-8, which JSON must be (line 2: byte 0xE9)" in refusal(manifest_file(content, "a.json"))


def test_a_column_that_is_twice_in_one_object_is_rejected_instead_of_lost(manifest_file):
    row = f'{{"source_img": "{FACE}", "source_img": "{SCENE}", "reference_img": "{SCENE}?2"}}'
    [rejected] = read_manifest(manifest_file(row, "pairs.jsonl")).rejected
    assert (rejected.code, rejected.reason.split(":")[0]) == (
        "unreadable_row",
        "the column source_img is duplicated (columns 1 and 2)",
    )


def test_half_a_character_in_a_key_is_rejected(manifest_file):
    row = f'{{"source_img": "{FACE}", "reference_img": "{SCENE}", "source_key": "a\\ud800", "consent": "\\udfff"}}'
    [rejected] = read_manifest(manifest_file(row, "pairs.jsonl")).rejected
    assert rejected.code == "unsafe_characters"
    assert "source_key has U+D800, half a character" in rejected.reason


def test_a_json_array_is_parsed_across_the_blocks_that_are_read(manifest_file):
    rows = [("", FACE, f"{SCENE}?{number}", "x" * (number % 700)) for number in range(2000)]
    manifest = read_manifest(manifest_file(as_json(HEADER, rows), "pairs.json"))
    assert [p.row_number for p in manifest.pairs] == list(range(1, 2001))


def test_deep_nesting_is_no_traceback(manifest_file):
    deep = "[" * 100_000
    row = f'{{"source_img": "{FACE}", "reference_img": "{SCENE}", "x": {deep}'
    assert read_manifest(manifest_file(f"{row}\n", "pairs.jsonl")).rejected[0].code == "unreadable_row"
    assert "row 1 cannot be read" in refusal(manifest_file(f"[{row}", "pairs.json"))


# -- Parquet --


def test_typed_columns_of_parquet_become_their_text(manifest_file):
    table = pa.table(
        {
            "id": pa.array([4711.0, None, 3.5], pa.float64()),
            "source_img": pa.array([FACE.encode()] * 3, pa.binary()),
            "reference_img": pa.array([SCENE, f"{SCENE}?2", f"{SCENE}?3"]).dictionary_encode(),
            "day": pa.array([dt.date(2026, 11, 27)] * 3),
            "tags": pa.array([["a", "b"], [], None]),
        }
    )
    out = io.BytesIO()
    parquet.write_table(table, out)
    pairs = read_manifest(manifest_file(out.getvalue(), "pairs.parquet")).pairs
    assert [p.pair_id for p in pairs][::2] == ["4711", "3.5"]
    assert [p.labels for p in pairs][::2] == [
        '{"day": "2026-11-27", "tags": "[\\"a\\", \\"b\\"]"}',
        '{"day": "2026-11-27"}',
    ]


def test_a_date_that_nothing_can_show_does_not_make_the_file_unusable(manifest_file):
    day = pa.array([10**18], pa.timestamp("us"))
    out = io.BytesIO()
    parquet.write_table(pa.table({"source_img": [FACE], "reference_img": [SCENE], "day": day}), out)
    [pair] = read_manifest(manifest_file(out.getvalue(), "pairs.parquet")).pairs
    assert pair.labels == '{"day": "<value out of range: 1000000000000000000>"}'


def test_blank_rows_of_parquet_are_counted_and_left_out(manifest_file):
    rows = [ROWS[0], ("", "", "", ""), ROWS[1]]
    manifest = read_manifest(manifest_file(as_parquet(HEADER, rows, row_group_size=1), "pairs.parquet"))
    assert [p.row_number for p in manifest.pairs] == [1, 3]


# -- Excel --


def workbook(*sheets: tuple[str, list[list[object]]], hidden: str = "") -> bytes:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets:
        sheet = book.create_sheet(title)
        sheet.sheet_state = "hidden" if title == hidden else "visible"
        for row in rows:
            sheet.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def test_the_sheet_with_the_columns_is_read_and_no_hidden_one(manifest_file):
    pairs = [["source_img", "reference_img"], [FACE, SCENE]]
    content = workbook(
        ("old", [["source_img", "reference_img"], ["x", "y"]]),
        ("readme", [["hello"]]),
        ("p", pairs),
        hidden="old",
    )
    assert len(read_manifest(manifest_file(content, "pairs.xlsx")).pairs) == 1


def test_a_further_sheet_with_the_columns_is_named_as_not_read(manifest_file, caplog):
    columns: list[object] = ["source_img", "reference_img"]
    pairs: list[object] = ["https://a.example/1.jpg", "https://a.example/2.jpg"]
    content = workbook(
        ("notes", [["for the team"]]),
        ("monday", [columns, pairs]),
        ("tuesday", [["Title"], columns, pairs]),
        ("old", [columns, pairs]),
        hidden="old",
    )
    read_manifest(str(manifest_file(content, "m.xlsx")))
    (said,) = caplog.messages
    assert (
        "only the sheet 'monday' is read. Its other sheets with the same columns are not: 'tuesday'." in said
    )


def test_numbers_and_dates_of_a_workbook_become_the_text_that_is_shown(manifest_file):
    midnight = dt.datetime.fromisoformat("2026-11-27")
    rows = [
        ["id", "source_img", "reference_img", "day", "ok"],
        [4711, FACE, SCENE, midnight, True],
        [None, None, None, None, None],
        [47.5, FACE, f"{SCENE}?2", midnight.replace(hour=6, minute=30), None],
    ]
    pairs = read_manifest(manifest_file(workbook(("p", rows)), "pairs.xlsx")).pairs
    assert [(p.row_number, p.pair_id) for p in pairs] == [(2, "4711"), (4, "47.5")]
    assert [p.labels for p in pairs] == [
        '{"day": "2026-11-27", "ok": "true"}',
        '{"day": "2026-11-27T06:30:00"}',
    ]


def test_titles_above_the_table_of_a_workbook_are_no_header(manifest_file):
    rows = [
        ["Shoots of November"],
        [],
        ["Portrait", "id", "source_img", "reference_img"],
        ["x", 7, FACE, SCENE],
    ]
    [pair] = read_manifest(manifest_file(workbook(("p", rows)), "pairs.xlsx")).pairs
    assert (pair.row_number, pair.pair_id, pair.labels) == (4, "7", '{"Portrait": "x"}')


def rewritten(content: bytes, part: str, old: str, new: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(out, "w") as target:
        for item in source.infolist():
            data = source.read(item)
            if item.filename == part:
                assert old in data.decode()
                data = data.decode().replace(old, new).encode()
            target.writestr(item, data)
    return out.getvalue()


def test_rows_beyond_the_size_that_a_sheet_claims_are_read(manifest_file):
    content = workbook(("p", [["source_img", "reference_img"], [FACE, SCENE], [FACE, f"{SCENE}?2"]]))
    content = rewritten(content, "xl/worksheets/sheet1.xml", 'ref="A1:B3"', 'ref="A1"')
    assert len(read_manifest(manifest_file(content, "pairs.xlsx")).pairs) == 2


def test_a_row_number_beyond_what_a_sheet_can_have_is_refused_in_time(manifest_file, monkeypatch):
    monkeypatch.setattr(read_excel, "MAX_ROWS", 1000)
    content = workbook(("p", [["source_img", "reference_img"], [FACE, SCENE]]))
    content = rewritten(content, "xl/worksheets/sheet1.xml", '<row r="2"', '<row r="999999999999"')
    assert "claims to have more than 1000 rows: it is damaged" in refusal(
        manifest_file(content, "pairs.xlsx")
    )


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"mimetype": "x"}, " is an OpenDocument file: save it as .xlsx or CSV"),
        ({"pairs.csv": "x"}, " is a zip file and no Excel workbook (.xlsx): unpack it"),
        ({"xl/workbook.xml": "x"}, " is not an Excel workbook that can be read ("),
    ],
)
def test_a_zip_file_that_is_no_workbook_is_called_what_it_is(manifest_file, parts, said):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    assert said in refusal(manifest_file(out.getvalue(), "pairs.xlsx"))


def test_a_workbook_that_unpacks_to_more_than_the_limit_is_refused(manifest_file, monkeypatch):
    monkeypatch.setattr(read_excel, "MAX_UNPACKED", 1000)
    assert "unpacks to more than" in refusal(manifest_file(as_excel(HEADER, ROWS), "pairs.xlsx"))


@pytest.mark.parametrize("rows", [[], [["source_img", "reference_img"]]])
def test_a_workbook_without_rows(manifest_file, rows):
    message = refusal(manifest_file(workbook(("p", rows)), "pairs.xlsx"))
    assert message.endswith(": it needs a header row and at least one pair") or "no rows below it" in message


# -- compression --


@pytest.mark.parametrize("name", ["pairs.csv.gz", "pairs.csv.zst"])
@pytest.mark.parametrize("left", [0.5, 0.9])
def test_a_compressed_file_that_is_cut_is_refused(manifest_file, name, left):
    rows = [("", FACE, f"{SCENE}?{number * 7919 % 100_003}", "") for number in range(5000)]
    content = FORMATS[name][0](HEADER, rows)
    message = refusal(manifest_file(content[: int(len(content) * left)], name))
    assert "damaged or incomplete" in message


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "pairs.csv.gz",
            gzip.compress(gzip.compress(as_delimited(HEADER, ROWS))),
            "is compressed twice: unpack it",
        ),
        (
            "pairs.xlsx.gz",
            gzip.compress(as_excel(HEADER, ROWS)),
            "is an Excel workbook inside",
        ),
        (
            "pairs.parquet.gz",
            gzip.compress(FORMATS["pairs.parquet"][0](HEADER, ROWS)),
            "is a Parquet file inside",
        ),
    ],
)
def test_one_compression_inside_another_is_called_what_it_is(manifest_file, name, content, said):
    assert said in refusal(manifest_file(content, name))


def test_a_file_that_unpacks_to_more_than_the_limit_is_refused(manifest_file, monkeypatch):
    monkeypatch.setattr(compression, "MAX_UNPACKED", 1 << 12)
    content = gzip.compress(as_delimited(HEADER, ROWS) + b"\n" * (2 << 12))
    assert "unpacks to more than" in refusal(manifest_file(content, "pairs.csv.gz"))


def test_parts_that_were_compressed_one_by_one_and_joined_are_all_read(manifest_file):
    head, tail = as_delimited(HEADER, ROWS[:2]), as_delimited(HEADER, ROWS[2:]).partition(b"\n")[2]
    for name, pack in (("pairs.csv.gz", gzip.compress), ("pairs.csv.zst", in_zstd)):
        assert len(read_manifest(manifest_file(pack(head) + pack(tail), name)).pairs) == len(ROWS)


# -- what a format needs --


@pytest.mark.parametrize(
    ("name", "module"),
    [("pairs.parquet", "pyarrow"), ("pairs.xlsx", "openpyxl"), ("pairs.csv.zst", "pyarrow")],
)
def test_a_format_whose_library_is_missing_names_the_extra(manifest_file, monkeypatch, name, module):
    location = manifest_file(FORMATS[name][0](HEADER, ROWS), name)
    original = builtins.__import__

    def without(wanted, *args, **kwargs):
        if wanted.partition(".")[0] == module:
            raise ImportError(wanted)
        return original(wanted, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    assert "airflow-provider-goenhance[manifests]" in refusal(location)


# -- the file itself --


def test_the_sha256_is_that_of_the_file_as_it_is_stored(manifest_file):
    import hashlib

    content = gzip.compress(as_delimited(HEADER, ROWS))
    assert read_manifest(manifest_file(content, "p.csv.gz")).sha256 == hashlib.sha256(content).hexdigest()


def test_a_file_that_changes_while_it_is_read_is_read_again(manifest_file):
    location = manifest_file(as_delimited(HEADER, ROWS))
    chunks = iter(open_manifest(location))
    next(chunks)
    manifest_file(as_delimited(HEADER, ROWS[:1]))
    with pytest.raises(ManifestUnavailableError, match="changed while it was read"):
        next(chunks)
