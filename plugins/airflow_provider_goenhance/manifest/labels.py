# SPDX-License-Identifier: Apache-2.0
"""The columns of a manifest that are not its own: they travel with the row as the JSON text of an object."""

from __future__ import annotations

import json
from collections.abc import Mapping
from json.encoder import encode_basestring

from ..redaction import excerpt, label_value

#: Limits, so that a row of the results table stays small: columns, characters of a name, of a value, of the text.
MAX_LABELS = 32
LONGEST_NAME = 64
LONGEST_VALUE = 500
LONGEST_TEXT = 4000
#: How much of a row's labels a message and the contact sheet show, characters.
LONGEST_LINE = 120


def labels_text(values: Mapping[str, str]) -> str:
    """
    Return labels as JSON text, in the order of the columns; empty if there are none.

    Blank values are left out, long ones cut. Labels beyond the limits are left out, those of later columns first.
    """
    kept: dict[str, str] = {}
    for name, value in values.items():
        if value and len(kept) < MAX_LABELS:
            kept[_clean(name, LONGEST_NAME)] = _clean(label_value(value), LONGEST_VALUE)
    if not kept:
        return ""
    # Much faster than an encoder for any value; this is done for each row.
    parts = [f"{encode_basestring(name)}: {encode_basestring(value)}" for name, value in kept.items()]
    text = f"{{{', '.join(parts)}}}"
    while len(text) > LONGEST_TEXT:
        parts.pop()
        text = f"{{{', '.join(parts)}}}"
    return text


def read_labels(text: str | None) -> dict[str, str]:
    """Return the labels of a row by name; none for a text that cannot be read."""
    try:
        read = json.loads(text or "{}")
    except ValueError:
        return {}
    return {str(name): str(value) for name, value in read.items()} if isinstance(read, dict) else {}


def labels_line(text: str | None) -> str:
    """Return the labels of a row for people, on one printable line, cut: ``shoot: night 7, client: Acme``."""
    return excerpt(", ".join(f"{name}: {value}" for name, value in read_labels(text).items()), LONGEST_LINE)


def label_names(names: list[str]) -> list[str]:
    """Return a distinct name for each label column of a header."""
    taken: set[str] = set()
    result = []
    for name in names:
        base = name[:LONGEST_NAME]
        unique, count = base, 1
        while unique in taken:
            count += 1
            unique = f"{base[: LONGEST_NAME - 8]} {count}"
        taken.add(unique)
        result.append(unique)
    return result


def _clean(text: str, longest: int) -> str:
    """Return a text that every database stores, cut."""
    if not text.isascii() or "\0" in text:
        text = text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    return text if len(text) <= longest else text[: longest - 3] + "..."
