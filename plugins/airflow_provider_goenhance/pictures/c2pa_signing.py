# SPDX-License-Identifier: Apache-2.0
"""
Sign a C2PA claim into a picture, with the user's own certificate.

The claim states that an existing picture was opened and edited with a trained model, never that it was created:
``c2pa.created`` would be false. Sign last; any later change of the file invalidates the claim.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import json
from dataclasses import dataclass, field
from typing import Any

from ..exceptions import CollectError, ErrorCode
from .formats.xmp import DIGITAL_SOURCE_TYPE
from .kinds import HEAD, kind_of_bytes

ALGORITHMS = ("es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519")

#: Kinds of pictures that can carry a claim.
SIGNABLE = frozenset({"jpeg", "png", "webp", "gif", "avif", "heic", "tiff"})

_GOOD = frozenset({"Valid", "Trusted"})
# Nothing is fetched from the network while signing or checking, and no preview swells the file.
_SETTINGS = {
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
    "builder": {"thumbnail": {"enabled": False}},
}


@dataclass(frozen=True)
class SigningCredentials:
    """
    Certificate and key that sign a claim.

    :param certificate_chain: PEM, the signing certificate first, its issuers after it
    :param private_key: PEM (PKCS #8) of the signing certificate's key
    :param algorithm: one of :data:`ALGORITHMS`
    :param timestamp_url: address of a time-stamping authority (RFC 3161); without one the claim is
        valid until the certificate expires
    """

    certificate_chain: str
    private_key: str = field(repr=False)
    algorithm: str = "es256"
    timestamp_url: str | None = None

    def __post_init__(self) -> None:
        if self.algorithm not in ALGORITHMS:
            raise ValueError(f"algorithm must be one of {', '.join(ALGORITHMS)}; got {self.algorithm!r}.")


def sign_picture(data: bytes, credentials: SigningCredentials, *, system: str = "GoEnhance") -> bytes:
    """
    Return a picture with a signed claim, which has been read back and found valid.

    An existing manifest is preserved as the parent's.

    :param data: content of a picture of a kind in :data:`SIGNABLE`
    :param credentials: certificate and key
    :param system: the name of the AI system, written as the action's software agent
    :raises CollectError: ``not_signed``
    """
    c2pa = _library()
    mime_type = f"image/{kind_of_bytes(data[:HEAD])}"
    failure: str
    try:
        signed = _sign(c2pa, data, mime_type, credentials, system)
        state = _check(c2pa, signed, mime_type)
    except (c2pa.C2paError, OSError, ValueError) as error:
        failure = str(error)
    else:
        if state in _GOOD:
            return signed
        failure = f"read back, the claim is {state or 'missing'}"
    raise CollectError(f"The C2PA claim could not be signed: {failure}.", error_code=ErrorCode.NOT_SIGNED)


def manifest_for(system: str) -> dict[str, Any]:
    """Return the manifest definition; the opened action and the parent come from the EDIT intent."""
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


def _sign(c2pa: Any, data: bytes, mime_type: str, credentials: SigningCredentials, system: str) -> bytes:
    info = c2pa.C2paSignerInfo(
        credentials.algorithm,
        credentials.certificate_chain.encode(),
        credentials.private_key.encode(),
        credentials.timestamp_url,
    )
    target = io.BytesIO()
    with (
        c2pa.Context.from_dict(_SETTINGS) as context,
        c2pa.Signer.from_info(info) as signer,
        c2pa.Builder(manifest_for(system), context=context) as builder,
    ):
        builder.set_intent(c2pa.C2paBuilderIntent.EDIT)
        builder.sign(signer, mime_type, io.BytesIO(data), target)
    return target.getvalue()


def _check(c2pa: Any, data: bytes, mime_type: str) -> str | None:
    """Return the state of the claim as read back, if its actions are opened, then edited, and no others."""
    manifest = _read(c2pa, data, mime_type)
    if manifest is None:
        return None
    actions = [
        action["action"]
        for assertion in manifest["assertions"]
        if assertion["label"].startswith("c2pa.actions")
        for action in assertion["data"]["actions"]
    ]
    if actions != ["c2pa.opened", "c2pa.edited"]:
        return f"one with unexpected actions: {', '.join(actions)}"
    state: str | None = manifest["validation_state"]
    return state


def _read(c2pa: Any, data: bytes, mime_type: str) -> dict[str, Any] | None:
    with c2pa.Context.from_dict(_SETTINGS) as context:
        reader = c2pa.Reader.try_create(mime_type, io.BytesIO(data), context=context)
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
