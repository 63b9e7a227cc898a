# SPDX-License-Identifier: Apache-2.0
"""
Assets of the scheme ``goenhance``: the results of a Dag, as ``goenhance://<account>/<Dag>``.

Airflow imports this module when a Dag file has an asset with such a URI.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from urllib.parse import SplitResult

    from airflow.sdk import Asset

SCHEME = "goenhance"


def create_asset(*, account: str, dag_id: str, extra: dict[str, Any] | None = None) -> Asset:
    """
    Return the asset of the results of a Dag.

    :param account: name of the account, such as ``account_name`` of its connection
    :param dag_id: the Dag that reports them
    """
    from airflow.providers.common.compat.sdk import Asset

    return Asset(uri=f"{SCHEME}://{account}/{dag_id}", extra=extra or {})


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """
    Return the URI of an asset in its one spelling.

    :raises ValueError: when it names no account and Dag, or could hold a secret
    """
    # The URI itself may hold a secret, and is not repeated.
    if "@" in uri.netloc or uri.query:
        raise ValueError(
            f"The URI of a {SCHEME} asset must have no user, password or query, which could be secrets. Use "
            f"{SCHEME}://<account name>/<Dag id>."
        )
    path = uri.path.strip("/")
    if not uri.netloc or not path or "/" in path:
        raise ValueError(
            f"The URI of a {SCHEME} asset must be {SCHEME}://<account name>/<Dag id>; got "
            f"{SCHEME}://{uri.netloc}{uri.path}."
        )
    return uri._replace(netloc=uri.netloc.lower(), path=f"/{path}")


def convert_asset_to_openlineage(asset: Asset, lineage_context: Any) -> Any:
    """Return an asset as a dataset of OpenLineage."""
    from urllib.parse import urlsplit

    from airflow.providers.common.compat.openlineage.facet import Dataset

    parts = urlsplit(str(asset.uri))
    return Dataset(namespace=f"{SCHEME}://{parts.netloc}", name=parts.path.strip("/"))
