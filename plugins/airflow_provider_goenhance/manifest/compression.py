# SPDX-License-Identifier: Apache-2.0
"""Unpack files that are compressed with gzip or Zstandard while they are read."""

from __future__ import annotations

import gzip
import io
import zlib
from typing import IO, Any

from ..exceptions import ManifestError

GZIP = "gzip"
ZSTD = "Zstandard"
_MAGIC = {b"\x1f\x8b": GZIP, b"\x28\xb5\x2f\xfd": ZSTD}
#: The endings that compressed files have behind that of their format.
ENDINGS = frozenset({".gz", ".gzip", ".zst", ".zstd"})
#: What a file may unpack to: a small file can be made that would fill any disk.
MAX_UNPACKED = 16 << 30
_BLOCK = 1 << 18


def compression_of(start: bytes) -> str:
    """Return how a file with these first bytes is compressed; empty if it is not."""
    return next((name for magic, name in _MAGIC.items() if start.startswith(magic)), "")


def unpacked(stream: IO[bytes], compression: str, location: str) -> IO[bytes]:
    """
    Return a stream of the unpacked bytes, which closes ``stream``.

    :raises ManifestError: also while it is read, if the file is damaged or unpacks to more than the limit
    """
    if not compression:
        return stream
    return io.BufferedReader(_Unpacked(stream, compression, location), _BLOCK)


class _Unpacked(io.RawIOBase):
    def __init__(self, stream: IO[bytes], compression: str, location: str) -> None:
        self._stream = stream
        self._compression = compression
        self._location = location
        self._inner: Any = gzip.GzipFile(fileobj=stream) if compression == GZIP else _zstd(stream, location)
        self._left = MAX_UNPACKED

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        try:
            data = self._inner.read(len(buffer))
        except (EOFError, OSError, zlib.error, ValueError) as error:
            raise ManifestError(
                f"manifest {self._location} is compressed with {self._compression}, and damaged or incomplete "
                f"({error}): write it again"
            ) from None
        self._left -= len(data)
        if self._left < 0:
            raise ManifestError(
                f"manifest {self._location} unpacks to more than {MAX_UNPACKED >> 30} GB: split it"
            )
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._inner.close()
            self._stream.close()


def _zstd(stream: IO[bytes], location: str) -> Any:
    try:
        import pyarrow as pa
    except ImportError:
        raise ManifestError(
            f"manifest {location} is compressed with Zstandard, which needs pyarrow: install the extra `manifests` "
            "(pip install 'airflow-provider-goenhance[manifests]'), or unpack the file"
        ) from None
    return pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), "zstd")
