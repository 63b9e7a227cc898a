# SPDX-License-Identifier: Apache-2.0
"""A client for the sandbox, as plain as a client can be."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest

from include.sandbox.process import SandboxProcess

SUBMIT, DETAIL, TOKENS = "/api/v1/imagefaceswap/generate", "/api/v1/jobs/detail", "/api/v1/user/tokens"
PAIR = {
    "source_img": "http://pictures.invalid/face.jpg",
    "reference_img": "http://pictures.invalid/scene.jpg",
}
BODY = {"type": "mx-image-face-swap", "args": PAIR}


def client_of(sandbox: SandboxProcess, **options: object) -> httpx.Client:
    headers = {"Authorization": f"Bearer {sandbox.token}"}
    return httpx.Client(base_url=sandbox.url, headers=headers, trust_env=False, **{"timeout": 60, **options})


@contextmanager
def sent(sandbox: SandboxProcess, path: str, body: object = None) -> Iterator[socket.socket]:
    """A connection on which a whole request was sent; the client leaves at the end."""
    content = b"" if body is None else json.dumps(body).encode()
    head = (
        f"{'GET' if body is None else 'POST'} {path} HTTP/1.1\r\nHost: sandbox\r\n"
        f"Authorization: Bearer {sandbox.token}\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", sandbox.port), timeout=60) as connection:
        connection.sendall(head.encode() + content)
        yield connection


def says_nothing(connection: socket.socket, seconds: float = 0.2) -> bool:
    """Return whether neither data nor the end arrives within `seconds`. A short wait cannot fail a correct sandbox."""
    connection.settimeout(seconds)
    try:
        connection.recv(1)
    except TimeoutError:
        return True
    return False


@pytest.fixture
def sandbox(goenhance_sandbox_shared: SandboxProcess) -> SandboxProcess:
    return goenhance_sandbox_shared


@pytest.fixture
def client(sandbox: SandboxProcess) -> Iterator[httpx.Client]:
    with client_of(sandbox) as client:
        yield client


@pytest.fixture(scope="session")
def _swapping_session() -> Iterator[SandboxProcess]:
    with SandboxProcess(engine="mesh", job_seconds=0.0) as sandbox:
        yield sandbox


@pytest.fixture
def swapping(_swapping_session: SandboxProcess) -> SandboxProcess:
    """A sandbox that swaps faces, shared by the session and reset for each test."""
    if not _swapping_session.running:
        _swapping_session.start()
    _swapping_session.reset()
    return _swapping_session


def wait_until(condition: Callable[[], object], seconds: float = 60.0, *, every: float = 0.01) -> object:
    """Return the condition's value as soon as it is true; fail after the deadline."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(every)
    raise AssertionError(f"not true within {seconds} s")
