# SPDX-License-Identifier: Apache-2.0
"""Find the manifest's columns in a header row, and suggest how to correct one that lacks them."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from difflib import get_close_matches

from ..exceptions import ManifestError

log = logging.getLogger(__name__)

REQUIRED = ("source_img", "reference_img")
KNOWN = (*REQUIRED, "pair_id", "consent_ref", "source_key", "reference_key")

# Common other names of these columns that are too different to be found by similarity.
_OTHER_NAMES = {
    "source": "source_img",
    "src": "source_img",
    "src_img": "source_img",
    "face": "source_img",
    "face_img": "source_img",
    "reference": "reference_img",
    "ref": "reference_img",
    "ref_img": "reference_img",
    "target": "reference_img",
    "target_img": "reference_img",
    "target_image": "reference_img",
    "id": "pair_id",
    "consent": "consent_ref",
}
_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_MOST_NAMES_SHOWN = 12
# Byte order marks and zero-width characters, which spreadsheets and copied text leave around a name.
_INVISIBLE = "\ufeff\u200b\u200c\u200d\u200e\u200f\u2060"


@dataclass(frozen=True, slots=True)
class Columns:
    """
    Positions of the manifest's columns in the file.

    :param header: all names of the header row, trimmed
    :param position: index of each known column that the file has
    """

    header: list[str]
    position: dict[str, int]

    @property
    def width(self) -> int:
        """Number of values in a valid row."""
        return len(self.header)


def find_columns(header: list[str], location: str, *, quote: bool = True) -> Columns:
    """
    Find the columns of a manifest in its header row; others are ignored, and logged.

    :param header: the values of the header row
    :param location: the file's name in messages
    :param quote: whether a message may quote a header row that has nothing of a manifest's
    :raises ManifestError: if a required column is missing or a known one is duplicated
    """
    names = [name.strip().strip(_INVISIBLE).strip() for name in header]
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise ManifestError(_missing_message(names, missing, location, quote=quote))
    _refuse_duplicates(names, location)
    extra = [name or "(no name)" for name in names if name not in KNOWN]
    if extra:
        log.info("Manifest %s: ignoring the columns %s", location, _listed(extra))
    return Columns(names, {name: names.index(name) for name in KNOWN if name in names})


def _refuse_duplicates(names: list[str], location: str) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1 and name in KNOWN]
    if twice:
        where = " and ".join(str(i) for i, name in enumerate(names, start=1) if name == twice[0])
        raise ManifestError(
            f"manifest {location}, row 1: the column {twice[0]} is duplicated (columns {where}): "
            "remove or rename one"
        )


def _missing_message(names: list[str], missing: list[str], location: str, *, quote: bool) -> str:
    what = "column" if len(missing) == 1 else "columns"
    start = f"manifest {location}, row 1: the {what} {' and '.join(missing)}"
    if any(name.lower().startswith(("http://", "https://")) for name in names):
        return (
            f"{start} cannot be found, as row 1 holds data: put a header row {','.join(REQUIRED)} (in the order "
            "of your columns) above it"
        )
    start = f"{start} {'is' if len(missing) == 1 else 'are'} missing"
    hint = delimiter_hint(names) or _rename_hint(names, missing)
    if not quote and not hint and len(missing) == len(REQUIRED):
        return f"{start}, and row 1 has no similar names. Is this the address of a manifest?"
    return f"{start}; found: {_listed(names)}{hint}"


def delimiter_hint(names: list[str]) -> str:
    """Return what to do about a header row whose names are not separated by commas; empty if that is not the case."""
    if set(names) >= set(REQUIRED):
        return ""
    if names[0].lower().startswith("sep="):
        return ". Delete this first row and separate the columns by commas"
    for delimiter, called in _DELIMITERS.items():
        pieces = {piece.strip().strip('"') for name in names for piece in name.split(delimiter)}
        if pieces.issuperset(REQUIRED):
            return f". The columns are separated by {called}: save the file with commas"
    if set(names[0].replace('"', "").split(",")) >= set(REQUIRED):
        return ". Row 1 is one quoted value: remove the quotes around whole rows"
    return ""


def _rename_hint(names: list[str], missing: list[str]) -> str:
    free = {name.lower().replace(" ", "_").replace("-", "_"): name for name in names if name not in KNOWN}
    hints = []
    for name in missing:
        called = [key for key, meant in _OTHER_NAMES.items() if meant == name and key in free]
        likely = (
            [key for key in free if key == name] or called or get_close_matches(name, free, n=1, cutoff=0.7)
        )
        if likely:
            hints.append(f"{_listed([free.pop(likely[0])])} -> {name}")
    return f". Rename {', '.join(hints)}?" if hints else ""


def _listed(names: list[str]) -> str:
    # The header may be the start of a binary file: show it escaped and cut.
    shown = [ascii(name[:40]) if not name.isprintable() else name[:40] for name in names[:_MOST_NAMES_SHOWN]]
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return ", ".join(shown) + more
