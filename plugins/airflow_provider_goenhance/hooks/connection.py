# SPDX-License-Identifier: Apache-2.0
"""Read the account settings of an Airflow connection, for the sync and the async hook."""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit, urlunsplit

from ..api.account import (
    DEFAULT_GET_ATTEMPTS,
    DEFAULT_MAX_CONCURRENCY,
    DEFAULT_MAX_DOWNLOADS,
    DEFAULT_REQUEST_TIMEOUT,
    DEFAULT_SUBMIT_ATTEMPTS,
    Account,
)
from ..api.models import DEFAULT_BASE_URL
from ..exceptions import AuthenticationError

if TYPE_CHECKING:
    from airflow.sdk import Connection

#: The largest number of a limit: an INTEGER column holds it.
LARGEST_LIMIT = 2**31 - 1
#: Our own fields of the connection's extra.
ACCOUNT_FIELDS = (
    "max_concurrency",
    "max_downloads",
    "requests_per_second",
    "request_timeout",
    "submit_attempts",
    "get_attempts",
    "account_name",
    "max_jobs",
    "max_pairs_per_day",
    "max_cost_per_day",
    "credits_per_swap",
)

# Keys of the extra that the http provider uses as request options; it sends every other key as a header.
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

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def field_of(extra: Mapping[str, Any], name: str) -> Any:
    """Return a field of the connection form, by its plain or its prefixed name; ``None`` if blank."""
    values = (extra.get(key) for key in (name, f"extra__goenhance__{name}"))
    return next((value for value in values if value is not None and value != ""), None)


def is_account_field(key: str) -> bool:
    """Return whether a key of the extra is one of our own fields, and not a header."""
    return key.removeprefix("extra__goenhance__") in ACCOUNT_FIELDS


def _number(value: Any, name: str, default: float, conn_id: str) -> float:
    if value is None or value == "":
        return default
    try:
        number = -1.0 if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = -1.0
    if number < 0 or not math.isfinite(number):
        raise ValueError(f"Connection {conn_id!r}: {name} must be a non-negative number; got {value!r}.")
    return number


def _count(extra: Mapping[str, Any], name: str, default: int, conn_id: str) -> int:
    return int(_number(field_of(extra, name), name, default, conn_id)) or 1


def _limit(extra: Mapping[str, Any], name: str, conn_id: str) -> int | None:
    """Return a whole number of at least 1, ``None`` if the field is blank."""
    value = field_of(extra, name)
    if value is None:
        return None
    number = None if isinstance(value, bool) else str(value).strip().removesuffix(".0")
    if number is None or not number.isdecimal() or not 1 <= int(number) <= LARGEST_LIMIT:
        raise ValueError(
            f"Connection {conn_id!r}: {name} must be a whole number from 1 to {LARGEST_LIMIT}, or blank for none; got "
            f"{value!r}."
        )
    return int(number)


def _max_jobs(extra: Mapping[str, Any], conn_id: str) -> int | Literal["queue_limit"] | None:
    """Return the limit of jobs under way: a number, or the name of the field in which GoEnhance reports it."""
    value = field_of(extra, "max_jobs")
    if str(value).strip().lower() == "queue_limit":
        return "queue_limit"
    try:
        return _limit(extra, "max_jobs", conn_id)
    except ValueError as error:
        raise ValueError(f"{error} Or 'queue_limit' for the queueLimit that GoEnhance reports.") from None


def _flag(value: Any, name: str, conn_id: str) -> bool:
    word = str(value).strip().lower()
    if word not in {"true", "false"}:
        raise ValueError(f"Connection {conn_id!r}: {name} must be true or false; got {value!r}.")
    return word == "true"


