# SPDX-License-Identifier: Apache-2.0
"""Find and open a manifest in a local folder, on a web server or in an object storage."""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import stat
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import unquote

from ..exceptions import ManifestError
from ..redaction import redact_location
from .compression import compression_of, unpacked
from .faults import StorageError, cause_of
from .formats import ending_of, format_of
from .spool import new_file, opener_of
from .utf16 import as_utf8, is_utf16
from .web import download

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_BLOCK = 1 << 18  # bytes per request to a remote storage
_STORAGE_HINT = (
    ". The storage needs the Airflow provider that registers it (s3://: apache-airflow-providers-amazon[s3fs]; gs://: "
    "apache-airflow-providers-google; abfs://: apache-airflow-providers-microsoft-azure) and a connection that may "
    "read it"
)
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Source:
    """
    A manifest file that exists, on a local disk.

    :param location: its name in messages and rows, without password and signed query
    :param opener: opens it for reading bytes; may be called repeatedly
    :param suffix: the file name extension that stands for its format, in lower case; may be empty
    :param from_web: whether a web server sent it. It may be a page that the reader of a message may not see, so a
        message quotes nothing of it unless it is a manifest
    :param compression: how it is compressed, see :mod:`.compression`
    :param utf16: whether it is text in UTF-16
    :param state: returns what changes when the file is written; ``None`` for a copy of our own
    """

    location: str
    opener: Callable[[], IO[bytes]]
    suffix: str
    from_web: bool = False
    compression: str = ""
    utf16: bool = False
    state: Callable[[], object] | None = None

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """
        Open the file, unpacked and text in UTF-8, and close it afterwards.

        :raises ManifestError: if it cannot be opened or read
        :raises ManifestUnavailableError: if a later try may succeed
        """
        try:
            opened = unpacked(self.opener(), self.compression, self.location)
            with as_utf8(opened, self.location) if self.utf16 else opened as stream:
                yield stream
        except OSError as error:
            raise cause_of(error).error(self.location) from error

    def sha256(self) -> str:
        """Return the hex digest of the file's bytes, as they are stored."""
        digest = hashlib.sha256()
        try:
            with self.opener() as stream:
                while block := stream.read(_BLOCK):
                    digest.update(block)
                return digest.hexdigest()
        except OSError as error:
            raise cause_of(error).error(self.location) from error

    def detected(self) -> Source:
        """Return the source with the compression and the format that its first bytes tell."""
        found, start = self, self._start()
        if compression := compression_of(start):
            found = replace(self, compression=compression)
            start = found._start()
            if compression_of(start):
                raise ManifestError(f"manifest {self.location} is compressed twice: unpack it")
        if is_utf16(start):
            found = replace(found, utf16=True)
            start = found._start()
        return replace(found, suffix=format_of(self.suffix, start))

    def _start(self) -> bytes:
        with self.open() as stream:
            return stream.read(_BLOCK)


def find_source(location: str, conn_id: str | None = None) -> Source:
    """
    Find the file at a location.

    :param location: local path, or URI: ``file://``, ``http(s)://``, or any storage that an installed provider
        registers with Airflow's object storage (``s3://``, ``gs://``, ...)
    :param conn_id: Airflow connection for that storage; not used for local files and web addresses
    :raises ManifestError: if there is no such file, it is a folder, or it may not be read
    :raises ManifestUnavailableError: if it cannot be reached and a later try may succeed
    """
    scheme = _SCHEME.match(location)
    if scheme is None or scheme[1].lower() == "file":
        return _local_source(location).detected()
    if scheme[1].lower() in {"http", "https"}:
        return _web_source(location).detected()
    return _stored_source(location, conn_id).detected()


def _local_source(location: str) -> Source:
    path = _path_of(location)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        looked = "" if path.is_absolute() else f" (looked in {Path.cwd()})"
        raise ManifestError(f"there is no manifest {location}{looked}: check the path") from None
    except (OSError, ValueError) as error:
        raise cause_of(error).error(location) from error
    if stat.S_ISDIR(mode):
        raise ManifestError(f"manifest {location} is a folder: name the file in it")
    if not stat.S_ISREG(mode):
        # Opening a pipe or a device could block, and neither can be read twice.
        raise ManifestError(f"manifest {location} is not a regular file: copy its content to one")

    def state() -> object:
        now = path.stat()
        return now.st_size, now.st_mtime_ns

    return Source(location, lambda: path.open("rb"), ending_of(path.name), state=state)


def _path_of(location: str) -> Path:
    """Return the path of a local file. The addresses that we log of files in storage are quoted; others may not be."""
    if not location.lower().startswith("file://"):
        return Path(location).expanduser()
    text = location[len("file://") :].removeprefix("localhost")
    path, unquoted = Path(text).expanduser(), Path(unquote(text)).expanduser()
    return unquoted if unquoted.is_file() and not path.is_file() else path


def _web_source(location: str) -> Source:
    shown = redact_location(location)
    file = download(location, shown)
    return Source(shown, file.open, file.suffix, from_web=True)


def _stored_source(location: str, conn_id: str | None) -> Source:
    shown = redact_location(location)
    if shown != location:
        raise ManifestError(f"manifest {shown} carries a password: keep it in an Airflow connection instead")
    try:
        from ..compatibility import storage_path

        # A conn_id of None would override the one in the location.
        path = storage_path(location, conn_id)
        # Unlike `exists`, which calls every fault "no such file", this raises.
        is_dir = path.fs.info(path.path).get("type") == "directory"
    except Exception as error:  # every storage's client library has its own exceptions
        cause = cause_of(error)
        if isinstance(error, FileNotFoundError) and not cause.passes:
            raise ManifestError(f"there is no manifest {shown}: check bucket, key and connection") from error
        raise cause.error(shown, what="cannot be reached", hint=_STORAGE_HINT) from error
    if is_dir:
        raise ManifestError(f"manifest {shown} is a folder: name the file in it")
    # A copy: it is read more than once, some formats are read from their end, and the object may be replaced meanwhile.
    file = new_file()
    try:
        with _remote_opener(lambda: path.fs.open(path.path, "rb"))() as stream:
            shutil.copyfileobj(stream, file, _BLOCK)
    except OSError as error:
        raise cause_of(error).error(shown) from error
    return Source(shown, opener_of(file), ending_of(location))


class _RemoteFile(io.RawIOBase):
    """A file in a remote storage; every exception of the client library becomes an ``OSError``."""

    def __init__(self, opener: Callable[[], Any]) -> None:
        # Python 3.13 closes a file whose opening has failed, too.
        self._inner: Any = None
        self._inner = _as_oserror(opener)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        data = _as_oserror(lambda: self._inner.read(len(buffer)))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            super().close()
            if self._inner is not None:
                self._inner.close()


def _as_oserror(action: Callable[[], Any]) -> Any:
    try:
        return action()
    except OSError:
        raise
    except Exception as error:
        raise StorageError from error


def _remote_opener(opener: Callable[[], Any]) -> Callable[[], IO[bytes]]:
    return lambda: io.BufferedReader(_RemoteFile(opener), _BLOCK)
