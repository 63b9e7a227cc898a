# SPDX-License-Identifier: Apache-2.0
"""Where and as whom GoEnhance is asked: everything that a connection fixes, without Airflow."""

from __future__ import annotations

import hashlib
import urllib.request
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from .models import DEFAULT_BASE_URL

DEFAULT_MAX_CONCURRENCY = 10
DEFAULT_REQUEST_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Account:
    """
    One GoEnhance account as seen through one connection.

    :param conn_id: id of the Airflow connection, for messages
    :param token: API token; a secret, so kept out of ``repr``
    :param base_url: scheme, host and port of the API
    :param name: what tells this account from others in the results table; default: derived from host and token
    :param max_concurrency: requests under way at once from one task (default 10)
    :param requests_per_second: submits started per second from one task, ``0`` for no limit (the default)
    :param request_timeout: seconds for one request, connecting included (default 60)
    :param headers: further headers of every request
    :param request_options: further ``aiohttp`` request options: ``proxy``, ``ssl``, ...
    :param verify: check the server's certificate; or the file or folder with the authorities to check it against
    :param cert: the client's certificate: a file, or a file and the file of its key
    :param trust_env: take a proxy from the environment where the connection names none (default)
    """

    conn_id: str
    token: str = field(repr=False)
    base_url: str = DEFAULT_BASE_URL
    name: str = ""
    max_concurrency: int = DEFAULT_MAX_CONCURRENCY
    requests_per_second: float = 0.0
    request_timeout: float = DEFAULT_REQUEST_TIMEOUT
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
        Twelve hex digits that tell accounts apart without giving the token away.

        Give the connection an account name to keep the fingerprint when the token is rotated.
        """
        identity = self.name or f"{self.base_url}\n{self.token}"
        return hashlib.sha256(f"goenhance-account\n{identity}".encode()).hexdigest()[:12]

    @property
    def proxy(self) -> str | None:
        """
        The proxy to go through: the connection's, else the environment's (``HTTPS_PROXY``, ``NO_PROXY``, ...).

        May hold a password, so it is not for messages.
        """
        named = self.request_options.get("proxy")
        if named or not self.trust_env:
            return named
        url = urlsplit(self.base_url)
        if not url.hostname or urllib.request.proxy_bypass(url.hostname):
            return None
        proxies = urllib.request.getproxies()
        return proxies.get(url.scheme) or proxies.get("all")
