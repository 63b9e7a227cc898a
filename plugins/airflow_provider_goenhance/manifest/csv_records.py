# SPDX-License-Identifier: Apache-2.0
"""The records of a CSV text, with the row and line that each starts in."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from .quoting import find_fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .quoting import Fault


class Records:
    """
    The records of a CSV text, numbered as a spreadsheet numbers rows: the header is 1.

    A record may span several lines of the file (a quoted value with line breaks in it) and still counts as one.

    :param text: its lines, with their line ends
    :param before: the lines of the file in front of them
    :param number: the records that those lines are, such as the header
    :param delimiter: the character between two values
    """

    def __init__(
        self, text: Iterable[str], *, before: int = 0, number: int = 0, delimiter: str = ","
    ) -> None:
        self.number = number
        self._delimiter = delimiter
        self.record: list[str] = []
        #: Lines of the file read until now.
        self.lines_read = before
        self._lines: list[str] = []
        self._yielded = False
        self._text = text

    def _feed(self) -> Iterator[str]:
        for line in self._text:
            if self._yielded:
                self._lines.clear()
                self._yielded = False
            self._lines.append(line)
            self.lines_read += 1
            yield line

    def __iter__(self) -> Iterator[list[str]]:
        """Yield each record; a blank line is an empty record."""
        # Many programs write a blank behind each comma; without `skipinitialspace` a quote behind it is not one.
        for record in csv.reader(self._feed(), delimiter=self._delimiter, skipinitialspace=True):
            self.number += 1
            self.record = record
            self._yielded = True
            yield record

    @property
    def line(self) -> int:
        """Line of the file that the current record starts in, counted from 1."""
        return self.lines_read - len(self._lines) + 1

    def quoting_fault(self, width: int) -> Fault | None:
        """
        Return what is wrong with the quotes of the record just read, ``None`` if its values can be trusted.

        :param width: number of columns of the file
        """
        if len(self._lines) == 1 and '"' not in self._lines[0]:
            return None
        return find_fault("".join(self._lines), self.line, width, self._delimiter)

    def rest(self) -> Iterator[str]:
        """Yield the lines of the file that follow the first line of the current record."""
        yield from self._lines[1:]
        yield from self._text
