# SPDX-License-Identifier: Apache-2.0
"""Serve the application: open the port, print the ready line, and shut down within two seconds."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import socket
import sqlite3
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn

from .app import create_app
from .connections import Connections
from .ledger import LEDGER_FILE, Ledger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

    from .settings import Settings

HOST = "127.0.0.1"
_LAST_ANSWERS_SECONDS = 1


class StartError(Exception):
    """The sandbox cannot start; the message is one line."""


def open_port(port: int) -> socket.socket:
    """
    Open a port on the loopback address; 0: any free port.

    :raises StartError: the port is taken.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    # A restarted sandbox must get its port back while old connections are in TIME_WAIT.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise StartError(
            f"port {port} on {HOST} cannot be used ({error.strerror}); choose another with --port or SANDBOX_PORT"
        ) from None
    return listener


def lock_state(settings: Settings) -> IO[str]:
    """
    Lock the state folder until this process ends.

    :raises StartError: another sandbox uses the folder, or it cannot be created.
    """
    try:
        settings.state_dir.mkdir(parents=True, exist_ok=True)
        lock = (settings.state_dir / "lock").open("w")
    except OSError as error:
        raise StartError(f"state folder {settings.state_dir} cannot be used ({error.strerror})") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise StartError(
            f"state folder {settings.state_dir} is in use by another sandbox; choose another with --state-dir"
        ) from None
    return lock


def check_ledger(settings: Settings) -> None:
    """
    Raise if the state folder's ledger cannot be used.

    :raises StartError: the ledger was not written by this version of the sandbox.
    """
    try:
        ledger = Ledger(settings.state_dir / LEDGER_FILE)
        try:
            ledger.check()
        finally:
            ledger.close()
    except sqlite3.Error as error:
        raise StartError(
            f"state folder {settings.state_dir} holds a ledger this sandbox cannot read ({error}); "
            "choose another folder with --state-dir, or delete it"
        ) from None


def serve(settings: Settings, port: int, *, end_with_stdin: bool = False, verbose: bool = False) -> None:
    """
    Run a sandbox until SIGTERM or SIGINT.

    :param end_with_stdin: also exit when standard input is closed, so that it cannot outlive its parent process.
    :raises StartError: the port or the state folder cannot be used.
    :raises SwitchError: a start switch is invalid.
    """
    connections = Connections()
    app = create_app(settings, connections)
    with lock_state(settings), open_port(port) as listener:
        check_ledger(settings)
        config = uvicorn.Config(
            app,
            http=connections.protocol(),
            ws="none",
            lifespan="on",
            log_level="info" if verbose else "warning",
            access_log=verbose,
            # The client address must be the real one: it identifies a request's connection.
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=_LAST_ANSWERS_SECONDS,
        )
        _Server(config, connections, settings, end_with_stdin=end_with_stdin).run([listener])


class _Server(uvicorn.Server):
    def __init__(
        self, config: uvicorn.Config, connections: Connections, settings: Settings, *, end_with_stdin: bool
    ) -> None:
        super().__init__(config)
        self._connections = connections
        self._settings = settings
        self._end_with_stdin = end_with_stdin

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        port = sockets[0].getsockname()[1] if sockets else 0
        settings = self._settings
        print(
            f"GoEnhance sandbox ready on http://{HOST}:{port} "
            f"(token {settings.token}, engine {settings.engine}, state {settings.state_dir})",
            flush=True,
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._connections.closing.set()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn's version raises the signal again after a clean shutdown. Here a signal is not a failure.
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        if self._end_with_stdin:
            threading.Thread(target=self._watch_stdin, args=(loop,), daemon=True).start()
        yield

    def _end(self) -> None:
        self.should_exit = True

    def _watch_stdin(self, loop: asyncio.AbstractEventLoop) -> None:
        while os.read(sys.stdin.fileno(), 1024):
            pass
        loop.call_soon_threadsafe(self._end)
