# SPDX-License-Identifier: Apache-2.0
"""Combine every face with every target: N source images and M reference images make N x M pairs."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..exceptions import ErrorCode, ManifestError
from ..url_identity import identity_of
from .columns import ColumnNames, Wanted
from .labels import labels_text, read_labels
from .model import Rows
from .pair_ids import MAX_PAIR_ID_LENGTH, pair_id_problem
from .urls import url_problem

if TYPE_CHECKING:
    from .model import Row
    from .source import Source
    from .validate import RowChecker

ReadFile = Callable[["Source", Wanted], Generator[Rows]]
#: Most pictures of one side, which are held in memory.
MAX_SIDE = 100_000
#: Most pairs of one matrix: a list too long by mistake must not become a million paid swaps.
MAX_PAIRS = 1_000_000
CHUNK_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class Picture:
    """One face or target, with what its row says about it."""

    url: str
    key: str
    name: str
    consent: str
    labels: str
    expires: str


@dataclass(frozen=True, slots=True)
class Side:
    """Which column of a file gives the pictures, and what they are called in messages."""

    column: str
    key: str
    called: str


_FACES = Side("source_img", "source_key", "face")
_TARGETS = Side("reference_img", "reference_key", "target")


def combine(
    faces: Source,
    targets: Source | None,
    names: ColumnNames | None,
    limit: int | None,
    read_file: ReadFile,
    checker: RowChecker,
) -> Generator[Rows]:
    """
    Yield every face with every target, face by face, numbered from 1.

    A picture that cannot be used is one rejected row, with the number of its row in its file, and is combined with
    nothing. One that is listed twice counts once.

    :param faces: the file with the source images
    :param targets: the file with the reference images; ``None`` if they are in the same one, in which the two columns
        are lists of their own and may differ in length
    :param names: what the user says about the columns
    :param limit: the most pairs wanted
    :param read_file: reads a file of any format
    :param checker: records what cannot be used
    :raises ManifestError: if a side has no picture, or there are too many
    """
    if targets is None:
        both = Wanted(names, (_FACES.column, _TARGETS.column), own_files=False)
        sides = _pictures(read_file(faces, both), faces, (_FACES, _TARGETS), checker)
    else:
        sides = [
            _pictures(
                read_file(file, Wanted(_names_of(names, side), (side.column,), own_files=False)),
                file,
                (side,),
                checker,
            )[0]
            for file, side in ((faces, _FACES), (targets, _TARGETS))
        ]
    for side, pictures in zip((_FACES, _TARGETS), sides, strict=True):
        if not pictures:
            raise ManifestError(
                f"the matrix of manifest {faces.location} has no {side.called} that can be used"
            )
    count = len(sides[0]) * len(sides[1])
    if count > MAX_PAIRS and not (limit and limit <= MAX_PAIRS):
        raise ManifestError(
            f"the matrix of manifest {faces.location} has {len(sides[0])} faces x {len(sides[1])} targets = {count} "
            f"pairs, more than {MAX_PAIRS}: split it, or set limit"
        )
    yield from _chunks(sides[0], sides[1])


def _names_of(names: ColumnNames | None, side: Side) -> ColumnNames | None:
    """Return what the user says about the columns of one of two files."""
    other = {_FACES.column, _FACES.key, _TARGETS.column, _TARGETS.key} - {side.column, side.key}
    return {known: name for known, name in (names or {}).items() if known not in other} or None


def _pictures(
    chunks: Generator[Rows], file: Source, sides: tuple[Side, ...], checker: RowChecker
) -> list[list[Picture]]:
    found: list[list[Picture]] = [[] for _ in sides]
    seen: list[dict[str, int]] = [{} for _ in sides]
    for rows in chunks:
        for row in rows:
            if rows.damaged or _refused(row, sides, checker):
                continue
            for side, pictures, first in zip(sides, found, seen, strict=True):
                _add(row, side, pictures, first, checker)
                if len(pictures) > MAX_SIDE:
                    raise ManifestError(
                        f"manifest {file.location} has more than {MAX_SIDE} {side.called}s: split it"
                    )
    return found


def _refused(row: Row, sides: tuple[Side, ...], checker: RowChecker) -> bool:
    """Record a row that cannot be used at all."""
    _, source, reference, pair_id, _, overflow, _, _, _, unreadable, _ = row
    if unreadable or overflow:
        return checker.reject(row)
    urls = {_FACES.column: source, _TARGETS.column: reference}
    if not any(urls[side.column] for side in sides):
        column = sides[0].column
        return checker.reject(
            row, (column, ErrorCode.MISSING_VALUE, f"{' and '.join(s.column for s in sides)} is blank")
        )
    if found := pair_id_problem(pair_id):
        return checker.reject(row, ("pair_id", found[0], f"pair_id {found[1]}"))
    return False


def _add(row: Row, side: Side, pictures: list[Picture], seen: dict[str, int], checker: RowChecker) -> None:
    number, source, reference, pair_id, consent, _, source_key, reference_key, labels, _, expires = row
    url, key = (source, source_key) if side is _FACES else (reference, reference_key)
    if not url:
        return
    if found := url_problem(url):
        checker.reject(row, (side.column, found[0], f"{side.column} {found[1]}"))
        return
    first = seen.setdefault(identity_of(url, key or None), number)
    if first != number:
        clause = f"the same {side.called} as row {first}"
        checker.reject(row, (side.column, ErrorCode.DUPLICATE_PAIR_ID, clause))
        return
    pictures.append(Picture(url, key, pair_id, consent, labels, expires))


def _chunks(faces: list[Picture], targets: list[Picture]) -> Generator[Rows]:
    chunk: list[tuple[int, ...] | tuple[object, ...]] = []
    for number, row in enumerate(_rows(faces, targets), start=1):
        chunk.append((number, *row))
        if len(chunk) == CHUNK_ROWS:
            yield _as_rows(chunk)
            chunk = []
    if chunk:
        yield _as_rows(chunk)


def _rows(faces: list[Picture], targets: list[Picture]) -> Iterator[tuple[str, ...]]:
    for face in faces:
        for target in targets:
            name = f"{face.name}__{target.name}" if face.name and target.name else ""
            yield (
                face.url,
                target.url,
                name if len(name) <= MAX_PAIR_ID_LENGTH else "",
                face.consent,
                "",
                face.key,
                target.key,
                _both_labels(face.labels, target.labels),
                "",
                face.expires,
            )


def _as_rows(chunk: list[tuple[int, ...] | tuple[object, ...]]) -> Rows:
    return Rows(*(list(column) for column in zip(*chunk, strict=True)))  # type: ignore[arg-type]


def _both_labels(face: str, target: str) -> str:
    """Return the labels of both; where a name is in both with different values, the target's gets a prefix."""
    if face == target or not target:
        return face
    if not face:
        return target
    of_face = read_labels(face)
    merged = dict(of_face)
    for name, value in read_labels(target).items():
        merged[name if of_face.get(name, value) == value else f"reference {name}"] = value
    return labels_text(merged)
