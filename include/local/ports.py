# SPDX-License-Identifier: Apache-2.0
"""The ports of the stack, and the checks that they are valid and free."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

import psutil

from include.local.errors import LocalStackError

HOST = "127.0.0.1"
AIRFLOW_DEFAULT, SANDBOX_DEFAULT = 8080, 8765


@dataclass(frozen=True)
class Ports:
    """Ports of Airflow and the sandbox, both on 127.0.0.1."""

    airflow: int = AIRFLOW_DEFAULT
    sandbox: int = SANDBOX_DEFAULT

    @property
    def airflow_url(self) -> str:
        """Base URL of the UI and the REST API, without a trailing slash."""
        return f"http://{HOST}:{self.airflow}"

    @property
    def sandbox_url(self) -> str:
        """Base URL of the sandbox, without a trailing slash."""
        return f"http://{HOST}:{self.sandbox}"


def chosen_ports(environment: Mapping[str, str] = os.environ) -> Ports:
    """
    Read AIRFLOW_PORT and SANDBOX_PORT.

    :raises LocalStackError: a value is not a port, or both are the same
    """
    ports = Ports(
        _port(environment, "AIRFLOW_PORT", AIRFLOW_DEFAULT),
        _port(environment, "SANDBOX_PORT", SANDBOX_DEFAULT),
    )
    if ports.airflow == ports.sandbox:
        raise LocalStackError(
            f"AIRFLOW_PORT and SANDBOX_PORT are both {ports.airflow}: choose two different ports"
        )
    return ports


def _port(environment: Mapping[str, str], variable: str, default: int) -> int:
    text = environment.get(variable, "").strip()
    if not text:
        return default
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise LocalStackError(f"{variable} must be a port from 1 to 65535; got {text!r}")
    return int(text)


def require_free(ports: Ports) -> None:
    """
    Raise if a port is taken.

    :raises LocalStackError: a port is taken; names its variable and, if visible, the program that uses it
    """
    for port, variable in ((ports.airflow, "AIRFLOW_PORT"), (ports.sandbox, "SANDBOX_PORT")):
        if not _is_free(port):
            raise LocalStackError(
                f"port {port} on {HOST} is taken{_holder(port)}. "
                f"Stop that program, or choose another port: {variable}={free_port()} make ..."
            )


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the servers do: a port in TIME_WAIT counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a port that is free at the moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _holder(port: int) -> str:
    try:
        for connection in psutil.net_connections("inet"):
            local = connection.laddr
            if connection.status == psutil.CONN_LISTEN and local and local.port == port and connection.pid:
                command = " ".join(psutil.Process(connection.pid).cmdline())[:80]
                return f" by process {connection.pid} ({command})"
    except psutil.Error:
        # Processes of other users are not always visible. Report the port alone.
        return ""
    return ""
