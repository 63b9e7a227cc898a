# SPDX-License-Identifier: Apache-2.0
"""
Which content the private pictures of a manifest have, looked up when a run is planned.

A store lists a thousand objects in one call, in the order of their keys. So the wanted keys of a bucket are looked up
by listings, each of which begins at the next wanted key, as long as a listing holds several of them. Keys that are
scattered are looked up one by one, several at a time.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from ..exceptions import InputError, InputStoreError, InputStoreUnavailableError
from ..picture_address import read_address

if TYPE_CHECKING:
    from ..picture_address import PictureAddress
    from .stores import Found, OpenStore

log = logging.getLogger(__name__)

#: Pictures that are remembered: a face may be in every row of a manifest.
REMEMBERED = 100_000
#: Looks at the same time.
LOOKS_AT_ONCE = 32
#: Wanted keys that a listing must hold to be cheaper than a look at each.
WORTH_A_LISTING = 8

_Wanted = tuple[str, "PictureAddress"]


class InputVersions:
    """
    Looks up private pictures, each once.

    :param open_store: returns the store of an address
    """

    def __init__(self, open_store: OpenStore) -> None:
        self._open_store = open_store
        self._known: dict[str, Found | InputError] = {}
        # Pages of a plan are looked up in several threads; one at a time, because they share folders.
        self._lock = threading.Lock()

    def look_up(self, urls: Iterable[str]) -> Mapping[str, Found | InputError]:
        """
        Return for each private address what is there, or why it cannot be sent; others are left out.

        :raises InputStoreError: when a store cannot be used
        """
        addresses = {url: address for url in urls if (address := read_address(url)) is not None}
        if not addresses:
            return {}
        with self._lock:
            missing = {url: address for url, address in addresses.items() if url not in self._known}
            found = {url: self._known[url] for url in addresses if url in self._known}
            new = self._look_up(missing)
            self._known.update(new)
            while len(self._known) > REMEMBERED:
                del self._known[next(iter(self._known))]
        return {**found, **new}

    def _look_up(self, addresses: Mapping[str, PictureAddress]) -> dict[str, Found | InputError]:
        buckets: dict[tuple[str, str | None, str | None, str], list[_Wanted]] = defaultdict(list)
        for url, address in addresses.items():
            bucket = (address.kind, address.conn_id, address.account, address.container)
            buckets[bucket].append((url, address))
        found: dict[str, Found | InputError] = {}
        singles: list[_Wanted] = []
        for wanted in buckets.values():
            listed, left = self._list(wanted)
            found |= listed
            singles += left
        with ThreadPoolExecutor(LOOKS_AT_ONCE, "goenhance-inputs") as threads:
            looks = threads.map(self._look, [address for _, address in singles])
            found |= {url: there for (url, _), there in zip(singles, looks, strict=True)}
        return found

    def _look(self, address: PictureAddress) -> Found | InputError:
        try:
            return self._open_store(address).look(address)
        except InputError as error:
            return error

    def _list(self, wanted: list[_Wanted]) -> tuple[dict[str, Found], list[_Wanted]]:
        """Return what listings of a bucket have found, and the pictures to look at one by one."""
        found: dict[str, Found] = {}
        if len(wanted) < WORTH_A_LISTING or not (store := self._open_store(wanted[0][1])).lists:
            return found, wanted
        wanted = sorted(wanted, key=lambda item: _place(item[1].key))
        # Permission to list may be limited to a folder.
        prefix = _common_prefix(wanted[0][1].key, wanted[-1][1].key)
        # One that is not listed is looked at: then its error is the store's own.
        left: list[_Wanted] = []
        while len(wanted) >= WORTH_A_LISTING:
            try:
                listing = store.list_from(wanted[0][1], prefix)
            except InputStoreUnavailableError:
                raise
            except InputStoreError as error:
                log.info("%s Looking at each picture instead.", error)
                break
            last = None if listing.last is None else _place(listing.last)
            here = [item for item in wanted if last is None or _place(item[1].key) <= last]
            for url, address in here:
                if address.key in listing.found:
                    found[url] = listing.found[address.key]
                else:
                    left.append((url, address))
            wanted = wanted[len(here) :]
            if len(here) < WORTH_A_LISTING:
                break
        return found, left + wanted


def _common_prefix(first: str, last: str) -> str:
    """Return what all keys of a sorted list begin with."""
    same = next(
        (place for place, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), None
    )
    return first[:same] if same is not None else min(first, last, key=len)


def _place(key: str) -> bytes:
    # Stores list their keys in the order of their UTF-8 bytes.
    return key.encode()


#: Returns for private addresses what is there, or why it cannot be sent, see :meth:`InputVersions.look_up`.
LookUp = Callable[[Iterable[str]], Mapping[str, "Found | InputError"]]
