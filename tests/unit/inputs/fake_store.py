# SPDX-License-Identifier: Apache-2.0
"""A store of pictures in memory, which counts its calls."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field

from airflow_provider_goenhance.exceptions import InputStoreError
from airflow_provider_goenhance.inputs.stores import Found, Listing, PictureStore, not_found
from airflow_provider_goenhance.picture_address import PictureAddress


@dataclass
class FakeStore:
    """
    Objects by their keys.

    :param page: objects in one listing
    :param lives: seconds that its credentials live
    """

    objects: dict[str, bytes] = field(default_factory=dict)
    name: str = "the test's store"
    can_sign: bool = True
    lists: bool = True
    may_list: bool = True
    page: int = 1000
    lives: float | None = None
    calls: Counter[str] = field(default_factory=Counter)
    signed_for: list[int] = field(default_factory=list)

    def open(self, _address: PictureAddress) -> PictureStore:
        return self

    def look(self, address: PictureAddress) -> Found:
        self.calls["look"] += 1
        if address.key not in self.objects:
            raise not_found(address, self)
        return self._found(address.key)

    def list_from(self, address: PictureAddress, prefix: str) -> Listing:
        self.calls["list"] += 1
        if not self.may_list:
            raise InputStoreError("the test's store may not be listed.")
        keys = sorted(key for key in self.objects if key.startswith(prefix) and key >= address.key)
        page = keys[: self.page]
        return Listing({key: self._found(key) for key in page}, page[-1] if len(keys) > len(page) else None)

    def read(self, address: PictureAddress, _found: Found) -> bytes:
        self.calls["read"] += 1
        return self.objects[address.key]

    def sign(self, address: PictureAddress, found: Found, seconds: int) -> str:
        self.signed_for.append(seconds)
        return f"https://{address.container}.example/{address.key}?X-Amz-Signature=5ec2e7{found.version}"

    def credential_seconds(self) -> float | None:
        return self.lives

    def _found(self, key: str) -> Found:
        data = self.objects[key]
        return Found(hashlib.sha256(data).hexdigest(), len(data))
