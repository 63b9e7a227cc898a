# SPDX-License-Identifier: Apache-2.0
"""The HTTP session for pictures: it checks to which address it has connected, before it sends anything."""

from __future__ import annotations

import os
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp

from ..addresses import InternalAddressError, current_trail

if TYPE_CHECKING:
    from aiohttp.connector import Connection

#: Seconds to connect to one address of a host.
CONNECT_SECONDS = 30.0
#: Arguments of a client session for pictures: bodies as they are sent, and room for long signed links in headers.
SESSION_OPTIONS: dict[str, Any] = {"auto_decompress": False, "max_line_size": 2**16, "max_field_size": 2**16}


class _Connector(aiohttp.TCPConnector):
    """Refuses internal addresses to a download that a public one has redirected."""

    async def connect(self, req: aiohttp.ClientRequest, *args: Any, **kwargs: Any) -> Connection:
        connection = await super().connect(req, *args, **kwargs)
        trail = current_trail.get()
        # A proxy resolves the name itself, and may be internal.
        if trail is None or req.proxy is not None or connection.transport is None:
            return connection
        try:
            trail.connected(str(connection.transport.get_extra_info("peername")[0]))
        except InternalAddressError:
            connection.close()
            raise
        return connection


def _environment_matters() -> bool:
    """Return whether the environment has proxies or logins: aiohttp looks for them in a thread, twice a request."""
    # Not Path.expanduser, which raises for a user without a home.
    logins = os.path.expanduser(os.environ.get("NETRC") or "~/.netrc")  # noqa: PTH111
    return bool(urllib.request.getproxies().keys() - {"no"}) or Path(logins).is_file()


def open_session(
    *, trust_env: bool = True, proxy: str | None = None, tls: Any = True, connect_seconds: float | None = None
) -> aiohttp.ClientSession:
    """
    Open a session for downloads. It has no API token, which the hosts of the pictures must not see.

    :param trust_env: use the proxies and logins of the environment
    :param proxy: URL of a proxy
    :param tls: aiohttp's ``ssl`` setting
    :param connect_seconds: for a connection, including the look-up of the name; ``None``: only :data:`CONNECT_SECONDS`
    """
    return aiohttp.ClientSession(
        trust_env=trust_env and _environment_matters(),
        proxy=proxy,
        # How many downloads run at once, and how long each may take, is decided elsewhere.
        connector=_Connector(ssl=tls, limit=0),
        timeout=aiohttp.ClientTimeout(total=None, connect=connect_seconds, sock_connect=CONNECT_SECONDS),
        **SESSION_OPTIONS,
    )
