# SPDX-License-Identifier: Apache-2.0
"""Pictures in local folders. Only the folders that the configuration names may be read: a manifest is foreign input."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..exceptions import ErrorCode, InputError, InputUnavailableError
from .stores import MOST_BYTES, Found, Listing, not_found, too_large

if TYPE_CHECKING:
    from ..picture_address import PictureAddress


class LocalFiles:
    """
    The files of some folders. Their version is the SHA-256 of their content: a copy elsewhere has other times.

    :param folders: the folders that may be read, with what is below them
    """

    name = "a local file of this worker"
    can_sign = False
    lists = False

    def __init__(self, folders: Sequence[str]) -> None:
        self._folders = [Path(folder).expanduser().resolve() for folder in folders]

    def look(self, address: PictureAddress) -> Found:
        """Return the hash and the size of a file."""
        data = self._content(address)
        return Found(hashlib.sha256(data).hexdigest(), len(data))

    def read(self, address: PictureAddress, found: Found) -> bytes:
        """Return the content of a file, if it is still the one that was looked at."""
        data = self._content(address)
        if hashlib.sha256(data).hexdigest() != found.version:
            raise InputUnavailableError(
                f"{address} was overwritten while it was read.", error_code=ErrorCode.INPUT_CHANGED
            )
        return data

    def list_from(self, _address: PictureAddress, _prefix: str) -> Listing:
        """Return nothing: files are looked at one by one."""
        return Listing()

    def sign(self, address: PictureAddress, _found: Found, _seconds: int) -> str:
        """Raise: a file has no link."""
        raise NotImplementedError(f"{address} cannot be signed.")

    def credential_seconds(self) -> float | None:
        """Return ``None``: a file needs no credentials."""
        return None

    def _content(self, address: PictureAddress) -> bytes:
        path = self._path(address)
        try:
            if path.stat().st_size > MOST_BYTES:
                raise too_large(address)
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise not_found(address, self) from None
        except OSError as error:
            raise InputError(f"{address} cannot be read: {error.strerror}.") from None

    def _path(self, address: PictureAddress) -> Path:
        # Resolved, so that neither `..` nor a symbolic link leads out of the folders.
        path = Path(address.key).resolve()
        if any(path.is_relative_to(folder) for folder in self._folders):
            return path
        folders = ", ".join(map(str, self._folders)) or "none"
        raise InputError(
            f"{address} is in none of the folders from which local pictures may be read ({folders}). Move it, or add "
            "its folder to [goenhance] input_folders.",
            error_code=ErrorCode.INPUT_NOT_ALLOWED,
        )
