# SPDX-License-Identifier: Apache-2.0
"""Private pictures on Azure Blob Storage, through the Microsoft Azure provider. Needs the extra ``azure``."""

from __future__ import annotations

import datetime as dt
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..exceptions import GoEnhanceError, InputError, InputStoreError, InputStoreUnavailableError
from ..inputs.stores import (
    MOST_BYTES,
    TRIED_NEIGHBOURS,
    Found,
    Listing,
    Readability,
    archived,
    not_allowed,
    not_found,
    too_large,
)
from ..redaction import excerpt

if TYPE_CHECKING:
    from ..inputs.stores import PictureStore
    from ..picture_address import PictureAddress

_ROLES = "Give its account the roles Storage Blob Data Reader and Storage Blob Delegator."
#: A refusal that may be about this one blob: access may be limited to some blobs of a container.
_OF_ONE_BLOB = "AuthorizationPermissionMismatch"
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
        self._readability = Readability(self._some_keys, self._can_read)
        self._key_ends = dt.datetime.min.replace(tzinfo=dt.UTC)
        with naming_errors(self, "be opened"):
            self.service = WasbHook(wasb_conn_id=self._conn_id).get_conn()

    @property
    def can_sign(self) -> bool:
        """Return whether its credentials can sign: a shared access signature cannot."""
        credential = self.service.credential
        return self.account_key() is not None or hasattr(credential, "get_token")

    def look(self, address: PictureAddress) -> Found:
        """Return what is there now."""
        with naming_errors(self, f"show {address}", address, self._readability.is_lost):
            found = self._blob(address).get_blob_properties()
        self._readability.shown(address.container)
        if found.get("blob_tier") == "Archive":
            raise archived(address, "Archive")
        md5 = found.content_settings.content_md5
        version = bytes(md5).hex() if md5 else str(found.etag).strip('"')
        return Found(version, found.size, found.get("version_id"))

    def _some_keys(self, container: str) -> list[str]:
        names = self.service.get_container_client(container).list_blob_names()
        return list(itertools.islice(names, TRIED_NEIGHBOURS + 1))

    def _can_read(self, container: str, key: str) -> bool:
        from azure.core.exceptions import HttpResponseError

        try:
            self.service.get_blob_client(container, key).get_blob_properties()
        except HttpResponseError as error:
            return bool(error.status_code != 403)
        return True

    def list_from(self, _address: PictureAddress, _prefix: str) -> Listing:
        """Return nothing: blobs are looked at one by one."""
        return Listing()

    def read(self, address: PictureAddress, found: Found) -> bytes:
        """Return the content of a picture that was looked at."""
        if (found.size or 0) > MOST_BYTES:
            raise too_large(address)
        version = {"version_id": found.object_version} if found.object_version else {}
        with naming_errors(self, f"read {address}", address):
            data: bytes = self._blob(address).download_blob(**version).readall()
        return data

    def sign(self, address: PictureAddress, found: Found, seconds: int) -> str:
        """Return a link that is valid for some seconds, to the version that was looked at."""
        from azure.storage.blob import BlobSasPermissions, generate_blob_sas

        now = dt.datetime.now(dt.UTC)
        ends = now + dt.timedelta(seconds=seconds)
        with naming_errors(self, f"sign {address}"):
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
def naming_errors(
    store: PictureStore,
    doing: str,
    address: PictureAddress | None = None,
    is_lost: Callable[[PictureAddress], bool] | None = None,
) -> Iterator[None]:
    """
    Convert an error of Azure's libraries into one that says what it is about.

    :param is_lost: says of a refused blob whether the connection can read no other one either
    """
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
        if address is not None and (found := _error_of_blob(error, address, store, is_lost)):
            raise found from None
        refused = isinstance(error, ClientAuthenticationError) or error.status_code in {400, 401, 403}
        said = f"{store.name} cannot {doing}: {excerpt(error.message)} Nothing was sent."
        if refused:
            raise InputStoreError(f"{said} {_ROLES}") from None
        raise InputStoreUnavailableError(said) from None
    except AzureError as error:
        raise InputStoreUnavailableError(
            f"{store.name} cannot {doing}: {excerpt(str(error))} Nothing was sent."
        ) from None
    except Exception as error:
        raise InputStoreError(
            f"{store.name} cannot {doing}: {excerpt(str(error))} Nothing was sent."
        ) from error


def _error_of_blob(
    error: Any,
    address: PictureAddress,
    store: PictureStore,
    is_lost: Callable[[PictureAddress], bool] | None,
) -> InputError | None:
    """Return the error for one blob, ``None`` where the whole store is at fault."""
    code = str(getattr(error, "error_code", None) or "")
    if code == "BlobArchived":
        return archived(address, "Archive")
    if code == _OF_ONE_BLOB and is_lost is not None and not is_lost(address):
        return not_allowed(address, store, code, _ROLES)
    return None
