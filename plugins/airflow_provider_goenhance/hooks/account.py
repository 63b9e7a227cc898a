# SPDX-License-Identifier: Apache-2.0
"""From an Airflow connection to an account. One reading for the sync and the async hook."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..api.account import DEFAULT_MAX_CONCURRENCY, DEFAULT_REQUEST_TIMEOUT, Account
from ..api.models import DEFAULT_BASE_URL
from ..exceptions import TokenRefusedError

if TYPE_CHECKING:
    from airflow.sdk import Connection

#: Our own fields of the connection's extra.
ACCOUNT_FIELDS = ("max_concurrency", "requests_per_second", "request_timeout", "account_name")

# What the http provider takes from the extra as options of a request; every other key becomes a header there.
_HTTP_OPTIONS = (
    "allow_redirects",
    "cert",
    "check_response",
    "max_redirects",
    "proxies",
    "proxy",
    "srv_lookup",
    "stream",
    "timeout",
    "trust_env",
    "verify",
    "verify_ssl",
)


def field_of(extra: Mapping[str, Any], name: str) -> Any:
    """Return a field of the connection form, under its plain or its prefixed name; ``None`` where blank."""
    value = extra.get(name, extra.get(f"extra__goenhance__{name}"))
    return None if value == "" else value


def is_account_field(key: str) -> bool:
    """Tell our own fields from headers."""
    return key.removeprefix("extra__goenhance__") in ACCOUNT_FIELDS


def _number(extra: Mapping[str, Any], name: str, default: float, conn_id: str) -> float:
    value = field_of(extra, name)
    if value is None:
        return default
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if number < 0:
        raise ValueError(f"Connection {conn_id!r}: {name} must be a number of 0 or more, not {value!r}.")
    return number


def base_url_of(conn: Connection) -> str:
    """Return scheme, host and port as the http provider composes them; the real API where no host is given."""
    if not conn.host:
        return DEFAULT_BASE_URL
    url = conn.host if "://" in conn.host else f"{conn.schema or 'https'}://{conn.host}"
    return f"{url}:{conn.port}" if conn.port else url


def _request_options(extra: Mapping[str, Any], base_url: str) -> dict[str, Any]:
    options: dict[str, Any] = {}
    proxy = extra.get("proxies", extra.get("proxy"))
    if isinstance(proxy, Mapping):
        scheme = urlsplit(base_url).scheme
        proxy = proxy.get(scheme) or proxy.get("all")
    if proxy:
        options["proxy"] = proxy
    verify = extra.get("verify", extra.get("verify_ssl"))
    if isinstance(verify, str) and verify.strip().lower() in {"true", "false"}:
        verify = json.loads(verify.strip().lower())
    if verify is False:
        options["ssl"] = False
    elif isinstance(verify, str) and verify:
        import ssl

        options["ssl"] = ssl.create_default_context(cafile=verify)
    return options


def account_of(conn: Connection, extra: Mapping[str, Any]) -> Account:
    """
    Read an account out of a connection of type ``goenhance`` or ``http``.

    :param conn: the connection; its password is the API token
    :param extra: the connection's extra, as a dict
    :raises TokenRefusedError: when there is no token at all
    :raises ValueError: when a field is not what it must be
    """
    token = (conn.password or "").strip()
    if not token:
        raise TokenRefusedError(
            f"Connection {conn.conn_id!r} has no API token: put the GoEnhance API key into its password field."
        )
    conn_id = conn.conn_id or "goenhance_default"
    base_url = base_url_of(conn)
    timeout = extra.get("timeout") if field_of(extra, "request_timeout") is None else None
    headers = {
        key: str(value)
        for key, value in extra.items()
        if key not in _HTTP_OPTIONS and not is_account_field(key) and value is not None
    }
    return Account(
        conn_id=conn_id,
        token=token.removeprefix("Bearer ").strip(),
        base_url=base_url,
        name=str(field_of(extra, "account_name") or ""),
        max_concurrency=int(_number(extra, "max_concurrency", DEFAULT_MAX_CONCURRENCY, conn_id)) or 1,
        requests_per_second=_number(extra, "requests_per_second", 0.0, conn_id),
        request_timeout=float(timeout)
        if timeout is not None
        else _number(extra, "request_timeout", DEFAULT_REQUEST_TIMEOUT, conn_id) or DEFAULT_REQUEST_TIMEOUT,
        headers=headers,
        request_options=_request_options(extra, base_url),
    )
