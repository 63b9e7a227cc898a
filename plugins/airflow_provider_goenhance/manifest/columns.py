# SPDX-License-Identifier: Apache-2.0
"""Find the manifest's columns among the names in a file, and suggest how to correct one that lacks them."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from ..exceptions import ManifestError
from .labels import label_names
from .own_files import OWN_COLUMNS, SIGNATURE_REMOVED, is_own_file, label_of

log = logging.getLogger(__name__)

REQUIRED = ("source_img", "reference_img")
KNOWN = (*REQUIRED, "pair_id", "consent_ref", "source_key", "reference_key", "consent_expires")
#: Which column of the file is which of the manifest's, as the user says: ``{"source_img": "Portrait"}``.
ColumnNames = Mapping[str, str]

#: Other names that these columns may have; docs/manifest.md lists them. Case, blanks and hyphens do not matter.
ALIASES: Mapping[str, tuple[str, ...]] = {
    "source_img": (
        "source", "src", "source_image", "source_url", "source_img_url", "source_image_url", "src_img", "src_image",
        "src_url", "face", "face_img", "face_image", "face_url", "face_img_url", "face_image_url",
    ),
    "reference_img": (
        "reference", "ref", "reference_image", "reference_url", "reference_img_url", "reference_image_url",
        "ref_img", "ref_image", "ref_url", "target", "target_img", "target_image", "target_url", "target_img_url",
        "target_image_url", "scene", "scene_img", "scene_image", "scene_url",
    ),
    "pair_id": ("id", "pair", "pairid"),
    "consent_ref": ("consent", "consent_id", "consent_reference"),
    "source_key": ("src_key", "face_key"),
    "reference_key": ("ref_key", "target_key", "scene_key"),
    "consent_expires": (
        "consent_expiry", "consent_until", "consent_valid_until", "consent_expires_at", "consent_expires_on",
        "consent_end",
    ),
}  # fmt: skip
_MEANT = {alias: name for name, aliases in ALIASES.items() for alias in (name, *aliases)}
_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "vertical bars", ",": "commas"}
_MOST_NAMES_SHOWN = 12
# Byte order marks and zero-width characters, which spreadsheets and copied text leave around a name.
_INVISIBLE = "\ufeff\u200b\u200c\u200d\u200e\u200f\u2060"
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_BETWEEN_WORDS = re.compile(r"[\s_-]+")


@dataclass(frozen=True, slots=True)
class Wanted:
    """
    How the columns of a file are found.

    :param names: what the user says about them
    :param required: those that must be there
    :param own_files: whether the file may be one of :mod:`.own_files`
    """

    names: ColumnNames | None = None
    required: tuple[str, ...] = REQUIRED
    own_files: bool = True


ANY_NAMES = Wanted()


@dataclass(frozen=True, slots=True)
class Columns:
    """
    Positions of the manifest's columns in the file.

    :param header: all names, trimmed
    :param position: index of each known column that the file has
    :param labels: name and index of each other column
    :param removed: index of the column that names removed signatures, in one of :mod:`.own_files`
    """

    header: list[str]
    position: dict[str, int]
    labels: tuple[tuple[str, int], ...] = ()
    removed: int | None = None

    @property
    def width(self) -> int:
        """Number of values in a valid row."""
        return len(self.header)


def check_column_names(columns: ColumnNames | None) -> None:
    """
    Check what a user says about the columns.

    :raises ValueError: if it names no column of a manifest, or one column of the file twice
    """
    for name, column in (columns or {}).items():
        if name not in KNOWN:
            raise ValueError(
                f"columns must map {', '.join(KNOWN)} to the names in the file; got the key {name!r}."
            )
        if not isinstance(column, str) or not column.strip():
            raise ValueError(f"columns[{name!r}] must be the name of a column in the file; got {column!r}.")
    twice = [name for name, count in Counter((columns or {}).values()).items() if count > 1]
    if twice:
        raise ValueError(f"columns must name each column of the file once; {twice[0]!r} is named twice.")


def match_columns(header: Sequence[str], columns: ColumnNames | None = None) -> Columns:
    """
    Find the known columns by the user's names, their own names, or their other names, in this order.

    A file of :mod:`.own_files` has the known columns by their own names, whatever the user's manifests call them.

    :raises ManifestError: without location, if it is ambiguous which column is meant
    """
    names = [clean_name(name) for name in header]
    forms = [_form(name) for name in names]
    position: dict[str, int] = {}
    free = set(range(len(names)))
    own = is_own_file(names)
    asked = {} if own else columns or {}
    for known in (*asked, *(name for name in KNOWN if name not in asked)):
        wanted = clean_name(asked.get(known, known))
        found = _places(names, free, wanted) or _places(forms, free, _form(wanted))
        if not found and known not in asked:
            found = [place for place in sorted(free) if _MEANT.get(forms[place]) == known]
        _take(known, found, names, position, free)
    removed = names.index(SIGNATURE_REMOVED) if own else None
    return Columns(names, position, _labels(names, sorted(free), own=own), removed)


def _labels(names: list[str], places: list[int], *, own: bool) -> tuple[tuple[str, int], ...]:
    """Return name and place of each column that is a label."""
    if own:
        places = [place for place in places if names[place] not in OWN_COLUMNS]
        names = [label_of(name) for name in names]
    labels = label_names([names[place] or f"column {place + 1}" for place in places])
    return tuple(zip(labels, places, strict=True))


def find_columns(
    header: Sequence[str],
    location: str,
    *,
    quote: bool = True,
    wanted: Wanted = ANY_NAMES,
    row: int = 1,
) -> Columns:
    """
    Find the columns of a manifest in its header row; the others are labels.

    :param header: the values of the header row
    :param location: the file's name in messages
    :param quote: whether a message may quote a header row that has nothing of a manifest's
    :param wanted: how the columns are found
    :param row: the number of the header row
    :raises ManifestError: if a required column is missing or a known one is ambiguous
    """
    where = f"manifest {location}, row {row}"
    try:
        found = match_columns(header, wanted.names)
    except ManifestError as error:
        raise ManifestError(f"{where}: {error}") from None
    if found.removed is not None and not wanted.own_files:
        raise ManifestError(
            f"{where}: this is a file of pairs that a run wrote, and a matrix would combine each face with each "
            "target: read it with mode='pairs'"
        )
    asked = () if found.removed is not None else wanted.names or ()
    missing = [name for name in dict.fromkeys((*wanted.required, *asked)) if name not in found.position]
    if missing:
        raise ManifestError(_missing_message(found.header, missing, where, wanted, quote=quote))
    if found.labels:
        log.info(
            "Manifest %s: the columns %s travel as labels", location, _listed([n for n, _ in found.labels])
        )
    return found


def names_found(names: Sequence[str], columns: ColumnNames | None) -> int:
    """Return how many known columns are among these names."""
    mapped = {_form(name) for name in (columns or {}).values()}
    forms = [_form(name) for name in names]
    return len({_MEANT.get(form, form) for form in forms if form in _MEANT or form in mapped})


def clean_name(name: str) -> str:
    """Return a column's name without blanks and invisible characters around it."""
    return name.strip().strip(_INVISIBLE).strip()


