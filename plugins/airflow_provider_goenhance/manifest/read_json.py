# SPDX-License-Identifier: Apache-2.0
"""Read a JSON manifest: an array of objects, or an object a line (JSON Lines)."""

from __future__ import annotations

import io
import json
import re
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

from ..exceptions import ManifestError
from .columns import ANY_NAMES
from .records import RecordRows

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from .columns import Wanted
    from .model import Rows
    from .source import Source

CHUNK_ROWS = 10_000
#: Characters of one row: no row that can be swapped is as long.
MAX_ROW = 1 << 20
_BLOCK = 1 << 16
_LINES = frozenset({".jsonl", ".ndjson"})
_SPACE = re.compile(r"[ \t\r\n]*")
# An item is followed by one of these; a number or a word at the end of a block may go on in the next.
_NEXT = re.compile(r"[ \t\r\n]*([,\]])")


class _Pairs(list[tuple[str, Any]]):
    """The names and values of an object in their order, a name that is there twice included."""


# Numbers stay the text that they are: 4711 and 1e5 may be names.
_DECODER = json.JSONDecoder(object_pairs_hook=_Pairs, parse_float=str, parse_int=str, parse_constant=str)


def read_json(source: Source, wanted: Wanted = ANY_NAMES, *, chunk_rows: int = CHUNK_ROWS) -> Generator[Rows]:
    """
    Read a JSON manifest, in chunks. Rows are numbered from 1: the items of an array, the lines of JSON Lines.

    A line of JSON Lines that is no object is a row that is rejected. An array whose text is broken cannot be used.

    :raises ManifestError: if the file as a whole cannot be used
    """
    rows = RecordRows(source, wanted, keep_blank=True)
    with _open_text(source) as text:
        skipped, start = _first_text(text, source)
        if start.startswith("["):
            items = _array_items(text, start, source)
        elif source.suffix in _LINES or _is_object(start.partition("\n")[0]):
            items = _lines(text, start, source, after=skipped)
        else:
            raise ManifestError(_other_json(start, source))
        for number, value in items:
            if isinstance(value, _Pairs):
                _add(rows, number, value)
            elif value is not None:
                rows.reject(number, str(value))
            if len(rows) >= chunk_rows:
                yield rows.take()
        if len(rows):
            yield rows.take()


def _add(rows: RecordRows, number: int, pairs: _Pairs) -> None:
    try:
        rows.add(number, [name for name, _ in pairs], [_plain(value) for _, value in pairs])
    except RecursionError:
        rows.reject(number, "the row is nested too deeply")


def _plain(value: Any) -> Any:
    """Return a value with its objects as dicts."""
    if isinstance(value, _Pairs):
        return {name: _plain(item) for name, item in value}
    return [_plain(item) for item in value] if isinstance(value, list) else value


@contextmanager
def _open_text(source: Source) -> Iterator[IO[str]]:
    try:
        with source.open() as stream, io.TextIOWrapper(stream, encoding="utf-8-sig", newline="\n") as text:
            yield text
    except UnicodeDecodeError:
        raise ManifestError(
            f"manifest {source.location} is not UTF-8, which JSON must be{_bad_line(source)}: save it as UTF-8"
        ) from None


