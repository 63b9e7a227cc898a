# SPDX-License-Identifier: Apache-2.0
"""Private pictures on S3, through the Amazon provider. Needs the extra ``s3``."""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..exceptions import (
    ErrorCode,
    GoEnhanceError,
    InputStoreError,
    InputStoreUnavailableError,
    InputUnavailableError,
)
from ..inputs.stores import LISTED_NAMES, MOST_BYTES, Found, Listing, not_found, too_large
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
_OVERWRITTEN_STATUS = 412
_REFUSED_STATUS = frozenset({301, 400, 401, 403, 404})


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
        self._begin()

    def _begin(self) -> None:
        """Read the connection and its credentials."""
        from airflow.providers.amazon.aws.hooks.s3 import S3Hook
        from botocore.config import Config

        with _naming_errors(self, "be opened"):
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
        with _naming_errors(self, f"show {address}", address):
            head = self._client_of(address).head_object(Bucket=address.container, Key=address.key)
        return Found(_etag(head), head.get("ContentLength"), _version(head))

    def list_from(self, address: PictureAddress, prefix: str) -> Listing:
        """Return objects whose keys begin with a prefix, from the address's own key on."""
        with _naming_errors(self, f"list {address.container}/{prefix}"):
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
        with _naming_errors(self, f"read {address}", address):
            answer = self._client_of(address).get_object(
                Bucket=address.container, Key=address.key, IfMatch=found.version, **version
            )
            data: bytes = answer["Body"].read(MOST_BYTES)
        return data

    def sign(self, address: PictureAddress, found: Found, seconds: int) -> str:
        """Return a link that is valid for some seconds, to the version that was looked at."""
        version = {"VersionId": found.object_version} if found.object_version else {}
        with _naming_errors(self, f"sign {address}"):
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
        with _naming_errors(self, f"find bucket {bucket}"):
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


def _has_no_signature(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("Signature")


def _etag(entry: dict[str, Any]) -> str:
    return str(entry.get("ETag") or "").strip('"') or f"size-{entry.get('ContentLength', entry.get('Size'))}"


def _version(head: dict[str, Any]) -> str | None:
    version = head.get("VersionId")
    return None if version in {None, "null"} else str(version)


def _lifetime(credentials: Any) -> float | None:
    # Only credentials that refresh themselves know when they end; others with a token do not say.
    end: dt.datetime | None = getattr(credentials, "_expiry_time", None)
    return None if end is None else (end - dt.datetime.now(dt.UTC)).total_seconds()


@contextmanager
def _naming_errors(store: PictureStore, doing: str, address: PictureAddress | None = None) -> Iterator[None]:
    """Convert an error of botocore into one that says what it is about."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except GoEnhanceError:
        raise
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if address is not None and code in _MISSING:
            raise not_found(address, store) from None
        if address is not None and status == _OVERWRITTEN_STATUS:
            raise InputUnavailableError(
                f"{address} was overwritten while it was read.", error_code=ErrorCode.INPUT_CHANGED
            ) from None
        said = f"{store.name} cannot {doing}: {code or status}. Nothing was sent."
        if status in _REFUSED_STATUS:
            raise InputStoreError(
                f"{said} Give the connection the permissions s3:GetObject and s3:ListBucket (without the latter, S3 "
                "calls a missing object forbidden)."
            ) from None
        raise InputStoreUnavailableError(said) from None
    except BotoCoreError as error:
        raise InputStoreUnavailableError(
            f"{store.name} cannot {doing}: {excerpt(str(error))} Nothing was sent."
        ) from None
    except Exception as error:
        raise InputStoreError(
            f"{store.name} cannot {doing}: {excerpt(str(error))}. Nothing was sent."
        ) from error
