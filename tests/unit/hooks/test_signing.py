# SPDX-License-Identifier: Apache-2.0
"""The signing credentials of a connection are verified before anything is paid."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from typing import Any

import pytest
from airflow.exceptions import AirflowNotFoundException

from airflow_provider_goenhance.hooks.signing import signing_credentials
from airflow_provider_goenhance.pictures import c2pa_signing
from airflow_provider_goenhance.retry_policy import is_final
from tests.unit.pictures.certificates import signing_credentials as made_credentials

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("c2pa") is None, reason="the extra c2pa is not installed"
)

GOOD = made_credentials()
OTHER = made_credentials()


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Define the connection ``signer``; its key and chain are good unless others are given."""

    def define(*, key: str = GOOD.private_key, chain: str = GOOD.certificate_chain, **extra: Any) -> str:
        fields = {"conn_type": "generic", "password": key, "extra": {"certificate_chain": chain, **extra}}
        monkeypatch.setenv("AIRFLOW_CONN_SIGNER", json.dumps(fields))
        return "signer"

    return define


@pytest.mark.parametrize(
    "damage",
    [
        lambda pem: pem,
        lambda pem: pem.replace("\n", "\\n"),
        lambda pem: pem.replace("\n", ""),  # what a form field of one line leaves of it
        lambda pem: "Bag Attributes\n  friendlyName: x\n" + pem.replace("\n", "\r\n"),
    ],
)
def test_key_and_certificates_are_read_however_their_lines_were_broken(
    connection: Callable[..., str], damage: Callable[[str], str]
) -> None:
    read = signing_credentials(connection(key=damage(GOOD.private_key), chain=damage(GOOD.certificate_chain)))

    assert read == GOOD


def test_the_time_stamping_authority_is_taken_over_and_not_asked_for_the_proof(
    connection: Callable[..., str],
) -> None:
    read = signing_credentials(connection(timestamp_url="http://127.0.0.1:9/tsa"))

    assert read is not None
    assert read.timestamp_url == "http://127.0.0.1:9/tsa"


def test_without_a_connection_nothing_is_signed() -> None:
    assert signing_credentials(None) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"key": ""},
        {"key": "a passphrase"},
        {"chain": ""},
        {"chain": GOOD.private_key},
        {"key": GOOD.certificate_chain},
        {"key": OTHER.private_key},  # of another certificate
        {"key": GOOD.private_key.replace("M", "A", 8)},
        {"chain": made_credentials(days=-1).certificate_chain},  # and of another key besides
        {"algorithm": "es384"},
        {"algorithm": "rot13"},
    ],
)
def test_what_cannot_sign_is_an_error_that_names_the_connection_and_no_secret(
    connection: Callable[..., str], fields: dict[str, str]
) -> None:
    with pytest.raises(ValueError, match="Connection 'signer' cannot sign pictures: ") as caught:
        signing_credentials(connection(**fields))

    assert is_final(caught.value)
    assert str(caught.value).endswith("Correct it; nothing is submitted or collected until then.")
    for line in fields.get("key", GOOD.private_key).splitlines()[1:-1]:
        assert line not in str(caught.value)


def test_a_certificate_that_has_expired_cannot_sign(connection: Callable[..., str]) -> None:
    expired = made_credentials(days=-1)

    with pytest.raises(ValueError, match="Connection 'signer' cannot sign pictures"):
        signing_credentials(connection(key=expired.private_key, chain=expired.certificate_chain))


def test_without_the_extra_the_error_says_what_to_install(
    connection: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(c2pa_signing.importlib.util, "find_spec", lambda name: None)

    with pytest.raises(ValueError, match=r"pip install 'airflow-provider-goenhance\[c2pa\]'"):
        signing_credentials(connection())


def test_a_connection_that_does_not_exist_is_named() -> None:
    with pytest.raises(AirflowNotFoundException, match="no_such_signer"):
        signing_credentials("no_such_signer")
