# SPDX-License-Identifier: Apache-2.0
"""Registry of the server's open TCP connections, so that a fault can close one without a response."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Connections:
    """Finds the transport of a request by the client's address, which is part of the ASGI scope."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, int], asyncio.Transport] = {}
        self.closing = asyncio.Event()

    def write(self, client: tuple[str, int], data: bytes) -> None:
        """Write bytes to a client's connection, past the server's HTTP layer."""
        transport = self._open.get(tuple(client))  # type: ignore[arg-type]
        if transport is not None:
            transport.write(data)

    def drop(self, client: tuple[str, int], *, reset: bool) -> None:
        """Close a client's connection: in order, after sending what was written, or by a TCP reset."""
        transport = self._open.get(tuple(client))  # type: ignore[arg-type]
        if transport is None:
            return
        if reset:
            transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE
            )
            transport.abort()
        else:
            transport.close()

    def protocol(self) -> type[asyncio.Protocol]:
        """Return uvicorn's HTTP protocol, extended to register its connections here."""
        open_ = self._open

        class ListedProtocol(AutoHTTPProtocol):  # type: ignore[misc,valid-type]
            def connection_made(self, transport: Any) -> None:
                self.listed_as = transport.get_extra_info("peername")
                open_[self.listed_as] = transport
                super().connection_made(transport)

            def connection_lost(self, exc: Exception | None) -> None:
                open_.pop(self.listed_as, None)
                super().connection_lost(exc)

        return ListedProtocol
