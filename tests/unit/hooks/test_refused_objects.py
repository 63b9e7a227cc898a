# SPDX-License-Identifier: Apache-2.0
"""One object that Google or Azure refuses fails its row alone; what refuses all of them stops the task."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_goenhance.exceptions import (
    InputError,
    InputStoreError,
    InputStoreUnavailableError,
)
from airflow_provider_goenhance.inputs.stores import Readability
from airflow_provider_goenhance.picture_address import PictureAddress, read_address


def address(uri: str) -> PictureAddress:
    found = read_address(uri)
    assert found is not None
    return found


def answered(error: Exception, uri: str, *, is_lost: bool, of: Any) -> Exception:
    """Return what an error of a library becomes."""
    store, where = SimpleNamespace(name="The store"), address(uri)
    with (
        pytest.raises((InputError, InputStoreError)) as caught,
        of(store, f"show {where}", where, lambda _: is_lost),
    ):
        raise error
    return caught.value


@pytest.mark.parametrize(
    ("reason", "is_lost", "expected"),
    [
        ("forbidden", False, InputError),
        ("forbidden", True, InputStoreError),
        ("insufficientPermissions", False, InputStoreError),
        ("accountDisabled", False, InputStoreError),
        ("rateLimitExceeded", False, InputStoreUnavailableError),
    ],
)
def test_a_403_of_google_is_about_the_object_only_if_it_says_so(
    reason: str, is_lost: bool, expected: type[Exception]
) -> None:
    exceptions = pytest.importorskip("google.api_core.exceptions", reason="the extra gcs is not installed")
    from airflow_provider_goenhance.hooks.signers_gcs import naming_errors

    error = exceptions.Forbidden("no access", errors=[{"reason": reason}])
    found = answered(error, "gs://pictures/a.jpg", is_lost=is_lost, of=naming_errors)
    assert type(found) is expected


@pytest.mark.parametrize(
    ("status", "code", "is_lost", "expected"),
    [
        (403, "AuthorizationPermissionMismatch", False, "input_not_allowed"),
        (403, "AuthorizationPermissionMismatch", True, "input_store"),
        (403, "AuthorizationFailure", False, "input_store"),
        (409, "BlobArchived", False, "input_unusable"),
        (503, "ServerBusy", False, "input_store_unavailable"),
    ],
)
def test_a_refusal_of_azure_is_about_the_blob_only_if_it_says_so(
    status: int, code: str, is_lost: bool, expected: str
) -> None:
    exceptions = pytest.importorskip("azure.core.exceptions", reason="the extra azure is not installed")
    from airflow_provider_goenhance.hooks.signers_azure import naming_errors

    error = exceptions.HttpResponseError("no")
    error.status_code, error.error_code = status, code
    found: Any = answered(error, "abfs://pictures/a.jpg", is_lost=is_lost, of=naming_errors)
    assert found.error_code == expected


def test_an_object_is_at_fault_if_another_one_of_its_bucket_can_be_read() -> None:
    tried: list[str] = []

    def can_read(_: str, key: str) -> bool:
        tried.append(key)
        return key == "c.jpg"

    readable = Readability(lambda _: ["a.jpg", "b.jpg", "c.jpg", "d.jpg"], can_read)
    assert not readable.is_lost(address("s3://pictures/a.jpg"))
    assert not readable.is_lost(address("s3://pictures/e.jpg"))
    assert tried == ["b.jpg", "c.jpg"]  # Tried once for the bucket, and not the refused one.
