# SPDX-License-Identifier: Apache-2.0
"""Choosing ports, and what happens when one is taken."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from include.local.errors import LocalStackError
from include.local.ports import Ports, chosen_ports, require_free


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A socket that listens on a port of 127.0.0.1."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_defaults_are_those_of_the_documentation() -> None:
    assert chosen_ports({}) == Ports(airflow=8080, sandbox=8765)


def test_each_variable_changes_its_own_port() -> None:
    assert chosen_ports({"AIRFLOW_PORT": "9000"}) == Ports(airflow=9000, sandbox=8765)
    assert chosen_ports({"SANDBOX_PORT": "9001"}) == Ports(airflow=8080, sandbox=9001)


@pytest.mark.parametrize("value", ["http", "0", "-1", "65536", "80.5"])
def test_what_is_no_port_is_refused_by_the_name_of_its_variable(value: str) -> None:
    with pytest.raises(LocalStackError, match=f"SANDBOX_PORT must be a port from 1 to 65535; got '{value}'"):
        chosen_ports({"SANDBOX_PORT": value})


def test_one_port_cannot_serve_both() -> None:
    with pytest.raises(LocalStackError, match="AIRFLOW_PORT and SANDBOX_PORT are both 8765"):
        chosen_ports({"AIRFLOW_PORT": "8765"})


def test_a_taken_port_names_itself_its_holder_and_its_variable(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    with pytest.raises(LocalStackError) as caught:
        require_free(Ports(airflow=port, sandbox=free_port()))
    message = str(caught.value)
    assert f"port {port} on 127.0.0.1 is taken" in message
    assert f"by process {os.getpid()} " in message
    assert "AIRFLOW_PORT=" in message


def test_the_sandboxes_port_is_looked_at_too(listener: socket.socket) -> None:
    with pytest.raises(LocalStackError, match="SANDBOX_PORT="):
        require_free(Ports(airflow=free_port(), sandbox=listener.getsockname()[1]))


def test_free_ports_are_no_trouble() -> None:
    require_free(Ports(airflow=free_port(), sandbox=free_port()))
