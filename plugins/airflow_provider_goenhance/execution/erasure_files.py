# SPDX-License-Identifier: Apache-2.0
"""Which files belong to a row, and which files of its run name it."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from html import escape
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from ..pictures.names import file_name_for, folder_for
from ..pictures.removal import delete_file, files_of_tasks, storage_of
from ..pictures.storage import folder_and_name, keep_bytes, picture_exists, read_picture
from ..redaction import unsigned_link
from ..results.erasure_transitions import THUMBNAILS
from ..results.ledger import RunKey
from ..results.swap import pair_fingerprint
from .kept_pictures import STORAGE_THREADS

if TYPE_CHECKING:
    from ..results.swap import Swap


STAGED = "staged copy"


@dataclass(frozen=True, slots=True)
class KeptFile:
    """
    A file in storage.

    :param kind: what it is, for people
    """

    kind: str
    uri: str


def files_of(row: Swap) -> list[KeptFile]:
    """Return the files that a row may have in storage: pictures, sidecars, thumbnails, staged copies."""
    pictures = [*([row.result_uri] if row.result_uri else []), *row.additional_result_uris]
    named = [KeptFile("picture", uri) for uri in (*pictures, *_former_pictures(row))]
    named += [KeptFile("sidecar", f"{file.uri}.json") for file in named]
    named += [KeptFile("thumbnail", uri) for name in THUMBNAILS if (uri := getattr(row, name))]
    named += [KeptFile(STAGED, uri) for uri in row.staged_uris]
    return list(dict.fromkeys(named))


def still_there(files: Iterable[KeptFile], conn_id: str | None = None) -> set[KeptFile]:
    """Return those of some files that are in storage."""
    return _those(files, picture_exists, conn_id)


def delete_files(files: Iterable[KeptFile], conn_id: str | None = None) -> set[KeptFile]:
    """Delete files, and return those that were there."""
    return _those(files, delete_file, conn_id)


def _those(
    files: Iterable[KeptFile], test: Callable[[str, str | None], bool], conn_id: str | None
) -> set[KeptFile]:
    # Two rows may have the same file.
    several = list({file.uri: file for file in files}.values())

    def is_one(file: KeptFile) -> bool:
        # Staging is a storage of its own, whose addresses name their connection.
        return test(file.uri, None if file.kind == STAGED else conn_id)

    with ThreadPoolExecutor(STORAGE_THREADS) as pool:
        return {file for file, yes in zip(several, pool.map(is_one, several), strict=True) if yes}


def _former_pictures(row: Swap) -> list[str]:
    """Return where pictures of earlier jobs of a row may be: a job that followed them was kept apart from them."""
    if not (row.former_uuids and row.result_uri) or row.reused_from:
        return []
    folder, name = folder_and_name(row.result_uri)
    suffix = PurePosixPath(name).suffix
    jobs = [*row.former_uuids.split(), row.img_uuid]
    names = [file_name_for(row.pair_id, suffix)]
    names += [file_name_for(row.pair_id, suffix, apart=job) for job in jobs if job]
    prefix = row.result_uri.removesuffix(name)
    return [f"{prefix}{other}" for other in names if other != name and folder]


@dataclass(slots=True)
class RunNames:
    """
    The rows of one run by which its files are searched.

    :param whole: whether all of the run is meant, and so are its files
    """

    whole: bool = False
    pair_ids: set[str] = field(default_factory=set)
    fingerprints: set[str] = field(default_factory=set)
    jobs: set[str] = field(default_factory=set)
    storages: set[str] = field(default_factory=set)

    def add(self, row: Swap) -> None:
        """Search for a row."""
        for uri in (row.result_uri, *row.additional_result_uris):
            if uri and (storage := storage_of(uri, row.run_id)):
                self.storages.add(storage)
        if self.whole:
            return
        # A rejected row may have none, and a file has its links without what looks like a signature.
        self.pair_ids.update(filter(None, [row.pair_id]))
        unsigned = pair_fingerprint(
            unsigned_link(row.source_img),
            unsigned_link(row.reference_img),
            source_key=row.source_key,
            reference_key=row.reference_key,
        )
        self.fingerprints.update((row.pair_fingerprint, unsigned))
        if row.img_uuid:
            self.jobs.add(row.img_uuid)


class RunFiles:
    """
    Finds the contact sheets, ``failures.csv`` and ``rejected.csv`` that name rows, and takes the rows out of them.

    :param storages: where runs may have kept files, beside where the rows say
    """

    def __init__(
        self, storages: Iterable[str], conn_id: str | None = None, *, whole: RunKey | None = None
    ) -> None:
        self._storages = set(storages)
        self._conn_id = conn_id
        self._whole = whole
        self._runs: dict[RunKey, RunNames] = defaultdict(RunNames)

    def add(self, rows: Sequence[Swap]) -> None:
        """Search for these rows as well."""
        for row in rows:
            key = RunKey(row.dag_id, row.run_id)
            names = self._runs[key]
            names.whole = key == self._whole
            names.add(row)

    @property
    def runs(self) -> int:
        """How many runs the rows are of."""
        return len(self._runs)

    def find(self) -> Iterator[tuple[RunKey, KeptFile]]:
        """Yield the files that name a row."""
        everywhere = self._storages.union(*(names.storages for names in self._runs.values()))
        for key, names in self._runs.items():
            for uri in self._candidates(key, everywhere):
                kind = "contact sheet" if uri.endswith(".html") else uri.rpartition("/")[2]
                if names.whole or self._named_in(uri, names):
                    yield key, KeptFile(kind, uri)

    def clean(self, key: RunKey, file: KeptFile) -> str:
        """Delete a file, or take the rows out of it; return which of the two was done."""
        names = self._runs[key]
        if names.whole or file.kind == "contact sheet":
            delete_file(file.uri, self._conn_id)
            return "deleted"
        header, *rows = _records(read_picture(file.uri, self._conn_id))
        kept = [row for row in rows if not _is_named(dict(zip(header, row, strict=False)), names)]
        if not kept:
            delete_file(file.uri, self._conn_id)
            return "deleted"
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([header, *kept])
        keep_bytes(text.getvalue().encode(), *folder_and_name(file.uri), conn_id=self._conn_id)
        return "rewritten"

    def _candidates(self, key: RunKey, storages: Iterable[str]) -> Iterator[str]:
        # Dags with runs of one name share a folder; the names of their files begin with the Dag.
        start = folder_for(f"{key.dag_id}.x").removesuffix("x")
        for storage in sorted(storages):
            for name, uri in files_of_tasks(storage, key.run_id, self._conn_id):
                if name.startswith(start) or not start.endswith("."):
                    yield uri

    def _named_in(self, uri: str, names: RunNames) -> bool:
        data = read_picture(uri, self._conn_id)
        if uri.endswith(".html"):
            page = data.decode("utf-8", "replace")
            return any(escape(text) in page for text in (*names.jobs, *names.pair_ids))
        header, *rows = _records(data) or [[]]
        return any(_is_named(dict(zip(header, row, strict=False)), names) for row in rows)


def _records(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode("utf-8-sig", "replace"), newline="")))


def _is_named(row: dict[str, str], names: RunNames) -> bool:
    """Return whether a row of a CSV file is one of those searched for."""
    if row.get("pair_id") in names.pair_ids:
        return True
    fingerprint = pair_fingerprint(
        row.get("source_img", ""),
        row.get("reference_img", ""),
        source_key=row.get("source_key") or None,
        reference_key=row.get("reference_key") or None,
    )
    return fingerprint in names.fingerprints
