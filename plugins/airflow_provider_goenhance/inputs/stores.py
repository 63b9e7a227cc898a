# SPDX-License-Identifier: Apache-2.0
"""
What a store of private pictures must be able to do. Another store is one more class with these methods.

The methods are called in threads, several at a time. They raise :class:`..exceptions.InputError` for a picture that is
not there, and :class:`..exceptions.InputStoreError` for a store that cannot be used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from ..exceptions import ErrorCode, InputError

if TYPE_CHECKING:
    from ..picture_address import PictureAddress

#: Names in one listing, as the stores limit it.
LISTED_NAMES = 1000
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
