# SPDX-License-Identifier: Apache-2.0
"""C2PA claims with a certificate of our own making."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from airflow_provider_goenhance.exceptions import CollectError
from airflow_provider_goenhance.pictures import c2pa_signing
from airflow_provider_goenhance.pictures.c2pa_signing import SigningCredentials, sign_picture
from airflow_provider_goenhance.pictures.formats.mark import mark_picture
from airflow_provider_goenhance.pictures.formats.xmp import DIGITAL_SOURCE_TYPE, read_properties
from airflow_provider_goenhance.pictures.verify import identify_picture
from tests.unit.pictures.certificates import signing_credentials
from tests.unit.pictures.claims import read_claim
from tests.unit.pictures.pictures import FORMATS, MARK, READERS, encoded, pixels

pytest.importorskip("c2pa", reason="the extra c2pa is not installed")


@pytest.fixture(scope="module")
def credentials() -> SigningCredentials:
    return signing_credentials()


@pytest.fixture(params=list(FORMATS))
def picture(request: pytest.FixtureRequest) -> bytes:
    return encoded(request.param)


def _actions(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        action
        for assertion in manifest["assertions"]
        if assertion["label"].startswith("c2pa.actions")
        for action in assertion["data"]["actions"]
    ]


def test_a_claim_says_opened_then_edited_with_a_model(
    picture: bytes, credentials: SigningCredentials
) -> None:
    manifest = read_claim(sign_picture(picture, credentials, system="GoEnhance"))
    assert manifest is not None
    assert manifest["validation_state"] == "Valid"
    opened, edited = _actions(manifest)
    assert opened["action"] == "c2pa.opened"
    assert "digitalSourceType" not in opened
    assert edited["action"] == "c2pa.edited"
    assert edited["digitalSourceType"] == DIGITAL_SOURCE_TYPE
    assert edited["softwareAgent"] == {"name": "GoEnhance"}
    assert [i["relationship"] for i in manifest["ingredients"]] == ["parentOf"]
    assert manifest["signature_info"]["common_name"] == "Test signer"


def test_marked_first_and_signed_after_both_can_be_read(
    picture: bytes, credentials: SigningCredentials
) -> None:
    outcome, marked = mark_picture(picture)
    assert outcome == "marked"
    after = sign_picture(marked, credentials)
    kind = identify_picture(after).kind
    packet = READERS[kind].read_xmp(after)
    assert packet is not None
    assert read_properties(packet) == MARK
    assert pixels(after) == pixels(picture)
    manifest = read_claim(after)
    assert manifest is not None
    assert manifest["validation_state"] == "Valid"


def test_a_signed_picture_still_validates_after_our_hands(
    picture: bytes, credentials: SigningCredentials
) -> None:
    signed = sign_picture(picture, credentials)
    assert mark_picture(signed) == ("left_whole", signed)
    manifest = read_claim(signed)
    assert manifest is not None
    assert manifest["validation_state"] == "Valid"


def test_signing_what_was_signed_keeps_the_older_manifest_as_the_parents(
    picture: bytes, credentials: SigningCredentials
) -> None:
    once = sign_picture(picture, credentials, system="the vendor")
    first, second = read_claim(once), read_claim(sign_picture(once, credentials))
    assert first is not None
    assert second is not None
    assert second["validation_state"] == "Valid"
    assert second["ingredients"][0]["active_manifest"] == first["label"]
    assert [a["action"] for a in _actions(second)] == ["c2pa.opened", "c2pa.edited"]


def test_a_picture_changed_after_signing_no_longer_validates(
    picture: bytes, credentials: SigningCredentials
) -> None:
    """The reader that the other tests rely on does see a change."""
    signed = sign_picture(picture, credentials)
    manifest = read_claim(READERS[identify_picture(signed).kind].write_xmp(signed, b"<changed/>"))
    assert manifest is not None
    assert manifest["validation_state"] == "Invalid"


def test_a_picture_without_a_claim_has_none(picture: bytes) -> None:
    assert read_claim(picture) is None


def _bad_credentials() -> dict[str, SigningCredentials]:
    good = signing_credentials()
    return {
        "no PEM": SigningCredentials("x", "y"),
        "key of another certificate": dataclasses.replace(
            good, private_key=signing_credentials().private_key
        ),
        "wrong algorithm for the key": dataclasses.replace(good, algorithm="ps256"),
        "expired": signing_credentials(days=-1),
    }


@pytest.mark.parametrize(
    "what", ["no PEM", "key of another certificate", "wrong algorithm for the key", "expired"]
)
def test_bad_credentials_are_an_error_without_the_private_key(picture: bytes, what: str) -> None:
    credentials = _bad_credentials()[what]
    with pytest.raises(CollectError) as caught:
        sign_picture(picture, credentials)
    assert caught.value.error_code == "not_signed"
    for line in credentials.private_key.splitlines()[1:-1]:
        assert line not in str(caught.value)


def test_an_unknown_algorithm_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="must be one of es256"):
        SigningCredentials("x", "y", algorithm="rsa")


def test_the_private_key_is_not_shown() -> None:
    assert "SECRET" not in repr(SigningCredentials("chain", "SECRET"))


def test_without_the_extra_the_error_says_what_to_install(
    picture: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(c2pa_signing.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CollectError, match=r"airflow-provider-goenhance\[c2pa\]"):
        sign_picture(picture, SigningCredentials("x", "y"))
