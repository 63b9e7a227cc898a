# SPDX-License-Identifier: Apache-2.0
"""Find and open a manifest in a local folder, on a web server or in an object storage."""

from __future__ import annotations

import io
import os
import re
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ..exceptions import ManifestError
from ..redaction import redact_location, redact_urls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_BLOCK = 1 << 18  # bytes per request to a remote storage
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Source:
    """
    A manifest file that exists.

    :param location: its name in messages and rows, without password and signed query
    :param opener: opens it for reading bytes; may be called repeatedly
    """

    location: str
    opener: Callable[[], IO[bytes]]

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """
        Open the file and close it afterwards.

        :raises ManifestError: if it cannot be opened or read
        """
        try:
            with self.opener() as stream:
                yield stream
        except OSError as error:
            raise ManifestError(f"manifest {self.location} cannot be read: {_cause(error)}") from error


def find_source(location: str, conn_id: str | None = None) -> Source:
    """
    Find the file at a location.

    :param location: local path, or URI: ``file://``, ``http(s)://``, or any storage that an installed provider
        registers with Airflow's object storage (``s3://``, ``gs://``, ...)
    :param conn_id: Airflow connection for that storage; not used for local files and web addresses
    :raises ManifestError: if there is no such file, it is a folder, or it cannot be reached
    """
    scheme = _SCHEME.match(location)
    if scheme is None or scheme[1].lower() == "file":
        return _local_source(location)
    if scheme[1].lower() in {"http", "https"}:
        return _web_source(location)
    return _stored_source(location, conn_id)


def _local_source(location: str) -> Source:
    text = location[len("file://") :] if location.lower().startswith("file://") else location
    path = Path(text).expanduser()
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        looked = "" if path.is_absolute() else f" (looked in {Path.cwd()})"
        raise ManifestError(f"there is no manifest {location}{looked}: check the path") from None
    except (OSError, ValueError) as error:
        raise ManifestError(f"manifest {location} cannot be read: {_cause(error)}") from error
    if stat.S_ISDIR(mode):
        raise ManifestError(f"manifest {location} is a folder: name the file in it")
    if not stat.S_ISREG(mode):
        # Opening a pipe or a device could block, and neither can be read twice.
        raise ManifestError(f"manifest {location} is not a regular file: copy its content to one")
    return Source(location, lambda: path.open("rb"))


def _web_source(location: str) -> Source:
    import fsspec  # type: ignore[import-untyped]

    # Read as one stream (block size 0): many web servers do not answer range requests.
    opener = _remote_opener(lambda: fsspec.filesystem("http").open(location, "rb", block_size=0))
    source = Source(redact_location(location), opener)
    with source.open():  # raises for a missing file, as the other storages do
        return source


def _stored_source(location: str, conn_id: str | None) -> Source:
    shown = redact_location(location)
    if shown != location:
        raise ManifestError(f"manifest {shown} carries a password: keep it in an Airflow connection instead")
    try:
        from airflow.sdk import ObjectStoragePath

        path = ObjectStoragePath(location, conn_id=conn_id)
        exists, is_dir = path.exists(), path.is_dir()
    except Exception as error:  # every storage's client library has its own exceptions
        raise ManifestError(
            f"manifest {shown} cannot be reached: {_cause(error)}. The storage needs the Airflow provider that "
            "registers it (for s3://: apache-airflow-providers-amazon[s3fs]) and a connection that may read it"
        ) from error
    if is_dir:
        raise ManifestError(f"manifest {shown} is a folder: name the file in it")
    if not exists:
        raise ManifestError(f"there is no manifest {shown}: check bucket, key and connection")
    return Source(shown, _remote_opener(lambda: path.fs.open(path.path, "rb")))


class _RemoteFile(io.RawIOBase):
    """A file in a remote storage; every exception of the client library becomes an ``OSError``."""

    def __init__(self, opener: Callable[[], Any]) -> None:
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
            self._inner.close()


def _as_oserror(action: Callable[[], Any]) -> Any:
    try:
        return action()
    except OSError:
        raise
    except Exception as error:
        raise OSError(_cause(error)) from error


def _remote_opener(opener: Callable[[], Any]) -> Callable[[], IO[bytes]]:
    return lambda: io.BufferedReader(_RemoteFile(opener), _BLOCK)


def _cause(error: BaseException) -> str:
    """Describe an error without repeating the location, which may contain a signed query."""
    if status := getattr(error, "status", None):
        return f"HTTP status {status}"
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    text = redact_urls(str(error))
    if text and type(error) is OSError:  # from _as_oserror, which names the class already
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
