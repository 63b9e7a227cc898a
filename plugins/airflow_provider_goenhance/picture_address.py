# SPDX-License-Identifier: Apache-2.0
"""
The address of a picture that GoEnhance cannot fetch by itself: an object in a private store, or a local file.

The forms are those of Airflow's ``ObjectStoragePath``, in which the user part names an Airflow connection
(``s3://my_conn@bucket/key``), and Azure's own (``abfss://container@account.dfs.core.windows.net/key``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote

Kind = Literal["s3", "gs", "azure", "local"]

_KINDS: dict[str, Kind] = {
    "s3": "s3",
    "s3a": "s3",
    "s3n": "s3",
    "gs": "gs",
    "gcs": "gs",
    "abfs": "azure",
    "abfss": "azure",
    "wasb": "azure",
    "wasbs": "azure",
    "az": "azure",
    "file": "local",
}
#: The scheme that the identity of an address has, whichever it was written with.
_SCHEMES: dict[Kind, str] = {"s3": "s3", "gs": "gs", "azure": "abfs", "local": "file"}
_PRIVATE = re.compile(rf"(?:{'|'.join(_KINDS)})://|/(?!/)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class PictureAddress:
    """
    The parts of an address.

    :param kind: the kind of store
    :param container: bucket or container; empty for a local file
    :param key: name of the object; the absolute path of a local file
    :param conn_id: the Airflow connection that the address names, ``None`` for the default one
    :param account: the host of an Azure storage account that the address names, ``None`` for the connection's
    :param uri: the address as it was written
    """

    kind: Kind
    container: str
    key: str
    conn_id: str | None = None
    account: str | None = None
    uri: str = field(default="", compare=False)

    @property
    def folder(self) -> str:
        """Return the key up to its last slash."""
        return self.key[: self.key.rfind("/") + 1]

    @property
    def identity(self) -> str:
        """Return the address as it is compared: without the connection, and with one spelling of the scheme."""
        account = f"@{self.account}" if self.account else ""
        return f"{_SCHEMES[self.kind]}://{self.container}{account}/{self.key.lstrip('/')}"

    def __str__(self) -> str:
        """Return the address for a message."""
        return self.key if self.kind == "local" else self.identity


def is_private(url: str) -> bool:
    """Return whether an address is that of a private store or a local file."""
    return _PRIVATE.match(url) is not None


def read_address(url: str) -> PictureAddress | None:
    """
    Return the parts of an address, ``None`` for one that GoEnhance fetches by itself.

    It may be incomplete: the bucket, the key or both may be empty.
    """
    if not is_private(url):
        return None
    scheme, mark, rest = url.partition("://")
    if not mark or url.startswith("/"):
        return PictureAddress("local", "", url, uri=url)
    kind = _KINDS[scheme.lower()]
    if kind == "local":
        path = rest.removeprefix("localhost")
        # As browsers and pathlib write it; a path with % in it is written without a scheme.
        return PictureAddress("local", "", unquote(path), uri=url)
    authority, _, key = rest.partition("/")
    user, _, container = authority.rpartition("@")
    if kind == "azure" and "." in container:
        # Azure's own form: the container comes first, and the host names the account.
        return PictureAddress(kind, user, key, None, container.lower(), url)
    return PictureAddress(kind, container, key, user or None, None, url)
