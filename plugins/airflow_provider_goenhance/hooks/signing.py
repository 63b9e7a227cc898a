# SPDX-License-Identifier: Apache-2.0
"""Read the signing credentials for C2PA claims from an Airflow connection."""

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
    Read signing credentials, and verify them on a test picture before anything is paid.

    The connection's password is the private key (PEM, PKCS #8). Its extra holds ``certificate_chain`` (PEM, the
    signing certificate first) and optionally ``algorithm`` (default ``es256``) and ``timestamp_url`` (a time-stamping
    authority, RFC 3161; not called here).

    :param conn_id: id of a connection of any type; ``None`` signs nothing
    :raises ValueError: when key or certificates are missing or cannot sign a claim, or the extra ``c2pa`` is not
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
        f"Connection {conn_id!r} cannot sign pictures: {why} Correct it; nothing is submitted or collected until then."
    )


def _pem(text: str) -> str:
    r"""Restore the line breaks of PEM: a one-line form field loses them, or they arrive as ``\n``."""
    blocks = _PEM.findall(text.replace("\\n", "\n"))
    return "".join(
        f"-----BEGIN {label}-----\n{textwrap.fill(''.join(body.split()), 64)}\n-----END {label}-----\n"
        for label, body in blocks
    )


def _sign_one(credentials: SigningCredentials) -> None:
    """Sign a picture of one pixel: what fails here would fail for every paid picture."""
    from PIL import Image

    from ..pictures.c2pa_signing import sign_picture

    picture = io.BytesIO()
    Image.new("RGB", (1, 1)).save(picture, "PNG")
    sign_picture(picture.getvalue(), credentials)
