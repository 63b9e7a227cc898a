# SPDX-License-Identifier: Apache-2.0
"""A link lives as long as the vendor may queue its job, or the run says that it does not."""

from __future__ import annotations

import logging

import pytest

from airflow_provider_goenhance.exceptions import ErrorCode, InputError, InputStoreError
from airflow_provider_goenhance.inputs.sign import LinkSigner
from airflow_provider_goenhance.inputs.stores import Found
from airflow_provider_goenhance.picture_address import PictureAddress, read_address

from .fake_store import FakeStore

HOUR = 3600.0


def address(url: str = "s3://bucket/face.jpg") -> PictureAddress:
    found = read_address(url)
    assert found is not None
    return found


def sign(store: FakeStore, *, seconds: float = 12 * HOUR, least: float = HOUR) -> LinkSigner:
    signer = LinkSigner(seconds, least)
    signer.sign(store, address(), Found("v"))
    return signer


def test_a_link_lives_for_twelve_hours() -> None:
    store = FakeStore()
    sign(store)
    assert store.signed_for == [12 * HOUR]


def test_no_store_signs_for_more_than_a_week() -> None:
    store = FakeStore()
    sign(store, seconds=30 * 24 * HOUR)
    assert store.signed_for == [7 * 24 * HOUR]


def test_credentials_that_end_sooner_shorten_it_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    store = FakeStore(lives=3 * HOUR)
    with caplog.at_level(logging.WARNING):
        sign(store).sign(store, address(), Found("v"))
    assert store.signed_for == [3 * HOUR, 3 * HOUR]
    (warning,) = caplog.messages
    assert "valid for 3.0 h only" in warning
    assert "12.0 h are wanted" in warning


def test_a_link_that_would_end_before_the_job_may_is_refused() -> None:
    with pytest.raises(InputStoreError, match=r"valid for 50 min.*may take 1.0 h \(timeout\)") as caught:
        sign(FakeStore(lives=3000))
    assert caught.value.error_code == ErrorCode.LINK_TOO_SHORT
    assert not caught.value.retryable


def test_a_link_that_is_too_long_for_the_vendor_fails_its_row_without_being_quoted() -> None:
    with pytest.raises(InputError, match="characters long, more than the 2048") as caught:
        LinkSigner(HOUR, 60).sign(FakeStore(), address(f"s3://bucket/{'k' * 2000}.jpg"), Found("v" * 100))
    assert "Signature" not in str(caught.value)
