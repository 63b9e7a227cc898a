# SPDX-License-Identifier: Apache-2.0
"""
What a store of private pictures must be able to do. Another store is one more class with these methods.

The methods are called in threads, several at a time. They raise :class:`..exceptions.InputError` for a picture that is
not there, and :class:`..exceptions.InputStoreError` for a store that cannot be used.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from ..exceptions import ErrorCode, InputError

if TYPE_CHECKING:
    from ..picture_address import PictureAddress

#: Names in one listing, as the stores limit it.
LISTED_NAMES = 1000
#: Other objects of a bucket that are tried when one is forbidden.
TRIED_NEIGHBOURS = 3
#: The largest picture that is read into memory, bytes.
MOST_BYTES = 200 * 1000 * 1000


@dataclass(frozen=True, slots=True)
class Found:
    """
    A picture as its store describes it.

    :param version: which content it has, the same from a listing and from a look: an ETag or a hash
    :param size: bytes, ``None`` if unknown
    :param object_version: the version to sign, where the store keeps versions; only a look returns it
    """

    version: str
    size: int | None = None
    object_version: str | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """
    Consecutive objects of a store, in the order of their keys.

    :param found: the objects by their keys
    :param last: the last key, up to which the listing is complete; ``None`` if it is complete to its end
    """

    found: Mapping[str, Found] = field(default_factory=dict)
    last: str | None = None


class PictureStore(Protocol):
    """
    A store of private pictures, reached through one connection.

    :ivar name: the store and its connection, for messages
    :ivar can_sign: whether it can make links; otherwise its pictures are staged
    :ivar lists: whether it can list its objects
    """

    name: str

    @property
    def can_sign(self) -> bool:
        """Return whether it can make links."""

    @property
    def lists(self) -> bool:
        """Return whether it can list its objects."""

    def look(self, address: PictureAddress) -> Found:
        """Return what is there now."""

    def list_from(self, address: PictureAddress, prefix: str) -> Listing:
        """Return objects whose keys begin with a prefix, from the address's own key on, at most 1,000."""

    def read(self, address: PictureAddress, found: Found) -> bytes:
        """Return the content of a picture that was looked at."""

    def sign(self, address: PictureAddress, found: Found, seconds: int) -> str:
        """Return a link to a picture that was looked at, which is valid for some seconds."""

    def credential_seconds(self) -> float | None:
        """Return for how many seconds a link can be valid at most, ``None`` if only its own lifetime counts."""


#: Returns the store of an address.
OpenStore = Callable[["PictureAddress"], PictureStore]


def not_found(address: PictureAddress, store: PictureStore) -> InputError:
    """Return the error for a picture that is not there."""
    return InputError(
        f"{address} is not there ({store.name}). Put it there, or correct the row.",
        error_code=ErrorCode.INPUT_NOT_FOUND,
    )


def too_large(address: PictureAddress) -> InputError:
    """Return the error for a picture that is too large to be read."""
    return InputError(
        f"{address} is larger than {MOST_BYTES // 1_000_000} MB, the most that is read.",
        error_code=ErrorCode.INPUT_UNUSABLE,
    )


def not_allowed(address: PictureAddress, store: PictureStore, said: str, advice: str) -> InputError:
    """
    Return the error for one picture that the connection may not read, while the connection itself works.

    :param said: what the store said
    :param advice: what to do, a sentence
    """
    return InputError(
        f"{address} cannot be read with {store.name}: {said}. {advice}",
        error_code=ErrorCode.INPUT_NOT_ALLOWED,
    )


def archived(address: PictureAddress, storage_class: str) -> InputError:
    """Return the error for a picture that its store has to restore first: a link to it would not work."""
    return InputError(
        f"{address} is archived ({storage_class}), and cannot be fetched until it is restored. Restore it, or correct "
        "the row.",
        error_code=ErrorCode.INPUT_UNUSABLE,
    )


class Readability:
    """
    Tells a picture that is forbidden from a connection that may read none.

    Stores answer both in the same way. The connection is at fault if it may list a bucket and none of the objects
    tried there can be read. If it may not list the bucket, the one picture is at fault.

    :param keys_of: returns some keys of a bucket; raises if it may not list them
    :param can_read: returns whether one object can be read
    """

    def __init__(self, keys_of: Callable[[str], Iterable[str]], can_read: Callable[[str, str], bool]) -> None:
        self._keys_of = keys_of
        self._can_read = can_read
        self._readable: dict[str, bool] = {}
        self._lock = threading.Lock()

    def shown(self, container: str) -> None:
        """Note that an object of a bucket was read."""
        self._readable[container] = True

    def is_lost(self, address: PictureAddress) -> bool:
        """Return whether no object of a bucket can be read, now that one was refused."""
        container = address.container
        with self._lock:
            if container not in self._readable:
                self._readable[container] = self._probe(container, address.key)
            return not self._readable[container]

    def _probe(self, container: str, but: str) -> bool:
        try:
            others = [key for key in self._keys_of(container) if key != but][:TRIED_NEIGHBOURS]
        except Exception:  # noqa: BLE001  every store has its own; it may not list, so nothing speaks against the store
            return True
        return not others or any(self._can_read(container, key) for key in others)