def _bad_line(source: Source) -> str:
    with source.open() as stream:
        for number, line in enumerate(iter(lambda: stream.readline(MAX_ROW), b""), start=1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                return f" (line {number}: byte 0x{line[error.start]:02X})"
    return ""


def _first_text(text: IO[str], source: Source) -> tuple[int, str]:
    """Return the number of blank lines, and the text from there up to the end of its line or block."""
    skipped = 0
    while line := text.readline(MAX_ROW):
        if start := line.lstrip(" \t\r\n"):
            return skipped, start
        skipped += 1
    raise ManifestError(f"manifest {source.location} is empty: it needs at least one pair")


def _lines(text: IO[str], line: str, source: Source, *, after: int) -> Iterator[tuple[int, Any]]:
    """Yield number and value of each line: an object, ``None`` for a blank line, or what is wrong with it."""
    number = after + 1
    while line:
        if len(line) >= MAX_ROW:
            raise ManifestError(
                f"manifest {source.location}, row {number} is longer than {MAX_ROW} characters"
            )
        yield number, _object_of(line)
        line, number = text.readline(MAX_ROW), number + 1


def _object_of(line: str) -> Any:
    stripped = line.strip()
    if not stripped:
        return None
    try:
        value = _DECODER.decode(stripped)
    except json.JSONDecodeError as error:
        return f"the line is not JSON ({error.msg}, character {error.pos + 1})"
    except RecursionError:
        return "the line is nested too deeply"
    return value if isinstance(value, _Pairs) else "the line is JSON, but not an object"


def _is_object(line: str) -> bool:
    return isinstance(_object_of(line), _Pairs)


def _array_items(text: IO[str], start: str, source: Source) -> Iterator[tuple[int, Any]]:
    """Yield number and value of each item; the array is parsed item by item, so that its size does not matter."""
    buffer = _Buffer(text, start[1:], source)
    number = 0
    if buffer.skip("]"):
        buffer.expect_end()
        return
    while True:
        number += 1
        value = buffer.item(number)
        yield number, value if isinstance(value, _Pairs) else "the item of the array is not an object"
        if buffer.separator(number) == "]":
            break
    buffer.expect_end()


class _Buffer:
    """The text of an array that was read and not parsed yet."""

    def __init__(self, text: IO[str], start: str, source: Source) -> None:
        self._text = text
        self._rest = start
        self._place = 0
        self._source = source

    def item(self, number: int) -> Any:
        """Parse the next item."""
        while True:
            self._place = self._skip_space()
            try:
                value, end = _DECODER.raw_decode(self._rest, self._place)
            except json.JSONDecodeError as error:
                if not self._more():
                    raise self._broken(number, error.msg) from None
                continue
            except RecursionError:
                raise self._broken(number, "it is nested too deeply") from None
            # Of a number, the rest may follow in the next block.
            closed = self._rest[end - 1] in '}]"' or _NEXT.match(self._rest, end)
            if closed or not self._more():
                self._place = end
                return value

    def separator(self, number: int) -> str:
        """Return the comma or bracket behind an item."""
        while not (found := _NEXT.match(self._rest, self._place)):
            self._place = self._skip_space()
            if self._place < len(self._rest):
                raise self._broken(number, "a comma or ] must follow it")
            if not self._more():
                raise self._broken(number, "the file ends in the middle of the array")
        self._place = found.end()
        return found[1]

    def skip(self, character: str) -> bool:
        """Return whether the next character is this one, and skip it in that case."""
        self._place = self._skip_space()
        while self._place == len(self._rest) and self._more():
            self._place = self._skip_space()
        if not self._rest.startswith(character, self._place):
            return False
        self._place += 1
        return True

    def expect_end(self) -> None:
        """Raise if anything but blanks follows."""
        while True:
            self._place = self._skip_space()
            if self._place < len(self._rest):
                raise ManifestError(
                    f"manifest {self._source.location} cannot be read: text follows the end of its array"
                )
            if not self._more():
                return

    def _skip_space(self) -> int:
        found = _SPACE.match(self._rest, self._place)
        return found.end() if found else self._place

    def _more(self) -> bool:
        """Read the next block; return whether there was one."""
        if len(self._rest) - self._place > MAX_ROW:
            raise ManifestError(
                f"manifest {self._source.location} has a row of more than {MAX_ROW} characters"
            )
        block = self._text.read(_BLOCK)
        if block:
            self._rest = self._rest[self._place :] + block
            self._place = 0
        return bool(block)

    def _broken(self, number: int, reason: str) -> ManifestError:
        return ManifestError(
            f"manifest {self._source.location}, row {number} cannot be read ({reason[:1].lower()}{reason[1:]}): the "
            "text from there on is not JSON, so no row of it can be trusted"
        )


def _other_json(start: str, source: Source) -> str:
    if start.startswith("{"):
        return (
            f"manifest {source.location} is one JSON object: it must be an array of objects, or an object a line "
            "(JSON Lines)"
        )
    shown = "" if source.from_web else f"; it begins with {start[:20]!a}"
    return (
        f"manifest {source.location} is not JSON{shown}: it must be an array of objects, or an object a line"
    )
