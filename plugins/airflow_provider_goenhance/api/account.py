# SPDX-License-Identifier: Apache-2.0
"""Account settings, independent of Airflow."""

from __future__ import annotations

import hashlib
import urllib.request
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from .models import DEFAULT_BASE_URL

DEFAULT_MAX_CONCURRENCY = 32
DEFAULT_MAX_DOWNLOADS = 32
DEFAULT_REQUEST_TIMEOUT = 60.0
DEFAULT_SUBMIT_ATTEMPTS = 6
DEFAULT_GET_ATTEMPTS = 4


#: Ports that need not be written.
_USUAL_PORTS = {"http": ":80", "https": ":443"}


@dataclass(frozen=True, slots=True)
class Account:
    """
    One GoEnhance account, as one connection describes it.

    :param conn_id: id of the Airflow connection, for messages
    :param token: API token; a secret, so kept out of ``repr``
    :param base_url: scheme, host and port of the API
    :param name: identifies the account in the results table; default: derived from host and token
    :param max_concurrency: POSTs in flight at once, from all tasks that share a results table (default 32)
    :param max_downloads: pictures that one task downloads at the same time, at most (default 32)
    :param requests_per_second: POSTs started per second by these tasks, ``0`` for no limit (the default)
    :param request_timeout: seconds for one request, connecting included (default 60)
    :param submit_attempts: how often one submit is sent while it is certain that none was accepted (default 6)
    :param get_attempts: how often one status or credits call is sent (default 4)
    :param max_jobs: jobs of these tasks under way at once, ``queue_limit`` for what GoEnhance reports; ``None`` (the
        default) for no limit
    :param max_pairs_per_day: the most submits that may be accepted on one day (UTC), ``None`` for no limit
    :param max_cost_per_day: the most credits that they may cost, ``None`` for no limit
    :param credits_per_swap: credits for one swap, until GoEnhance has reported what it charges
    :param headers: further headers of every request
    :param request_options: further ``aiohttp`` request options: ``proxy``, ``ssl``, ...
    :param verify: verify the server's certificate; or the file or folder with the CA certificates for it
    :param cert: client certificate: a file, or a pair of certificate and key file
    :param trust_env: use the proxy of the environment if the connection has none (default)
    """

    conn_id: str
    token: str = field(repr=False)
    base_url: str = DEFAULT_BASE_URL
    name: str = ""
    max_concurrency: int = DEFAULT_MAX_CONCURRENCY
    max_downloads: int = DEFAULT_MAX_DOWNLOADS
    requests_per_second: float = 0.0
    request_timeout: float = DEFAULT_REQUEST_TIMEOUT
    submit_attempts: int = DEFAULT_SUBMIT_ATTEMPTS
    get_attempts: int = DEFAULT_GET_ATTEMPTS
    max_jobs: int | Literal["queue_limit"] | None = None
    max_pairs_per_day: int | None = None
    max_cost_per_day: int | None = None
    credits_per_swap: int | None = None
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    request_options: dict[str, Any] = field(default_factory=dict, repr=False)
    verify: bool | str = True
    cert: str | tuple[str, str] | None = field(default=None, repr=False)
    trust_env: bool = True

    def __str__(self) -> str:
        return f"connection {self.conn_id!r} ({self.base_url})"

    @property
    def fingerprint(self) -> str:
        """
        Twelve hex digits that identify the account without revealing the token.

        Set an account name on the connection to keep the fingerprint when the token is rotated.
        """
        identity = self.name or f"{_without_usual_port(self.base_url)}\n{self.token}"
        return hashlib.sha256(f"goenhance-account\n{identity}".encode()).hexdigest()[:12]

    @property
    def proxy(self) -> str | None:
        """
        The proxy of the connection, else of the environment (``HTTPS_PROXY``, ``NO_PROXY``, ...).

        It may contain a password: keep it out of messages.
        """
        named = self.request_options.get("proxy")
        if named or not self.trust_env:
            return named
        url = urlsplit(self.base_url)
        if not url.hostname or urllib.request.proxy_bypass(url.hostname):
            return None
        proxies = urllib.request.getproxies()
        return proxies.get(url.scheme) or proxies.get("all")


def _without_usual_port(base_url: str) -> str:
    """Return a URL without the port that its scheme implies: the account is the same with and without it."""
    scheme, separator, rest = base_url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.removesuffix(_USUAL_PORTS.get(scheme, ' '))}{slash}{path}"
