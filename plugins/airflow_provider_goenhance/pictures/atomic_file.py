# SPDX-License-Identifier: Apache-2.0
"""Write local files atomically, replacing another only on request."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from pathlib import Path
from typing import IO


class NameTakenError(Exception):
    """Another file has that name and must not be replaced."""


def same_bytes(path: Path, data: bytes) -> bool:
    """Return whether a file exists and has exactly these bytes."""
    return path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data


def write_whole(path: Path, data: bytes | IO[bytes], *, replace: bool, lasting: bool = True) -> None:
    """
    Write a file beside its final path and move it there atomically; afterwards it survives a power cut.

    :param data: its content, or a file to copy
    :param replace: whether to replace a file of that name
    :param lasting: wait until it survives a power cut; what can be made again need not
    :raises NameTakenError: when there is one and ``replace`` is false
    :raises OSError: when it cannot be written
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = _open_part(path)
    try:
        with os.fdopen(handle, "wb") as file:
            file.truncate()
            if isinstance(data, bytes):
                file.write(data)
            else:
                shutil.copyfileobj(data, file)
            file.flush()
            if lasting:
                os.fsync(file.fileno())
            _rename(part, path, replace=replace)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    if lasting:
        _sync_folder(path.parent)


def _rename(part: Path, path: Path, *, replace: bool) -> None:
    """Rename a finished part file. Where nothing may be replaced, a hard link makes that check atomic."""
    if not replace:
        try:
            path.hardlink_to(part)
        except FileExistsError:
            raise NameTakenError(path.as_uri()) from None
        except OSError:  # a file system without hard links
            if path.exists():
                raise NameTakenError(path.as_uri()) from None
        else:
            part.unlink()
            return
    part.replace(path)


def _open_part(path: Path) -> tuple[int, Path]:
    """
    Open the part file of a picture, or adopt the one that a killed collector left.

    The writer of a part file holds its lock, and only the holder renames it. So a part file that can be locked, and is
    still the file of that name, has no live writer. One with a live writer is left alone, and another name is used.
    """
    part = path.with_name(f".{path.name}.part")
    handle = os.open(part, os.O_CREAT | os.O_RDWR, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(handle).st_nlink > 1:
            # Its writer was killed after the hard link was made: writing to it would damage the finished picture.
            part.unlink()
        elif part.stat().st_ino == os.fstat(handle).st_ino:
            return handle, part
    except OSError:
        pass
    os.close(handle)
    part = path.with_name(f".{path.name}.{os.urandom(4).hex()}.part")
    return os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666), part


def _sync_folder(folder: Path) -> None:
    """Make the new name survive a power cut, where the file system supports it."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