def base_url_of(conn: Connection) -> str:
    """
    Return scheme, host and port, as the http provider composes them; the real API if the host is blank.

    The default scheme is https, not http: the token must not be sent unencrypted by default.

    :raises ValueError: when the host is not usable
    """
    if not conn.host:
        return DEFAULT_BASE_URL
    text = conn.host.strip()
    text = text if "://" in text else f"{conn.schema or 'https'}://{text}"
    try:
        url = urlsplit(text)
        host, port = url.hostname, url.port
    except ValueError:
        url, host, port = urlsplit(""), None, None
    if url.scheme.lower() not in {"http", "https"} or not host or url.username or url.query or url.fragment:
        raise ValueError(
            f"Connection {conn.conn_id!r}: the host must be a URL like https://api.goenhance.ai, without user name, "
            "query or fragment. The token goes into the password field."
        )
    port = port or conn.port
    netloc = (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")
    return urlunsplit((url.scheme.lower(), netloc, url.path.rstrip("/"), "", ""))


def _proxy_of(extra: Mapping[str, Any], base_url: str, conn_id: str) -> str | None:
    proxy = extra.get("proxies", extra.get("proxy"))
    if isinstance(proxy, Mapping):
        url = urlsplit(base_url)
        # The order in which requests looks them up.
        keys = (f"{url.scheme}://{url.hostname}", url.scheme, f"all://{url.hostname}", "all")
        proxy = next((proxy[key] for key in keys if proxy.get(key)), None)
    if not proxy:
        return None
    proxy = str(proxy).strip()
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    scheme = urlsplit(proxy).scheme
    if scheme not in {"http", "https"}:
        raise ValueError(
            f"Connection {conn_id!r}: the proxy must be an http or https URL; its scheme is {scheme!r}."
        )
    return proxy


def _verify_of(extra: Mapping[str, Any], conn_id: str) -> bool | str:
    verify = extra.get("verify", extra.get("verify_ssl"))
    if verify is None or verify == "":
        return True
    if isinstance(verify, bool) or str(verify).strip().lower() in {"true", "false"}:
        return _flag(verify, "verify", conn_id)
    path = os.path.expanduser(str(verify))  # noqa: PTH111  requests and ssl take a str
    if not os.path.exists(path):  # noqa: PTH110
        raise ValueError(
            f"Connection {conn_id!r}: verify must be true, false, or a file or folder of CA certificates; {path!r} "
            "does not exist."
        )
    return path


def _cert_of(extra: Mapping[str, Any]) -> str | tuple[str, str] | None:
    cert = extra.get("cert")
    if isinstance(cert, list | tuple) and len(cert) == 2:
        return str(cert[0]), str(cert[1])
    return str(cert) if cert else None


def _ssl_of(verify: bool | str, cert: str | tuple[str, str] | None, conn_id: str) -> Any:
    """Return the ``ssl`` option of aiohttp, ``None`` for its default."""
    if verify is True and cert is None:
        return None
    if verify is False and cert is None:
        return False
    import ssl

    try:
        folder = isinstance(verify, str) and os.path.isdir(verify)  # noqa: PTH112
        context = ssl.create_default_context(
            cafile=verify if isinstance(verify, str) and not folder else None,
            capath=verify if isinstance(verify, str) and folder else None,
        )
        if verify is False:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if cert is not None:
            context.load_cert_chain(*((cert,) if isinstance(cert, str) else cert))
    except OSError as error:
        raise ValueError(
            f"Connection {conn_id!r}: the files of verify and cert cannot be used: {error}."
        ) from None
    return context


def _headers_of(extra: Mapping[str, Any], conn_id: str) -> dict[str, str]:
    headers: dict[str, str] = {}
    for key, value in extra.items():
        # The token goes into the password field only.
        if key in _HTTP_OPTIONS or is_account_field(key) or value is None or key.lower() == "authorization":
            continue
        _refuse_misspelled_field(key, conn_id)
        text = str(value)
        if not (text.isascii() and text.isprintable() and _HEADER_NAME.fullmatch(key)):
            raise ValueError(
                f"Connection {conn_id!r}: {key!r} in the extra is sent as a header, but is not a valid one: "
                "correct or remove it."
            )
        headers[key] = text
    return headers


def _refuse_misspelled_field(key: str, conn_id: str) -> None:
    """Raise if a key looks like one of our own fields: a budget that is misspelled must not become a header."""
    # Header names hardly ever have an underscore, and our fields always have.
    if "_" not in key:
        return
    close = difflib.get_close_matches(key.lower(), ACCOUNT_FIELDS, n=1, cutoff=0.8)
    if close or key.lower().startswith("max_"):
        meant = f"; did you mean {close[0]!r}?" if close else "."
        raise ValueError(
            f"Connection {conn_id!r}: the extra has no field {key!r}{meant} Its fields are {', '.join(ACCOUNT_FIELDS)}."
        )


def _token_of(conn: Connection) -> str:
    token = (conn.password or "").strip()
    if token[:7].lower() == "bearer ":
        token = token[7:].strip()
    if not token or token.lower() == "bearer":
        raise AuthenticationError(
            f"Connection {conn.conn_id!r} has no API token: put the GoEnhance API key into its password field."
        )
    if not token.isascii() or not token.isprintable() or " " in token:
        raise AuthenticationError(
            f"Connection {conn.conn_id!r}: the password is not an API token: it contains blanks, line breaks or "
            "characters that no token has. Put only the GoEnhance API key there."
        )
    return token


def account_of(conn: Connection, extra: Mapping[str, Any]) -> Account:
    """
    Return the account of a connection of type ``goenhance`` or ``http``.

    :param conn: the connection; its password is the API token
    :param extra: the connection's extra, as a dict
    :raises AuthenticationError: when there is no valid token
    :raises ValueError: when a field is not valid
    """
    token = _token_of(conn)
    conn_id = conn.conn_id or "goenhance_default"
    base_url = base_url_of(conn)
    verify, cert = _verify_of(extra, conn_id), _cert_of(extra)
    options = {"proxy": _proxy_of(extra, base_url, conn_id), "ssl": _ssl_of(verify, cert, conn_id)}
    # The http provider calls it `timeout`.
    timeout = field_of(extra, "request_timeout")
    timeout = extra.get("timeout") if timeout is None else timeout
    return Account(
        conn_id=conn_id,
        token=token,
        base_url=base_url,
        name=str(field_of(extra, "account_name") or ""),
        max_concurrency=_count(extra, "max_concurrency", DEFAULT_MAX_CONCURRENCY, conn_id),
        max_downloads=_count(extra, "max_downloads", DEFAULT_MAX_DOWNLOADS, conn_id),
        submit_attempts=_count(extra, "submit_attempts", DEFAULT_SUBMIT_ATTEMPTS, conn_id),
        get_attempts=_count(extra, "get_attempts", DEFAULT_GET_ATTEMPTS, conn_id),
        max_jobs=_max_jobs(extra, conn_id),
        max_pairs_per_day=_limit(extra, "max_pairs_per_day", conn_id),
        max_cost_per_day=_limit(extra, "max_cost_per_day", conn_id),
        credits_per_swap=_limit(extra, "credits_per_swap", conn_id),
        requests_per_second=_number(
            field_of(extra, "requests_per_second"), "requests_per_second", 0.0, conn_id
        ),
        request_timeout=_number(timeout, "request_timeout", DEFAULT_REQUEST_TIMEOUT, conn_id)
        or DEFAULT_REQUEST_TIMEOUT,
        headers=_headers_of(extra, conn_id),
        request_options={name: value for name, value in options.items() if value is not None},
        verify=verify,
        cert=cert,
        trust_env=_flag(extra.get("trust_env", True), "trust_env", conn_id),
    )
