# SPDX-License-Identifier: Apache-2.0
"""C2PA claims with a certificate of our own making."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_goenhance.exceptions import CollectError
from airflow_provider_goenhance.pictures import c2pa_signing
from airflow_provider_goenhance.pictures.c2pa_signing import SigningCredentials, read_claim, sign_picture
from airflow_provider_goenhance.pictures.formats.mark import mark_picture
from airflow_provider_goenhance.pictures.formats.xmp import DIGITAL_SOURCE_TYPE
from airflow_provider_goenhance.pictures.verify import identify_picture
from tests.unit.pictures.certificates import signing_credentials
from tests.unit.pictures.formats.test_mark import MARK, READERS, read_properties
from tests.unit.pictures.pictures import FORMATS, encoded, pixels

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("c2pa", reason="the extra c2pa is not installed")


@pytest.fixture(scope="module")
def credentials() -> SigningCredentials:
    return signing_credentials()


@pytest.fixture(params=list(FORMATS))
def picture(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "p"
    path.write_bytes(encoded(request.param))
    return path


def _actions(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        action
        for assertion in manifest["assertions"]
        if assertion["label"].startswith("c2pa.actions")
        for action in assertion["data"]["actions"]
    ]


def test_a_claim_says_opened_then_edited_with_a_model(picture: Path, credentials: SigningCredentials) -> None:
    assert sign_picture(picture, credentials, system="GoEnhance") == "Valid"
    manifest = read_claim(picture)
    assert manifest is not None
    opened, edited = _actions(manifest)
    assert opened["action"] == "c2pa.opened"
    assert "digitalSourceType" not in opened
    assert edited["action"] == "c2pa.edited"
    assert edited["digitalSourceType"] == DIGITAL_SOURCE_TYPE
    assert edited["softwareAgent"] == {"name": "GoEnhance"}
    assert [i["relationship"] for i in manifest["ingredients"]] == ["parentOf"]
    assert manifest["signature_info"]["common_name"] == "Test signer"


def test_marked_first_and_signed_after_both_can_be_read(
    picture: Path, credentials: SigningCredentials
) -> None:
    before = picture.read_bytes()
    assert mark_picture(picture) == "marked"
    sign_picture(picture, credentials)
    after = picture.read_bytes()
    kind = identify_picture(picture).kind
    packet = READERS[kind].read_xmp(after)
    assert packet is not None
    assert read_properties(packet) == MARK
    assert pixels(after) == pixels(before)
    manifest = read_claim(picture)
    assert manifest is not None
    assert manifest["validation_state"] == "Valid"


def test_a_signed_picture_still_validates_after_our_hands(
    picture: Path, credentials: SigningCredentials
) -> None:
    sign_picture(picture, credentials)
    before = picture.read_bytes()
    assert mark_picture(picture) == "left_whole"
    assert picture.read_bytes() == before
    manifest = read_claim(picture)
    assert manifest is not None
    assert manifest["validation_state"] == "Valid"


def test_signing_what_was_signed_keeps_the_older_manifest_as_the_parents(
    picture: Path, credentials: SigningCredentials
) -> None:
    sign_picture(picture, credentials, system="the vendor")
    first = read_claim(picture)
    assert sign_picture(picture, credentials) == "Valid"
    second = read_claim(picture)
    assert first is not None
    assert second is not None
    assert second["ingredients"][0]["active_manifest"] == first["label"]
    assert [a["action"] for a in _actions(second)] == ["c2pa.opened", "c2pa.edited"]


def test_a_picture_changed_after_signing_no_longer_validates(
    picture: Path, credentials: SigningCredentials
) -> None:
    """The reader that the other tests rely on does see a change."""
    sign_picture(picture, credentials)
    data = picture.read_bytes()
    kind = identify_picture(picture).kind
    picture.write_bytes(READERS[kind].write_xmp(data, b"<changed/>"))
    manifest = read_claim(picture)
    assert manifest is not None
    assert manifest["validation_state"] == "Invalid"


def test_a_picture_without_a_claim_has_none(picture: Path) -> None:
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
def test_bad_credentials_are_an_error_and_the_picture_stays(picture: Path, what: str) -> None:
    credentials = _bad_credentials()[what]
    before = picture.read_bytes()
    with pytest.raises(CollectError) as caught:
        sign_picture(picture, credentials)
    assert caught.value.error_code == "not_signed"
    assert picture.read_bytes() == before
    assert list(picture.parent.iterdir()) == [picture]
    for line in credentials.private_key.splitlines()[1:-1]:
        assert line not in str(caught.value)


def test_an_unknown_algorithm_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="use one of es256"):
        SigningCredentials("x", "y", algorithm="rsa")


def test_the_private_key_is_not_shown() -> None:
    assert "SECRET" not in repr(SigningCredentials("chain", "SECRET"))


def test_without_the_extra_the_error_says_what_to_install(
    picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(c2pa_signing.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CollectError, match=r"airflow-provider-goenhance\[c2pa\]"):
        sign_picture(picture, SigningCredentials("x", "y"))
