# SPDX-License-Identifier: Apache-2.0
"""List the manifests in a folder or below a prefix, and tell which are new or changed."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

from .formats import ending_of

log = logging.getLogger(__name__)

#: Files that are remembered; beyond that, those that are there no longer are forgotten first.
MAX_SEEN = 50_000
#: Digits of a token: with 50,000 files, two of them have the same one with a probability of 1 in 200,000.
TOKEN_DIGITS = 12
# What a storage's client calls the version of an object; the first one that is there counts.
_VERSIONS = ("ETag", "etag", "generation", "checksum", "md5Hash", "content_md5", "md5")
_TIMES = ("LastModified", "last_modified", "updated", "mtime", "modified", "created")
_UNFINISHED = frozenset({".part", ".partial", ".tmp", ".temp", ".crdownload", ".filepart", ".swp"})


@dataclass(frozen=True, slots=True)
class Listed:
    """
    A file in a listing.

    :param location: as a manifest's location, without a connection
    :param version: changes with the content
    :param size: bytes
    :param whole: whether the storage shows it only when it is completely written
    """

    location: str
    version: str
    size: int
    whole: bool

    @property
    def token(self) -> str:
        """A short text that stands for this file in this version."""
        return hashlib.sha256(f"{self.location}\0{self.version}".encode("utf-8", "replace")).hexdigest()[
            :TOKEN_DIGITS
        ]


def list_files(path: str, conn_id: str | None = None) -> list[Listed]:
    """
    Return the files below a folder or prefix, by location; none if it does not exist (yet).

    It blocks: in an event loop, run it in a thread.

    :param path: local folder, or URL of any storage that Airflow's object storage knows
    :param conn_id: Airflow connection of the storage
    """
    local = _local_folder(path)
    files = _local_files(local) if local is not None else _stored_files(path, conn_id)
    return sorted(files, key=lambda file: file.location)


def is_wanted(location: str, pattern: str | None, endings: Iterable[str]) -> bool:
    """
    Return whether a file may be a manifest: not hidden, not unfinished, and of the wanted name.

    :param pattern: pattern of the file's name, such as ``*.csv``; ``None`` for every supported ending
    :param endings: the supported endings
    """
    name = PurePosixPath(location).name
    if name.startswith((".", "_", "~$")) or PurePosixPath(name.lower()).suffix in _UNFINISHED:
        return False
    if pattern is not None:
        return fnmatchcase(name, pattern)
    return ending_of(name) in set(endings)


class Arrivals:
    """
    Tells which files of each listing are new or changed.

    A file whose storage shows it while it is being written counts only when two listings in a row show it unchanged.

    :param seen: tokens of the files that have been reported; ``None`` if nothing is remembered
    :param report_existing: whether the files of the first listing are reported if nothing is remembered
    """

    def __init__(self, seen: Iterable[str] | None, *, report_existing: bool) -> None:
        self._seen = dict.fromkeys(seen or ())
        self._first = seen is None and not report_existing
        self._unsettled: set[str] = set()
        #: Whether the memory differs from what was passed or taken last.
        self.changed = seen is None

    def update(self, files: Iterable[Listed]) -> Iterator[Listed]:
        """Yield the files to report, each of which is remembered when the next one is asked for."""
        current = {file.token: file for file in files}
        if self._first:
            self._first = False
            self._remember(current, current)
            if current:
                log.info("%d files are there already, and count as known.", len(current))
            return
        waiting, self._unsettled = self._unsettled, set()
        for token, file in current.items():
            if token in self._seen:
                continue
            if file.whole or token in waiting:
                yield file
                self._remember([token], current)
            else:
                self._unsettled.add(token)

    def tokens(self) -> list[str]:
        """Return the tokens of all files reported, the oldest first."""
        self.changed = False
        return list(self._seen)

    def _remember(self, tokens: Iterable[str], current: Mapping[str, Listed]) -> None:
        self._seen |= dict.fromkeys(tokens)
        self.changed = True
        if len(self._seen) > MAX_SEEN:
            gone = [token for token in self._seen if token not in current]
            for token in gone[: len(self._seen) - MAX_SEEN]:
                del self._seen[token]


def _local_folder(path: str) -> Path | None:
    if path.lower().startswith("file://"):
        return Path(path[len("file://") :])
    return None if "://" in path else Path(path).expanduser()


def _local_files(folder: Path) -> Iterator[Listed]:
    for parent, _, names in os.walk(folder, onerror=_raise_unless_missing):
        for name in names:
            path = Path(parent, name)
            try:
                state = path.stat()
            except FileNotFoundError:
                continue
            yield Listed(str(path), f"{state.st_size}-{state.st_mtime_ns}", state.st_size, whole=False)


def _raise_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _stored_files(path: str, conn_id: str | None) -> Iterator[Listed]:
    from ..compatibility import storage_path

    folder = storage_path(path, conn_id)
    fs: Any = folder.fs
    fs.invalidate_cache()  # clients remember listings for as long as they live
    try:
        found: dict[str, dict[str, Any]] = fs.find(folder.path, detail=True)
    except FileNotFoundError:
        return
    scheme = path.partition("://")[0]
    for name, info in found.items():
        if info.get("type") == "directory":
            continue
        size = int(info.get("size") or 0)
        version = next((str(info[key]) for key in _VERSIONS if info.get(key)), "")
        time = next((str(info[key]) for key in _TIMES if info.get(key)), "")
        location = f"{scheme}://{str(name).partition('://')[2] or str(name).lstrip('/')}"
        yield Listed(location, f"{size}-{version or time}", size, whole=bool(version))
