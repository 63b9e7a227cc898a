# SPDX-License-Identifier: Apache-2.0
"""From an Airflow connection to what a C2PA claim is signed with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import BaseHook

if TYPE_CHECKING:
    from ..collect.claim import SigningCredentials


def signing_credentials(conn_id: str) -> SigningCredentials:
    """
    Read signing credentials: the password is the private key (PEM, PKCS #8).

    The extra holds ``certificate_chain`` (PEM, the signing certificate first) and optionally ``algorithm`` (default
    ``es256``) and ``timestamp_url`` (a time-stamping authority, RFC 3161).

    :param conn_id: id of a connection of any type
    :raises ValueError: when key or certificates are missing, or the algorithm is not one of C2PA's
    """
    from ..collect.claim import SigningCredentials

    conn = BaseHook.get_connection(conn_id)
    extra = conn.extra_dejson
    chain, key = str(extra.get("certificate_chain") or ""), conn.password or ""
    if "BEGIN CERTIFICATE" not in chain or "PRIVATE KEY" not in key:
        raise ValueError(
            f"Connection {conn_id!r} cannot sign pictures: its password must be a private key and its extra field "
            "certificate_chain the certificates, both in PEM."
        )
    return SigningCredentials(
        certificate_chain=chain,
        private_key=key,
        algorithm=str(extra.get("algorithm") or "es256"),
        timestamp_url=extra.get("timestamp_url") or None,
    )
