# SPDX-License-Identifier: Apache-2.0
"""Name the cause of a storage's or a web server's error, and decide whether it passes by itself."""

from __future__ import annotations

import errno
import gzip
import http.client
import os
import re
import socket
import ssl
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..exceptions import ManifestError, ManifestUnavailableError
from ..redaction import redact_urls

_FIRST_SERVER_ERROR = 500
_STATUS_CODES = range(100, 600)
_STATUS = {
    401: "the address needs a login; use one that works without",
    403: "access is refused; a signed link may have expired, or the connection may lack the permission",
    404: "there is no such file; check the address",
    408: "the server timed out",
    410: "there is no such file any more; check the address",
    425: "the server is not ready",
    429: "too many requests",
}
_PASSING_STATUS = frozenset({408, 425, 429})
# Errors of the operating system that a person has to correct; s3fs and others use the same numbers.
_FINAL_NUMBERS = frozenset(
    {
        errno.EACCES,
        errno.EINVAL,
        errno.EISDIR,
        errno.ELOOP,
        errno.EMSGSIZE,
        errno.ENAMETOOLONG,
        errno.ENOENT,
        errno.ENOSYS,
        errno.ENOTDIR,
        errno.EPERM,
        errno.EROFS,
        getattr(errno, "EREMCHG", errno.ENOENT),
    }
)
# Client libraries have exceptions of their own for trouble with the connection, without a common base.
_PASSING_NAME = re.compile(
    r"time(?:d)?_?out|connect|transport|endpoint|payload|incompleteread|servicerequest|throttl|slowdown|unavailable",
    re.IGNORECASE,
)


class StorageError(OSError):
    """Carries an exception of a client library, its cause, through :mod:`io`."""


@dataclass(frozen=True, slots=True)
class Cause:
    """
    Why a manifest cannot be read.

    :param text: a clause, without secrets
    :param passes: whether a later try may succeed although no person has changed anything
    """

    text: str
    passes: bool

    def error(self, location: str, *, what: str = "cannot be read", hint: str = "") -> ManifestError:
        """Return the error to raise for the manifest at ``location``."""
        if self.passes:
            return ManifestUnavailableError(
                f"manifest {location} {what}: {self.text}. A retry reads it again."
            )
        return ManifestError(f"manifest {location} {what}: {self.text}{hint}")


def cause_of(error: BaseException) -> Cause:
    """Return the cause of an error, looking behind the exceptions that a library wraps around it."""
    chain = [link for link in _chain(error) if not isinstance(link, StorageError)]
    error = chain[0]
    # A storage may call its own time-out HTTP 400, so trouble with the connection is looked for first.
    for cause in filter(None, map(_connection_cause, chain)):
        return cause
    for status in filter(None, map(_status_of, chain)):
        return status_cause(status)
    return _file_cause(error, chain)


def _file_cause(error: BaseException, chain: list[BaseException]) -> Cause:
    for link in chain:
        if isinstance(link, OSError) and link.errno is not None:
            return Cause(os.strerror(link.errno), link.errno not in _FINAL_NUMBERS)
        if isinstance(link, PermissionError):
            return Cause(f"access is refused ({_text(error)})", passes=False)
        if isinstance(link, FileNotFoundError):
            return Cause("there is no such file", passes=False)
    passes = any(_PASSING_NAME.search(type(link).__name__) or type(link) is OSError for link in chain)
    return Cause(_text(error), passes)


def status_cause(status: int) -> Cause:
    """Return the cause for an HTTP status other than success."""
    if status >= _FIRST_SERVER_ERROR:
        return Cause(f"HTTP status {status}, the server is in trouble", passes=True)
    text = _STATUS.get(status, "the server does not send the file")
    return Cause(f"HTTP status {status}, {text}", status in _PASSING_STATUS)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        reason = getattr(error, "reason", None) or getattr(error, "os_error", None)
        error = (
            error.__cause__ or (reason if isinstance(reason, BaseException) else None) or error.__context__
        )


def _status_of(error: BaseException) -> int | None:
    """Return the HTTP status in the error of any client library."""
    response: Any = getattr(error, "response", None)
    found = [
        getattr(source, name, None) for source in (error, response) for name in ("status", "status_code")
    ]
    found.append(getattr(error, "code", None))
    if isinstance(response, dict):  # botocore
        found.append(response.get("ResponseMetadata", {}).get("HTTPStatusCode"))
    numbers = [int(str(value)) for value in found if str(value).isdecimal()]
    return next((number for number in numbers if number in _STATUS_CODES), None)


def _connection_cause(error: BaseException) -> Cause | None:
    if isinstance(error, socket.gaierror):
        return Cause("the host is unknown: its name cannot be resolved", passes=True)
    if isinstance(error, ssl.SSLCertVerificationError):
        return Cause(
            f"TLS: the server's certificate is not accepted ({_detail(error, 'verify_message')})", passes=True
        )
    if isinstance(error, ssl.SSLError):
        return Cause(f"TLS: the handshake failed ({_detail(error, 'reason')})", passes=True)
    if isinstance(error, ConnectionRefusedError):
        return Cause("the connection was refused", passes=True)
    if isinstance(error, TimeoutError):
        return Cause("the answer timed out", passes=True)
    if isinstance(error, gzip.BadGzipFile | zlib.error):
        return Cause("the answer is packed with gzip, and damaged", passes=True)
    if isinstance(error, ConnectionError | EOFError | http.client.IncompleteRead):
        return Cause("the connection was cut before the file was complete", passes=True)
    if isinstance(error, http.client.InvalidURL):
        return Cause("the address has no usable host or port", passes=False)
    if isinstance(error, http.client.HTTPException):
        return Cause("the server's answer is not HTTP", passes=True)
    return None


def _detail(error: ssl.SSLError, name: str) -> str:
    return str(getattr(error, name, None) or "no reason given")


def _text(error: BaseException) -> str:
    """Describe an error without repeating the location, which may contain a signed query."""
    text = redact_urls(str(error))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
