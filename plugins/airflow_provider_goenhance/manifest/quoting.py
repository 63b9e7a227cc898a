# SPDX-License-Identifier: Apache-2.0
"""Find damaged quotes in a CSV record: CSV parsers accept them, and swallow the rows that follow."""

from __future__ import annotations

import re
from dataclasses import dataclass

# A quoted value, with what stands between its closing quote and the next comma; or a value without quotes. The
# possessive quantifiers keep the time for a damaged value linear.
_QUOTED = re.compile(r' *+"(?P<value>[^"]*+(?:""[^"]*+)*+)"(?P<behind>[^,\r\n]*+)')
_UNQUOTED = re.compile(r"[^,\r\n]*+")
# Fast path: a record on one line without a quote inside a value.
_PLAIN_RECORD = re.compile(r'(?:(?: *+"[^"\r\n]*+" *+|[^",\r\n]*+)(?:,|[\r\n]*+$))++')
_LINE_END = re.compile(r"\r\n|\r|\n")
# Only spaces may stand before a quote; a parser takes any other blank, and the quote behind it, as text.
_BLANK_BEFORE_QUOTE = re.compile(r' *([^\S ]|[\ufeff\u200b-\u200f\u2060])[\s\ufeff\u200b-\u200f\u2060]*"')

_SCHEME = r'"?[a-z][a-z0-9+.-]*://'
_URL = rf"{_SCHEME}[^\s,]*+"
# A URL as a column of its own, beside another column. A URL in a sentence has a blank or a word on either side.
_URL_COLUMN = re.compile(rf",{_SCHEME}|(?:^|,){_URL},(?=\S)|(?:^|,)\s*{_URL}\s*,\s*{_SCHEME}", re.IGNORECASE)
_URL_FIRST = re.compile(rf"\s*{_URL}\s*,", re.IGNORECASE)
# What stands behind a quote that should not be there, and in front of the next one: no sentence begins with a comma,
# or ends with one.
_ROW_REST = re.compile(rf"\s*,\s*{_URL}\s*(?:,|\Z)", re.IGNORECASE)
_ROW_START = re.compile(rf"\s*{_URL}\s*,\s*\Z", re.IGNORECASE)
# A comma between two columns: in a sentence a blank follows it, in a number three digits.
_TIGHT_COMMA = re.compile(r",(?!\s)(?!(?<=\d,)\d{3}(?!\d))")

_DOUBLE_IT = 'write a quote inside a value as ""'


@dataclass(frozen=True, slots=True)
class Fault:
    """
    A damaged quote.

    :param column: index of the value
    :param reason: what is wrong in which line of the file, and what to do
    """

    column: int
    reason: str


# What stands for a comma in a record with another delimiter: a character that is no blank and no part of a URL.
_PLAIN_COMMA = "\ue000"


def find_fault(record: str, line: int, width: int, delimiter: str = ",") -> Fault | None:
    """
    Return the first damaged quote of a record.

    :param record: its text in the file
    :param line: the line of the file that it starts in, counted from 1
    :param width: number of columns of the file
    :param delimiter: the character between two values
    :returns: ``None`` if every quote is paired and no quoted value contains what looks like rows
    """
    if delimiter != ",":
        # The rules below are about commas between values, so the two change places.
        record = record.replace(",", _PLAIN_COMMA).replace(delimiter, ",")
    if '"' not in record or _PLAIN_RECORD.fullmatch(record):
        return None
    place = column = 0
    several_lines = 0
    while True:
        if quoted := _QUOTED.match(record, place):
            last = line + len(_LINE_END.findall(record, place, quoted.end()))
            if reason := _quoted_problem(quoted["value"], quoted["behind"].strip(), (line, last), width):
                return Fault(column, reason)
            several_lines = several_lines or (line if last > line else 0)
            line, end = last, quoted.end()
        else:
            end = _end_of_unquoted(record, place)
            if reason := _unquoted_problem(record[place:end], line):
                return Fault(column, reason)
        if record[end : end + 1] != ",":
            break
        place = end + 1
        column += 1
    if several_lines and column >= width and record[place:end].strip():
        return Fault(
            column,
            f"the row has more values than the header has columns, and a quoted value in it that starts in line "
            f"{several_lines} has a line break: it may have swallowed a row. Check the quotes from line "
            f"{several_lines} on",
        )
    return None


def _end_of_unquoted(record: str, place: int) -> int:
    match = _UNQUOTED.match(record, place)
    return match.end() if match else place


def _quoted_problem(value: str, behind: str, lines: tuple[int, int], width: int) -> str:
    first, last = lines
    if behind and (r"\"" in value or value.endswith("\\")):
        return (
            f'line {first} writes a quote inside a value as \\", which ends the value: {_DOUBLE_IT} and check the '
            "lines that follow"
        )
    if behind and first == last:
        return (
            f"text follows the closing quote of a value in line {first}: put the whole value in quotes, and "
            f"{_DOUBLE_IT}"
        )
    swallowed = f"the quote opened in line {first} is closed only in line {last}"
    if behind:
        return f"{swallowed}, with text behind it: close it where its value ends, and {_DOUBLE_IT}"
    if first != last and _looks_like_rows(value, width):
        return f"{swallowed}, and the lines between look like rows: close it where its value ends"
    return ""


def _unquoted_problem(value: str, line: int) -> str:
    if value.lstrip(" ").startswith('"'):
        return (
            "a quote is opened and never closed, so the rest of the file cannot be split into rows: close it in "
            f"line {line}"
        )
    if blank := _BLANK_BEFORE_QUOTE.match(value):
        return (
            f"the character U+{ord(blank[1]):04X} stands before a quote in line {line}, so the value does not count "
            "as quoted: delete that character"
        )
    return ""


def _looks_like_rows(value: str, width: int) -> bool:
    """Return whether a quoted value contains a row, or what a row begins or ends with."""
    segments = _LINE_END.split(value.replace('""', '"'))
    if any(_URL_COLUMN.search(segment) for segment in segments):
        return True
    if _ROW_REST.match(segments[0]) or _ROW_START.match(segments[-1]):
        return True
    # The first line is the end of the row that the quote belongs to; the others are what it may have swallowed.
    return any(_has_all_columns(segment, width) for segment in segments[1:])


def _has_all_columns(segment: str, width: int) -> bool:
    commas = max(width - 1, 1)
    return len(_TIGHT_COMMA.findall(segment)) >= commas or (
        segment.count(",") >= commas and _URL_FIRST.match(segment) is not None
    )
