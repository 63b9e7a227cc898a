# SPDX-License-Identifier: Apache-2.0
"""Private pictures on S3, through the Amazon provider. Needs the extra ``s3``."""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..exceptions import (
    ErrorCode,
    GoEnhanceError,
    InputError,
    InputStoreError,
    InputStoreUnavailableError,
    InputUnavailableError,
)
from ..inputs.stores import (
    LISTED_NAMES,
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

#: Seconds after which credentials that end are read from the connection again.
RENEW_SECONDS = 300
#: Calls at the same time.
CONNECTIONS = 32
#: botocore writes each signature into its own log, at the level DEBUG.
_SIGNING_LOG = "botocore.auth"
_MISSING = frozenset({"404", "NoSuchKey", "NoSuchVersion", "NotFound"})
_PERMISSIONS = (
    "Give the connection the permissions s3:GetObject and s3:ListBucket (without the latter, S3 calls a missing object "
    "forbidden), and kms:Decrypt for an object that is encrypted with a key of KMS."
)
_OVERWRITTEN_STATUS = 412
_REFUSED_STATUS = frozenset({301, 400, 401, 403, 404})
#: Codes about one object, of a request whose credentials were accepted. KMS has more, all of which begin alike.
_OF_ONE_OBJECT = frozenset({"AccessDenied", "InvalidObjectState", "InvalidRequest", "KeyTooLongError"})
#: Storage classes of which a copy has to be restored before it can be fetched.
_ARCHIVES = frozenset({"GLACIER", "DEEP_ARCHIVE"})


class S3Pictures:
    """
    The objects that one connection reaches.

    :param conn_id: the Airflow connection, ``None`` for the provider's default
    """

    can_sign = True
    lists = True

    def __init__(self, conn_id: str | None) -> None:
        from airflow.providers.amazon.aws.hooks.s3 import S3Hook

        # The same function each time, which a logger takes once.
        logging.getLogger(_SIGNING_LOG).addFilter(_has_no_signature)
        self._conn_id = conn_id or S3Hook.default_conn_name
        self.name = f"S3 through connection {self._conn_id!r}"
        self._lock = threading.RLock()
        self._regions: dict[str, str | None] = {}
        self._clients: dict[str | None, Any] = {}
        self._readability = Readability(self._some_keys, self._can_read)
        self._begin()

    def _begin(self) -> None:
        """Read the connection and its credentials."""
        from airflow.providers.amazon.aws.hooks.s3 import S3Hook
        from botocore.config import Config

        with naming_errors(self, "be opened"):
            hook = S3Hook(aws_conn_id=self._conn_id)
            # botocore signs with SigV2 where a region still offers it, which fails for encrypted objects.
            config = hook.config.merge(Config(signature_version="s3v4", max_pool_connections=CONNECTIONS))
            credentials = hook.get_session().get_credentials()
        if credentials is None:
            raise InputStoreError(
                f"{self.name} has no credentials. Nothing was sent. Put them into the connection, or into the "
                "environment of the worker."
            )
        self._hook, self._config, self._credentials = hook, config, credentials
        self._clients = {}
        self._begun = time.monotonic()

    def look(self, address: PictureAddress) -> Found:
        """Return what is there now."""
        with naming_errors(self, f"show {address}", address, self._readability.is_lost):
            head = self._head(address)
        self._readability.shown(address.container)
        if storage_class := _archive_of(head):
            raise archived(address, storage_class)
        return Found(_etag(head), head.get("ContentLength"), _version(head))

    def _head(self, address: PictureAddress) -> dict[str, Any]:
        from botocore.exceptions import ClientError

        client, where = self._client_of(address), {"Bucket": address.container, "Key": address.key}
        try:
            head: dict[str, Any] = client.head_object(**where)
        except ClientError as error:
            if _status(error) in {400, 403}:
                # The answer to a HEAD has no body, which says whether the object or the credentials are refused.
                client.get_object(**where, Range="bytes=0-0")["Body"].close()
            raise
        return head

    def _some_keys(self, bucket: str) -> list[str]:
        page = self._clients[self._regions[bucket]].list_objects_v2(
            Bucket=bucket, MaxKeys=TRIED_NEIGHBOURS + 1
        )
        return [entry["Key"] for entry in page.get("Contents") or []]

    def _can_read(self, bucket: str, key: str) -> bool:
        from botocore.exceptions import ClientError

        try:
            self._clients[self._regions[bucket]].head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            return _status(error) not in {400, 403}
        return True

    def list_from(self, address: PictureAddress, prefix: str) -> Listing:
        """Return objects whose keys begin with a prefix, from the address's own key on."""
        with naming_errors(self, f"list {address.container}/{prefix}"):
            page = self._client_of(address).list_objects_v2(
                Bucket=address.container,
                Prefix=prefix,
                # What sorts right before the key: a listing begins behind this name.
                StartAfter=address.key[:-1],
                MaxKeys=LISTED_NAMES,
            )
        objects = page.get("Contents") or []
        found = {entry["Key"]: Found(_etag(entry), entry.get("Size")) for entry in objects}
        more = page.get("IsTruncated") and objects
        return Listing(found, objects[-1]["Key"] if more else None)

    def read(self, address: PictureAddress, found: Found) -> bytes:
        """Return the content of a picture that was looked at."""
        if (found.size or 0) > MOST_BYTES:
            raise too_large(address)
        version = {"VersionId": found.object_version} if found.object_version else {}
        with naming_errors(self, f"read {address}", address, self._readability.is_lost):
            answer = self._client_of(address).get_object(
                Bucket=address.container, Key=address.key, IfMatch=found.version, **version
            )
            data: bytes = answer["Body"].read(MOST_BYTES)
        return data

    def sign(self, address: PictureAddress, found: Found, seconds: int) -> str:
        """Return a link that is valid for some seconds, to the version that was looked at."""
        version = {"VersionId": found.object_version} if found.object_version else {}
        with naming_errors(self, f"sign {address}"):
            # Not S3Hook.generate_presigned_url, which returns None for an error.
            link: str = self._client_of(address).generate_presigned_url(
                "get_object",
                Params={"Bucket": address.container, "Key": address.key, **version},
                ExpiresIn=seconds,
            )
        return link

    def credential_seconds(self) -> float | None:
        """Return for how many seconds the credentials live: a link ends with the token in it."""
        with self._lock:
            lives = _lifetime(self._credentials)
            if lives is not None and time.monotonic() - self._begun > RENEW_SECONDS:
                self._begin()
                lives = _lifetime(self._credentials)
            return lives

    def _client_of(self, address: PictureAddress) -> Any:
        """Return the client for a bucket: a link must be signed for the bucket's own region."""
        bucket = address.container
        with self._lock:
            if bucket not in self._regions:
                self._regions[bucket] = self._region_of(bucket)
            region = self._regions[bucket]
            if region not in self._clients:
                self._clients[region] = self._hook.get_client_type(region_name=region, config=self._config)
            return self._clients[region]

    def _region_of(self, bucket: str) -> str | None:
        from botocore.exceptions import ClientError

        region: str | None = self._hook.region_name
        client = self._hook.get_client_type(region_name=region or "us-east-1", config=self._config)
        with naming_errors(self, f"find bucket {bucket}"):
            try:
                answer = client.head_bucket(Bucket=bucket)
            except ClientError as error:
                answer = error.response
                if answer.get("ResponseMetadata", {}).get("HTTPStatusCode") == 404:
                    raise InputStoreError(
                        f"There is no bucket {bucket!r} ({self.name}). Nothing was sent. Correct the manifest, or "
                        "the endpoint of the connection."
                    ) from None
        # Also in the answer that refuses the call, or redirects it.
        headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        return headers.get("x-amz-bucket-region") or region or "us-east-1"


def _error_of_object(
    store: PictureStore,
    address: PictureAddress,
    code: str,
    status: int,
    is_lost: Callable[[PictureAddress], bool] | None,
) -> InputError | None:
    """Return the error for one object, ``None`` where the whole store is at fault."""
    if code in _MISSING:
        return not_found(address, store)
    if status == _OVERWRITTEN_STATUS:
        return InputUnavailableError(
            f"{address} was overwritten while it was read.", error_code=ErrorCode.INPUT_CHANGED
        )
    if is_lost is not None and _is_of_one_object(code) and not is_lost(address):
        return not_allowed(address, store, code, _PERMISSIONS)
    return None


def _is_of_one_object(code: str) -> bool:
    return code in _OF_ONE_OBJECT or code.startswith("KMS.")


def _has_no_signature(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("Signature")


def _etag(entry: dict[str, Any]) -> str:
    return str(entry.get("ETag") or "").strip('"') or f"size-{entry.get('ContentLength', entry.get('Size'))}"


def _archive_of(head: dict[str, Any]) -> str:
    """Return the class of an archived object without a restored copy, empty for others."""
    storage_class = head.get("StorageClass")
    archive = str(head.get("ArchiveStatus") or (storage_class if storage_class in _ARCHIVES else ""))
    return "" if 'ongoing-request="false"' in str(head.get("Restore")) else archive


def _status(error: Any) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _version(head: dict[str, Any]) -> str | None:
    version = head.get("VersionId")
    return None if version in {None, "null"} else str(version)


def _lifetime(credentials: Any) -> float | None:
    # Only credentials that refresh themselves know when they end; others with a token do not say.
    end: dt.datetime | None = getattr(credentials, "_expiry_time", None)
    return None if end is None else (end - dt.datetime.now(dt.UTC)).total_seconds()


@contextmanager
def naming_errors(
    store: PictureStore,
    doing: str,
    address: PictureAddress | None = None,
    is_lost: Callable[[PictureAddress], bool] | None = None,
) -> Iterator[None]:
    """
    Convert an error of botocore into one that says what it is about.

    :param is_lost: says of a refused object whether the connection can read no other one either
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except GoEnhanceError:
        raise
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = _status(error)
        if address is not None and (found := _error_of_object(store, address, code, status, is_lost)):
            raise found from None
        said = f"{store.name} cannot {doing}: {code or status}. Nothing was sent."
        if status in _REFUSED_STATUS:
            raise InputStoreError(f"{said} {_PERMISSIONS}") from None
        raise InputStoreUnavailableError(said) from None
    except BotoCoreError as error:
        raise InputStoreUnavailableError(
            f"{store.name} cannot {doing}: {excerpt(str(error))} Nothing was sent."
        ) from None
    except Exception as error:
        raise InputStoreError(
            f"{store.name} cannot {doing}: {excerpt(str(error))}. Nothing was sent."
        ) from error