def _form(name: str) -> str:
    """Return a name as it is compared: in lower case, with ``_`` between its words."""
    return _BETWEEN_WORDS.sub("_", _CAMEL.sub("_", clean_name(name))).strip("_").lower()


def _places(names: Sequence[str], free: set[int], wanted: str) -> list[int]:
    return [place for place in sorted(free) if names[place] == wanted]


def _take(known: str, found: list[int], names: list[str], position: dict[str, int], free: set[int]) -> None:
    if len(found) > 1:
        first, second = names[found[0]], names[found[1]]
        where = " and ".join(str(place + 1) for place in found)
        if first == second:
            raise ManifestError(f"the column {first} is duplicated (columns {where}): remove or rename one")
        raise ManifestError(
            f"the columns {_listed([names[place] for place in found])} (columns {where}) could each be {known}: "
            f'rename one, or say which it is with columns={{"{known}": ...}}'
        )
    if found:
        position[known] = found[0]
        free.discard(found[0])


def _missing_message(names: list[str], missing: list[str], where: str, wanted: Wanted, *, quote: bool) -> str:
    what = "column" if len(missing) == 1 else "columns"
    called = [(wanted.names or {}).get(name, name) for name in missing]
    start = f"{where}: the {what} {' and '.join(called)}"
    if any(name.lower().startswith(("http://", "https://")) for name in names):
        return (
            f"{start} cannot be found, as row 1 holds data: put a header row {','.join(wanted.required)} (in the order "
            "of your columns) above it"
        )
    start = f"{start} {'is' if len(missing) == 1 else 'are'} missing"
    hint = delimiter_hint(names) or _rename_hint(names, missing)
    if not quote and not hint and set(missing) >= set(wanted.required):
        return f"{start}, and row 1 has no similar names. Is this the address of a manifest?"
    return f"{start}; found: {_listed(names)}{hint}"


def delimiter_hint(names: list[str]) -> str:
    """Return what to do about a header row that is one value; empty if that is not the case."""
    if has_required(names):
        return ""
    for delimiter, called in _DELIMITERS.items():
        if any(has_required([part.strip('"') for part in name.split(delimiter)]) for name in names):
            if delimiter == ",":
                return ". Row 1 is one quoted value: remove the quotes around whole rows"
            return f". The columns are separated by {called}, and others within row 1: use one delimiter throughout"
    return ""


def has_required(names: Sequence[str]) -> bool:
    """Return whether the required columns are among these names."""
    return {_MEANT.get(_form(name)) for name in names}.issuperset(REQUIRED)


def _rename_hint(names: list[str], missing: list[str]) -> str:
    free = {_form(name): name for name in names if _form(name) not in _MEANT}
    hints = []
    for name in missing:
        likely = get_close_matches(name, free, n=1, cutoff=0.7)
        if likely:
            hints.append(f"{_listed([free.pop(likely[0])])} -> {name}")
    return f". Rename {', '.join(hints)}?" if hints else ""


def _listed(names: Sequence[str]) -> str:
    # The header may be the start of a binary file: show it escaped and cut.
    shown = [
        ascii(name[:40]) if not name.isprintable() else name[:40] or "(no name)"
        for name in names[:_MOST_NAMES_SHOWN]
    ]
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return ", ".join(shown) + more
