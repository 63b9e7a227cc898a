# SPDX-License-Identifier: Apache-2.0
"""Write the same table in every format that a manifest may have."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Sequence

import openpyxl
import pyarrow as pa
from pyarrow import parquet

Table = Sequence[Sequence[str]]


def as_delimited(header: Sequence[str], rows: Table, delimiter: str = ",", bom: str = "") -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    writer.writerow(header)
    for row in rows:
        if any(row):
            writer.writerow(row)
        else:
            out.write("\n")  # the csv module would write a lone quoted value
    return (bom + out.getvalue()).encode("utf-8", "surrogatepass")


def as_json(header: Sequence[str], rows: Table, indent: int | None = None) -> bytes:
    return json.dumps([dict(zip(header, row, strict=True)) for row in rows], indent=indent).encode()


def as_json_lines(header: Sequence[str], rows: Table) -> bytes:
    return b"".join(json.dumps(dict(zip(header, row, strict=True))).encode() + b"\n" for row in rows)


def as_parquet(header: Sequence[str], rows: Table, row_group_size: int = 3) -> bytes:
    columns = [pa.array([row[place] for row in rows], pa.string()) for place in range(len(header))]
    out = io.BytesIO()
    parquet.write_table(pa.table(columns, names=list(header)), out, row_group_size=row_group_size)
    return out.getvalue()


def as_excel(header: Sequence[str], rows: Table) -> bytes:
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("pairs")
    for row in (header, *rows):
        sheet.append([_text_cell(sheet, value) if value else None for value in row])
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _text_cell(sheet: object, value: str) -> object:
    cell = openpyxl.cell.WriteOnlyCell(sheet, value=value)
    cell.data_type = "s"  # not a formula, whatever it begins with
    return cell


def in_zstd(data: bytes) -> bytes:
    """Compress; pyarrow closes the stream that it writes to, so it writes to a buffer of its own."""
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


#: By the name of the file; each is read with the first row number given here.
FORMATS: dict[str, tuple[Callable[[Sequence[str], Table], bytes], int]] = {
    "pairs.csv": (as_delimited, 2),
    "pairs.tsv": (lambda header, rows: as_delimited(header, rows, "\t"), 2),
    "pairs.txt": (lambda header, rows: as_delimited(header, rows, "\t"), 2),
    "unicode.txt": (lambda header, rows: as_delimited(header, rows, "\t").decode().encode("utf-16"), 2),
    "semicolons.csv": (lambda header, rows: as_delimited(header, rows, ";", "\ufeff"), 2),
    "bars.csv": (lambda header, rows: as_delimited(header, rows, "|"), 2),
    "pairs.json": (as_json, 1),
    "indented.json": (lambda header, rows: as_json(header, rows, 2), 1),
    "lines.json": (as_json_lines, 1),
    "pairs.jsonl": (as_json_lines, 1),
    "pairs.parquet": (as_parquet, 1),
    "pairs.xlsx": (as_excel, 2),
    "pairs.csv.gz": (lambda header, rows: gzip.compress(as_delimited(header, rows)), 2),
    "pairs.csv.zst": (lambda header, rows: in_zstd(as_delimited(header, rows)), 2),
    "pairs.jsonl.gz": (lambda header, rows: gzip.compress(as_json_lines(header, rows)), 1),
    "pairs.json.zst": (lambda header, rows: in_zstd(as_json(header, rows)), 1),
}
