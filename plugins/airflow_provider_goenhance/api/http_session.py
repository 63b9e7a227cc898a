# SPDX-License-Identifier: Apache-2.0
"""The HTTP session of a client: it notes, for each call, whether there was a connection and what arrived."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Self

import aiohttp

from .exchange import MAX_ANSWER_BYTES, current_exchange
from .send_gate import GatedRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.connector import Connection

    from .account import Account

#: The longest line of a response's headers, bytes. A gateway's cookie or policy may exceed aiohttp's 8 KiB, which must
#: not cost the ``img_uuid`` behind it.
MAX_HEADER_BYTES = 256 * 1024


class _Connector(aiohttp.TCPConnector):
    """Notes that a connection was made: whatever fails before that has sent nothing."""

    async def connect(self, *args: Any, **kwargs: Any) -> Connection:
        connection = await super().connect(*args, **kwargs)
        if exchange := current_exchange.get():
            exchange.connected = True
        return connection


class _Response(aiohttp.ClientResponse):
    """Records the response to a POST as it arrives: aiohttp drops all of it where a part is not valid HTTP."""

    async def start(self, connection: Connection) -> Self:
        protocol: Any = connection.protocol
        exchange = current_exchange.get()
        # A connection that is used again may still record for an earlier call.
        vars(protocol).pop("data_received", None)
        if exchange is not None and self.method == "POST":
            protocol.data_received = functools.partial(_record, exchange.received, protocol.data_received)
        try:
            await super().start(connection)
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
            if exchange is None or not exchange.sent_once:
                raise
            # Of this class, aiohttp sends no request again.
            raise aiohttp.ClientConnectionError(str(error)) from error
        return self


def _record(received: bytearray, pass_on: Callable[[bytes], None], data: bytes) -> None:
    received += data[: max(0, MAX_ANSWER_BYTES - len(received))]
    pass_on(data)


def open_session(
    account: Account, *, connect_seconds: float, keepalive_seconds: float
) -> aiohttp.ClientSession:
    """
    Open a session with the headers, timeouts and proxy of an account.

    :param connect_seconds: how long connecting may take, DNS and TLS included
    :param keepalive_seconds: how long an idle connection may be used again
    """
    return aiohttp.ClientSession(
        # Responses are small. Packed ones are unpacked by us, because a wrong `Content-Encoding` must not cost one.
        headers={
            "Accept-Encoding": "identity",
            **account.headers,
            "Authorization": f"Bearer {account.token}",
        },
        auto_decompress=False,
        max_line_size=MAX_HEADER_BYTES,
        max_field_size=MAX_HEADER_BYTES,
        timeout=aiohttp.ClientTimeout(total=account.request_timeout, connect=connect_seconds),
        # No limit of its own: the client's limiter is the only one.
        connector=_Connector(limit=0, keepalive_timeout=keepalive_seconds),
        request_class=GatedRequest,
        response_class=_Response,
        cookie_jar=aiohttp.DummyCookieJar(),
        proxy=account.proxy,
        # Otherwise aiohttp reads .netrc before each request, and does not send our token if it finds an entry.
        trust_env=False,
    )
