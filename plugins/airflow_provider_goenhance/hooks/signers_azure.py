# SPDX-License-Identifier: Apache-2.0
"""Private pictures on Azure Blob Storage, through the Microsoft Azure provider. Needs the extra ``azure``."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..exceptions import GoEnhanceError, InputStoreError, InputStoreUnavailableError
from ..inputs.stores import MOST_BYTES, Found, Listing, not_found, too_large
from ..redaction import excerpt

if TYPE_CHECKING:
    from ..inputs.stores import PictureStore
    from ..picture_address import PictureAddress

#: A delegation key may be used for seven days; its links end with it.
KEY_LIFETIME = dt.timedelta(days=7)
#: A clock that is behind ours must not call a link not valid yet.
CLOCK_SKEW = dt.timedelta(minutes=5)


class AzurePictures:
    """
    The blobs that one connection reaches.

    With an account key, links are signed with it. With a token (service principal, managed identity), they are signed
    with a user delegation key, which needs the role *Storage Blob Delegator* and is asked for once in a while.

    :param conn_id: the Airflow connection, ``None`` for the provider's default
    """

    #: A listing cannot begin at a key.
    lists = False

    def __init__(self, conn_id: str | None) -> None:
        from airflow.providers.microsoft.azure.hooks.wasb import WasbHook

        self._conn_id = conn_id or WasbHook.default_conn_name
        self.name = f"Azure Blob Storage through connection {self._conn_id!r}"
        self._lock = threading.Lock()
        self._key: Any = None
        self._key_ends = dt.datetime.min.replace(tzinfo=dt.UTC)
        with _naming_errors(self, "be opened"):
            self.service = WasbHook(wasb_conn_id=self._conn_id).get_conn()

    @property
    def can_sign(self) -> bool:
        """Return whether its credentials can sign: a shared access signature cannot."""
        credential = self.service.credential
        return self.account_key() is not None or hasattr(credential, "get_token")

    def look(self, address: PictureAddress) -> Found:
        """Return what is there now."""
        with _naming_errors(self, f"show {address}", address):
            found = self._blob(address).get_blob_properties()
        md5 = found.content_settings.content_md5
        version = bytes(md5).hex() if md5 else str(found.etag).strip('"')
        return Found(version, found.size, found.get("version_id"))

    def list_from(self, _address: PictureAddress, _prefix: str) -> Listing:
        """Return nothing: blobs are looked at one by one."""
        return Listing()

    def read(self, address: PictureAddress, found: Found) -> bytes:
        """Return the content of a picture that was looked at."""
        if (found.size or 0) > MOST_BYTES:
            raise too_large(address)
        version = {"version_id": found.object_version} if found.object_version else {}
        with _naming_errors(self, f"read {address}", address):
            data: bytes = self._blob(address).download_blob(**version).readall()
        return data

    def sign(self, address: PictureAddress, found: Found, seconds: int) -> str:
        """Return a link that is valid for some seconds, to the version that was looked at."""
        from azure.storage.blob import BlobSasPermissions, generate_blob_sas

        now = dt.datetime.now(dt.UTC)
        ends = now + dt.timedelta(seconds=seconds)
        with _naming_errors(self, f"sign {address}"):
            key = self.account_key()
            blob = self._blob(address)
            query = generate_blob_sas(
                str(self.service.account_name),
                address.container,
                address.key,
                version_id=found.object_version,
                permission=BlobSasPermissions(read=True),
                start=now - CLOCK_SKEW,
                expiry=ends,
                **({"account_key": key} if key else {"user_delegation_key": self._delegation_key(ends)}),
            )
        version = f"versionid={found.object_version}&" if found.object_version else ""
        return f"{blob.url.partition('?')[0]}?{version}{query}"

    def credential_seconds(self) -> float | None:
        """Return ``None``: a link outlives the access token with which its key was asked for."""
        return None

    def account_key(self) -> str | None:
        """Return the key of the account, ``None`` with a token."""
        key = getattr(self.service.credential, "account_key", None)
        return str(key) if key else None

    def _delegation_key(self, until: dt.datetime) -> Any:
        """Return a delegation key that is valid until a time at least: the one of before, while it is."""
        with self._lock:
            if self._key_ends < until:
                now = dt.datetime.now(dt.UTC)
                ends = now + KEY_LIFETIME
                self._key = self.service.get_user_delegation_key(now - CLOCK_SKEW, ends)
                self._key_ends = ends
            return self._key

    def _blob(self, address: PictureAddress) -> Any:
        account = (address.account or "").partition(".")[0]
        if account and account != self.service.account_name:
            raise InputStoreError(
                f"{address} is in the storage account {account!r}, but {self.name} reaches "
                f"{self.service.account_name!r}. Nothing was sent. Name the connection of that account, as in "
                f"abfs://my_conn@{address.container}/{address.key}."
            )
        return self.service.get_blob_client(address.container, address.key)


@contextmanager
def _naming_errors(store: PictureStore, doing: str, address: PictureAddress | None = None) -> Iterator[None]:
    """Convert an error of Azure's libraries into one that says what it is about."""
    from azure.core.exceptions import (
        AzureError,
        ClientAuthenticationError,
        HttpResponseError,
        ResourceNotFoundError,
    )

    try:
        yield
    except GoEnhanceError:
        raise
    except ResourceNotFoundError as error:
        if address is not None and getattr(error, "error_code", "") != "ContainerNotFound":
            raise not_found(address, store) from None
        raise InputStoreError(
            f"{store.name} cannot {doing}: there is no such container. Nothing was sent."
        ) from None
    except HttpResponseError as error:
        refused = isinstance(error, ClientAuthenticationError) or error.status_code in {400, 401, 403}
        said = f"{store.name} cannot {doing}: {excerpt(error.message)} Nothing was sent."
        if refused:
            raise InputStoreError(
                f"{said} Give its account the roles Storage Blob Data Reader and Storage Blob Delegator."
            ) from None
        raise InputStoreUnavailableError(said) from None
    except AzureError as error:
        raise InputStoreUnavailableError(
            f"{store.name} cannot {doing}: {excerpt(str(error))} Nothing was sent."
        ) from None
    except Exception as error:
        raise InputStoreError(
            f"{store.name} cannot {doing}: {excerpt(str(error))} Nothing was sent."
        ) from error
