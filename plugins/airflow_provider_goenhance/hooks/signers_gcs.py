# SPDX-License-Identifier: Apache-2.0
"""Private pictures on Google Cloud Storage, through the Google provider. Needs the extra ``gcs``."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..exceptions import GoEnhanceError, InputStoreError, InputStoreUnavailableError
from ..inputs.stores import (
    LISTED_NAMES,
    MOST_BYTES,
    TRIED_NEIGHBOURS,
    Found,
    Listing,
    Readability,
    not_allowed,
    not_found,
    too_large,
)
from ..redaction import excerpt

if TYPE_CHECKING:
    from ..inputs.stores import PictureStore
    from ..picture_address import PictureAddress

_ROLES = "Give its account the role Storage Object Viewer, and Service Account Token Creator if it has no private key."
#: What Google calls a 403 about the object; others are about the account, its project or its rate.
_OF_ONE_OBJECT = "forbidden"
_RATE_LIMITED = frozenset({"rateLimitExceeded", "userRateLimitExceeded"})
_FIELDS = "items(name,size,md5Hash,generation),nextPageToken"


class GcsPictures:
    """
    The objects that one connection reaches.

    A connection with a private key signs on this machine. Others, such as workload identity, have Google sign each link
    with the service account's key (IAM ``signBlob``), which needs the role *Service Account Token Creator* on itself.

    :param conn_id: the Airflow connection, ``None`` for the provider's default
    """

    lists = True

    def __init__(self, conn_id: str | None) -> None:
        from airflow.providers.google.cloud.hooks.gcs import GCSHook

        self._conn_id = conn_id or GCSHook.default_conn_name
        self.name = f"Google Cloud Storage through connection {self._conn_id!r}"
        self._lock = threading.Lock()
        self._readability = Readability(self._some_keys, self._can_read)
        with naming_errors(self, "be opened"):
            hook = GCSHook(gcp_conn_id=self._conn_id)
            self.credentials = hook.get_credentials()
            self._client = hook.get_conn()

    @property
    def can_sign(self) -> bool:
        """Return whether its credentials can sign: those without a service account cannot."""
        return self._signs_here() or self._service_account() is not None

    def look(self, address: PictureAddress) -> Found:
        """Return what is there now."""
        with naming_errors(self, f"show {address}", address, self._readability.is_lost):
            blob = self._client.bucket(address.container).get_blob(address.key)
        if blob is None:
            raise not_found(address, self)
        self._readability.shown(address.container)
        return Found(_version(blob), blob.size, str(blob.generation))

    def _some_keys(self, bucket: str) -> list[str]:
        blobs = self._client.list_blobs(bucket, max_results=TRIED_NEIGHBOURS + 1, fields=_FIELDS)
        return [blob.name for blob in blobs]

    def _can_read(self, bucket: str, key: str) -> bool:
        from google.api_core.exceptions import Forbidden

        try:
            self._client.bucket(bucket).get_blob(key)
        except Forbidden:
            return False
        return True

    def list_from(self, address: PictureAddress, prefix: str) -> Listing:
        """Return objects whose keys begin with a prefix, from the address's own key on."""
        with naming_errors(self, f"list {address.container}/{prefix}"):
            blobs = list(
                self._client.list_blobs(
                    address.container,
                    prefix=prefix,
                    start_offset=address.key,
                    max_results=LISTED_NAMES,
                    fields=_FIELDS,
                )
            )
        found = {blob.name: Found(_version(blob), blob.size) for blob in blobs}
        return Listing(found, blobs[-1].name if len(blobs) >= LISTED_NAMES else None)

    def read(self, address: PictureAddress, found: Found) -> bytes:
        """Return the content of a picture that was looked at."""
        if (found.size or 0) > MOST_BYTES:
            raise too_large(address)
        with naming_errors(self, f"read {address}", address):
            blob = self._client.bucket(address.container).blob(address.key, generation=_generation(found))
            data: bytes = blob.download_as_bytes()
        return data

    def sign(self, address: PictureAddress, found: Found, seconds: int) -> str:
        """Return a link that is valid for some seconds, to the generation that was looked at."""
        with naming_errors(self, f"sign {address}"):
            link: str = (
                self._client.bucket(address.container)
                .blob(address.key)
                .generate_signed_url(
                    version="v4",
                    method="GET",
                    expiration=dt.timedelta(seconds=seconds),
                    generation=found.object_version,
                    **({"credentials": self.credentials} if self._signs_here() else self._signed_by_google()),
                )
            )
        return link

    def credential_seconds(self) -> float | None:
        """Return ``None``: a link outlives the access token with which it was made."""
        return None

    def _signs_here(self) -> bool:
        from google.auth.credentials import Signing

        return isinstance(self.credentials, Signing)

    def _service_account(self) -> str | None:
        email = getattr(self.credentials, "service_account_email", None)
        return str(email) if email else None

    def _signed_by_google(self) -> dict[str, Any]:
        """Return the arguments with which Google signs: whose key, and the token that permits it."""
        from google.auth.transport.requests import Request

        with self._lock:
            if not self.credentials.valid:
                # Also replaces the alias `default` by the name of the service account.
                self.credentials.refresh(Request())
        return {"service_account_email": self._service_account(), "access_token": self.credentials.token}


def _reasons(error: Exception) -> set[str]:
    """Return Google's words for why a call was refused."""
    errors = getattr(error, "errors", None)
    return {str(each.get("reason")) for each in errors or () if isinstance(each, dict)}


def _version(blob: Any) -> str:
    # A composite object has no MD5.
    return str(blob.md5_hash or f"generation-{blob.generation}")


def _generation(found: Found) -> int | None:
    return int(found.object_version) if found.object_version else None


@contextmanager
def naming_errors(
    store: PictureStore,
    doing: str,
    address: PictureAddress | None = None,
    is_lost: Callable[[PictureAddress], bool] | None = None,
) -> Iterator[None]:
    """
    Convert an error of Google's libraries into one that says what it is about.

    :param is_lost: says of a refused object whether the connection can read no other one either
    """
    from google.api_core.exceptions import Forbidden, NotFound, TooManyRequests, Unauthorized
    from google.auth.exceptions import RefreshError, TransportError

    try:
        yield
    except GoEnhanceError:
        raise
    except NotFound:
        if address is not None:
            raise not_found(address, store) from None
        raise InputStoreError(
            f"{store.name} cannot {doing}: there is no such bucket. Nothing was sent."
        ) from None
    except (Forbidden, Unauthorized, RefreshError) as error:
        said, reasons = excerpt(str(error)), _reasons(error)
        if address is not None and is_lost is not None and _OF_ONE_OBJECT in reasons and not is_lost(address):
            raise not_allowed(address, store, said, _ROLES) from None
        if reasons & _RATE_LIMITED:
            raise InputStoreUnavailableError(
                f"{store.name} cannot {doing}: {said} Nothing was sent."
            ) from None
        raise InputStoreError(f"{store.name} cannot {doing}: {said} Nothing was sent. {_ROLES}") from None
    except (TransportError, TooManyRequests, OSError) as error:
        raise InputStoreUnavailableError(
            f"{store.name} cannot {doing}: {excerpt(str(error))} Nothing was sent."
        ) from None
    except Exception as error:
        kind = (
            InputStoreUnavailableError
            if getattr(error, "code", 0) in {500, 502, 503, 504}
            else InputStoreError
        )
        raise kind(f"{store.name} cannot {doing}: {excerpt(str(error))} Nothing was sent.") from error
