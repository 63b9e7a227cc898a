# SPDX-License-Identifier: Apache-2.0
"""
Sign what was done to a picture: a C2PA claim with the user's own certificate.

The claim says that an existing picture was opened and edited with a trained model, never that it was created:
``c2pa.created`` would be false. Sign last; any later change of the file invalidates the claim.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_provider_goenhance.exceptions import CollectError
from airflow_provider_goenhance.pictures.formats.xmp import DIGITAL_SOURCE_TYPE
from airflow_provider_goenhance.pictures.verify import kind_of_bytes

from ..exceptions import ErrorCode

ALGORITHMS = ("es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519")

_GOOD = frozenset({"Valid", "Trusted"})
# Nothing is fetched from the network while signing or checking, and no preview swells the file.
_SETTINGS = {
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
    "builder": {"thumbnail": {"enabled": False}},
}


@dataclass(frozen=True)
class SigningCredentials:
    """
    What a claim is signed with.

    :param certificate_chain: PEM, the signing certificate first, its issuers after it
    :param private_key: PEM (PKCS #8) of the signing certificate's key
    :param algorithm: one of :data:`ALGORITHMS`
    :param timestamp_url: address of a time-stamping authority (RFC 3161); without one the claim ends to be
        valid when the certificate expires
    """

    certificate_chain: str
    private_key: str = field(repr=False)
    algorithm: str = "es256"
    timestamp_url: str | None = None

    def __post_init__(self) -> None:
        if self.algorithm not in ALGORITHMS:
            raise ValueError(
                f"{self.algorithm!r} is no signing algorithm of C2PA; use one of {', '.join(ALGORITHMS)}."
            )


def sign_picture(path: Path, credentials: SigningCredentials, *, system: str = "GoEnhance") -> str:
    """
    Sign a claim into a picture and read it back.

    A manifest that the picture carried already is kept inside as that of its parent.

    :param path: JPEG, PNG or WebP; replaced as a whole once the claim has been read back and found good
    :param credentials: certificate and key
    :param system: the name of the AI system, written as the action's software agent
    :return: the validation state read back: ``Valid``, or ``Trusted`` if the certificate is on a trust list
    :raises CollectError: ``not_signed``; the picture is then as it was
    """
    c2pa = _library()
    mime_type = f"image/{kind_of_bytes(path.read_bytes()[:12])}"
    failure: str
    with tempfile.TemporaryDirectory(dir=path.parent, ignore_cleanup_errors=True) as folder:
        signed = Path(folder, path.name)
        try:
            _sign(c2pa, path, signed, mime_type, credentials, system)
            state = _check(c2pa, signed, mime_type)
        except (c2pa.C2paError, OSError, ValueError) as error:
            failure = str(error)
        else:
            if state in _GOOD:
                signed.replace(path)
                return state
            failure = f"read back, the claim is {state or 'missing'}"
    raise CollectError(f"The C2PA claim could not be signed: {failure}.", error_code=ErrorCode.NOT_SIGNED)


def read_claim(path: Path) -> dict[str, Any] | None:
    """
    Read the active manifest of a picture, with its ``validation_state``; nothing if it has none.

    :param path: the picture
    :raises CollectError: ``claim_unreadable``
    """
    c2pa = _library()
    mime_type = f"image/{kind_of_bytes(path.read_bytes()[:12])}"
    failure: str
    try:
        return _read(c2pa, path, mime_type)
    except c2pa.C2paError as error:
        failure = str(error)
    raise CollectError(f"The C2PA claim cannot be read: {failure}.", error_code=ErrorCode.CLAIM_UNREADABLE)


def manifest_for(system: str) -> dict[str, Any]:
    """Give the manifest definition; the opened action and the parent come from the EDIT intent."""
    return {
        "claim_generator_info": [{"name": "airflow-provider-goenhance", "version": _version()}],
        "assertions": [
            {
                "label": "c2pa.actions.v2",
                "data": {
                    "actions": [
                        {
                            "action": "c2pa.edited",
                            "digitalSourceType": DIGITAL_SOURCE_TYPE,
                            "softwareAgent": {"name": system},
                            "description": "face swap",
                        }
                    ]
                },
            }
        ],
    }


def _sign(
    c2pa: Any, path: Path, signed: Path, mime_type: str, credentials: SigningCredentials, system: str
) -> None:
    info = c2pa.C2paSignerInfo(
        credentials.algorithm,
        credentials.certificate_chain.encode(),
        credentials.private_key.encode(),
        credentials.timestamp_url,
    )
    with (
        c2pa.Context.from_dict(_SETTINGS) as context,
        c2pa.Signer.from_info(info) as signer,
        c2pa.Builder(manifest_for(system), context=context) as builder,
        path.open("rb") as source,
        signed.open("w+b") as target,
    ):
        builder.set_intent(c2pa.C2paBuilderIntent.EDIT)
        builder.sign(signer, mime_type, source, target)


def _check(c2pa: Any, path: Path, mime_type: str) -> str | None:
    """Read back the claim and give its state, ``None`` unless it says opened, then edited, and nothing else."""
    manifest = _read(c2pa, path, mime_type)
    if manifest is None:
        return None
    actions = [
        action["action"]
        for assertion in manifest["assertions"]
        if assertion["label"].startswith("c2pa.actions")
        for action in assertion["data"]["actions"]
    ]
    if actions != ["c2pa.opened", "c2pa.edited"]:
        return f"not what was meant: {', '.join(actions)}"
    state: str | None = manifest["validation_state"]
    return state


def _read(c2pa: Any, path: Path, mime_type: str) -> dict[str, Any] | None:
    with c2pa.Context.from_dict(_SETTINGS) as context, path.open("rb") as stream:
        reader = c2pa.Reader.try_create(mime_type, stream, context=context)
        if reader is None:
            return None
        with reader:
            store = json.loads(reader.json())
            active: dict[str, Any] = store["manifests"][store["active_manifest"]]
            return {**active, "validation_state": store.get("validation_state")}


def _library() -> Any:
    if importlib.util.find_spec("c2pa") is None:
        raise CollectError(
            "Signing C2PA claims needs c2pa-python: pip install 'airflow-provider-goenhance[c2pa]'.",
            error_code=ErrorCode.NOT_SIGNED,
        )
    return importlib.import_module("c2pa")


def _version() -> str:
    from airflow_provider_goenhance import __version__

    return __version__
