# SPDX-License-Identifier: Apache-2.0
"""Local files that appear whole or not at all, and never in the place of another unless that is wanted."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path


class NameTakenError(Exception):
    """There is another file of that name, which is not to be replaced."""


def same_bytes(path: Path, data: bytes) -> bool:
    """Tell whether a file is there and holds just these bytes."""
    return path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data


def write_whole(path: Path, data: bytes, *, replace: bool) -> None:
    """
    Write a file beside its place, and move it there in one step; it survives a power cut from then on.

    :param replace: whether a file of that name gives way
    :raises NameTakenError: when there is one that does not
    :raises OSError: when it cannot be written
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = _open_part(path)
    try:
        with os.fdopen(handle, "wb") as file:
            file.truncate()
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            _name_it(part, path, replace=replace)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _name_it(part: Path, path: Path, *, replace: bool) -> None:
    """Give a finished part file its name, which a link does without ever replacing a file that has it already."""
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
    Open the part file of a picture, taking over what a killed collector left.

    Who writes a part file holds its lock, and only the holder moves it. So a part that can be locked, and is still
    the file of that name, has no living writer. A live one is left to its owner; then we write beside it.
    """
    part = path.with_name(f".{path.name}.part")
    handle = os.open(part, os.O_CREAT | os.O_RDWR, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(handle).st_nlink > 1:
            # Its writer was killed with the picture in its place already: that must not be written to again.
            part.unlink()
        elif part.stat().st_ino == os.fstat(handle).st_ino:
            return handle, part
    except OSError:
        pass
    os.close(handle)
    part = path.with_name(f".{path.name}.{os.urandom(4).hex()}.part")
    return os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666), part


def _sync_folder(folder: Path) -> None:
    """Make the new name itself survive a power cut, where the file system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
