# SPDX-License-Identifier: Apache-2.0
"""Collect rows whose names and values come one by one, as in JSON, into the columns of the manifest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..exceptions import ManifestError
from .columns import KNOWN, REQUIRED, Columns, find_columns, match_columns
from .labels import labels_text
from .model import Rows
from .own_files import signature_problem
from .values import NotTextError, column_text, label_text

if TYPE_CHECKING:
    from .columns import Wanted
    from .source import Source

#: Different sets of names whose columns are remembered.
_REMEMBERED = 1000


class RecordRows:
    """
    Rows that are filled one by one and taken in chunks.

    :param source: the manifest, for messages
    :param wanted: how the columns are found
    :param keep_blank: whether a row without any value is one, which is then rejected
    """

    def __init__(self, source: Source, wanted: Wanted, *, keep_blank: bool = False) -> None:
        self._keep_blank = keep_blank
        self._source = source
        self._wanted = wanted
        self._columns: dict[tuple[str, ...], Columns | str] = {}
        self._checked = False
        self._rows: list[tuple[Any, ...]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, number: int, names: Sequence[str], values: Sequence[Any]) -> None:
        """
        Add a row; a blank one is left out, unless such rows are kept.

        :raises ManifestError: if the first row has none of the required columns
        """
        columns = self._columns_of(tuple(names))
        if isinstance(columns, str):
            self.reject(number, columns)
            return
        texts, unreadable = dict.fromkeys(KNOWN, ""), []
        for name, position in columns.position.items():
            try:
                texts[name] = column_text(values[position])
            except NotTextError as error:
                unreadable.append(f"{name} {error}")
        if columns.removed is not None:
            removed = label_text(values[columns.removed])
            unreadable += filter(
                None, [signature_problem(texts["source_img"], texts["reference_img"], removed)]
            )
        labels = {name: label_text(values[position]) for name, position in columns.labels}
        if self._keep_blank or unreadable or any(texts.values()) or any(labels.values()):
            self._rows.append((number, *texts.values(), labels_text(labels), "; ".join(unreadable)))

    def reject(self, number: int, reason: str) -> None:
        """Add a row that cannot be read."""
        self._rows.append((number, *[""] * len(KNOWN), "", reason))

    def take(self) -> Rows:
        """Return the rows, and forget them."""
        rows, self._rows = self._rows, []
        (
            numbers,
            source,
            reference,
            pair_id,
            consent,
            source_key,
            reference_key,
            expires,
            labels,
            unreadable,
        ) = (list(column) for column in zip(*rows, strict=True))
        return Rows(
            numbers,
            source,
            reference,
            pair_id,
            consent,
            [],
            source_key,
            reference_key,
            labels,
            unreadable,
            expires,
        )

    def _columns_of(self, names: tuple[str, ...]) -> Columns | str:
        """Return the columns of a row's names, or what is wrong with them."""
        found = self._columns.get(names)
        if found is None:
            if names and not self._checked:
                self._check_first(names)
            try:
                found = match_columns(names, self._wanted.names)
            except ManifestError as error:
                found = str(error)
            if len(self._columns) >= _REMEMBERED:
                self._columns.clear()
            self._columns[names] = found
        return found

    def _check_first(self, names: tuple[str, ...]) -> None:
        """Refuse a file whose first row has no column of a manifest: it is something else, or needs ``columns``."""
        self._checked = True
        try:
            position = match_columns(names, self._wanted.names).position
        except ManifestError:
            return
        if not position.keys() & set(self._wanted.required or REQUIRED):
            find_columns(names, self._source.location, quote=not self._source.from_web, wanted=self._wanted)
