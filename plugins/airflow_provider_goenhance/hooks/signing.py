# SPDX-License-Identifier: Apache-2.0
"""From an Airflow connection to what a C2PA claim is signed with."""

from __future__ import annotations

import dataclasses
import io
import re
import textwrap
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import BaseHook

from ..exceptions import CollectError

if TYPE_CHECKING:
    from ..pictures.c2pa_signing import SigningCredentials

_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)


def signing_credentials(conn_id: str | None) -> SigningCredentials | None:
    """
    Read signing credentials, and prove them on a picture of our own before anything is paid for.

    The connection's password is the private key (PEM, PKCS #8). Its extra holds ``certificate_chain`` (PEM, the
    signing certificate first) and optionally ``algorithm`` (default ``es256``) and ``timestamp_url`` (a time-stamping
    authority, RFC 3161; not asked here).

    :param conn_id: id of a connection of any type; without one nothing is signed
    :raises ValueError: when key and certificates are missing or cannot sign a claim, or the extra ``c2pa`` is not
        installed
    """
    from ..pictures.c2pa_signing import SigningCredentials

    if not conn_id:
        return None
    conn = BaseHook.get_connection(conn_id)
    extra = conn.extra_dejson
    chain, key = _pem(str(extra.get("certificate_chain") or "")), _pem(conn.password or "")
    if "BEGIN CERTIFICATE" not in chain or "PRIVATE KEY" not in key:
        raise _unusable(
            conn_id,
            "its password must be a private key and its extra field certificate_chain the certificates, both in PEM.",
        )
    try:
        credentials = SigningCredentials(
            certificate_chain=chain,
            private_key=key,
            algorithm=str(extra.get("algorithm") or "es256"),
            timestamp_url=extra.get("timestamp_url") or None,
        )
        _sign_one(dataclasses.replace(credentials, timestamp_url=None))
    except (CollectError, ValueError) as error:
        raise _unusable(conn_id, str(error)) from None
    return credentials


def _unusable(conn_id: str, why: str) -> ValueError:
    return ValueError(
        f"Connection {conn_id!r} cannot sign pictures: {why} Nothing is submitted or collected until it can."
    )


def _pem(text: str) -> str:
    r"""Give PEM its line breaks back: a one-line form field loses them, or they come as ``\n``."""
    blocks = _PEM.findall(text.replace("\\n", "\n"))
    return "".join(
        f"-----BEGIN {label}-----\n{textwrap.fill(''.join(body.split()), 64)}\n-----END {label}-----\n"
        for label, body in blocks
    )


def _sign_one(credentials: SigningCredentials) -> None:
    """Sign a picture of one pixel: what fails here would fail on every picture that is paid for."""
    from PIL import Image

    from ..pictures.c2pa_signing import sign_picture

    picture = io.BytesIO()
    Image.new("RGB", (1, 1)).save(picture, "PNG")
    sign_picture(picture.getvalue(), credentials)
