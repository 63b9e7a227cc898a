# SPDX-License-Identifier: Apache-2.0
"""
Copies of pictures that GoEnhance cannot fetch from where they are.

A copy is named by the SHA-256 of its content, so that one picture of a thousand pairs is stored once. Copies that are
removed with their jobs are in a folder of their own for each task: two tasks never remove each other's.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from ..exceptions import CollectError, ErrorCode, InputStoreError, InputStoreUnavailableError
from ..picture_address import read_address
from ..pictures.storage import folder_and_name, keep_bytes, remove_file

if TYPE_CHECKING:
    from .sign import LinkSigner
    from .stores import OpenStore

#: Hex digits of a task's folder.
_SCOPE_DIGITS = 16


@dataclass(frozen=True, slots=True)
class StagedCopy:
    """
    A copy.

    :param uri: where it is
    :param name: its name below the storage
    """

    uri: str
    name: str


@dataclass(slots=True)
class Staging:
    """
    Stages pictures.

    :param storage: a local folder, or the URL of an object storage whose objects can be signed; empty if there is none
    :param url: the address under which the storage can be fetched without a signature, such as that of a web server
        that serves the folder; empty if its objects are signed
    :param open_store: returns the store of an address, to sign it
    :param scope: names the task whose copies are removed with their jobs; empty to leave them to a lifecycle rule
    """

    storage: str
    url: str
    open_store: OpenStore
    scope: str = ""
    _copies: dict[str, StagedCopy] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def removes(self) -> bool:
        """Return whether copies are removed once the outcome of their jobs is known."""
        return bool(self.scope)

    def require(self, why: str) -> None:
        """
        Raise if nothing can be staged.

        :param why: what needs it, as a clause
        :raises InputStoreError: ``no_staging``
        """
        if not self.storage:
            raise InputStoreError(
                f"{why}, and no staging storage is set. Nothing was sent. Set [goenhance] staging, or the argument "
                "staging, to a bucket whose objects can be signed, or to a folder that a web server serves under "
                "[goenhance] staging_url.",
                error_code=ErrorCode.NO_STAGING,
            )

    def put(self, data: bytes, extension: str) -> StagedCopy:
        """
        Store a copy, unless it is there already.

        :param extension: with its dot, or empty
        :raises InputStoreUnavailableError: when the storage cannot be used
        """
        name = f"{hashlib.sha256(data).hexdigest()}{extension}"
        if self.scope:
            folder = hashlib.sha256(self.scope.encode()).hexdigest()[:_SCOPE_DIGITS]
            name = f"{folder}/{name}"
        with self._lock:
            known = self._copies.get(name)
        if known is not None:
            return known
        try:
            copy = StagedCopy(keep_bytes(data, self.storage, name), name)
        except CollectError as error:
            raise InputStoreUnavailableError(f"{error} (staging). Nothing was sent.") from None
        with self._lock:
            self._copies[name] = copy
        return copy

    def link(self, copy: StagedCopy, signer: LinkSigner) -> str:
        """
        Return a link to a copy.

        :raises InputStoreError: when the storage has neither links nor an address
        """
        if self.url:
            return f"{self.url.rstrip('/')}/{quote(copy.name)}"
        address = read_address(copy.uri)
        if address is not None:
            store = self.open_store(address)
            if store.can_sign:
                return signer.sign(store, address, store.look(address))
        raise InputStoreError(
            f"The staging storage {self.storage} makes no links that GoEnhance could fetch. Nothing was sent. Use a "
            "bucket whose objects can be signed, or set [goenhance] staging_url to the address of a web server that "
            "serves it.",
            error_code=ErrorCode.NO_STAGING,
        )


def remove_copy(uri: str) -> None:
    """
    Remove a copy, if it is still there.

    :raises CollectError: when the storage cannot be used
    """
    folder, name = folder_and_name(uri)
    remove_file(folder, name)
    if "://" not in folder:
        # The folder of its task, once it is empty; an object storage has none.
        with contextlib.suppress(OSError):
            Path(folder).rmdir()
