# SPDX-License-Identifier: Apache-2.0
"""Pytest fixtures that provide a sandbox on a free port."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from .process import SandboxProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Short jobs, so that tests do not wait for the simulated vendor.
_JOB_SECONDS = 0.1
_MARK = (
    "goenhance_sandbox(**options): how the sandbox of this test is started: engine, workers, token, images, "
    "credits, state_dir, or any switch of PUT /sandbox/faults"
)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, for projects that use --strict-markers."""
    config.addinivalue_line("markers", _MARK)


@pytest.fixture
def goenhance_sandbox_factory() -> Iterator[Callable[..., SandboxProcess]]:
    """Start sandboxes with any options; all are stopped after the test."""
    started: list[SandboxProcess] = []

    def start(**options: Any) -> SandboxProcess:
        sandbox = SandboxProcess(**{"job_seconds": _JOB_SECONDS, **options})
        started.append(sandbox)
        return sandbox.start()

    yield start
    for sandbox in started:
        sandbox.close()


@pytest.fixture
def goenhance_sandbox(
    request: pytest.FixtureRequest, goenhance_sandbox_factory: Callable[..., SandboxProcess]
) -> SandboxProcess:
    """Start a sandbox process for one test; `@pytest.mark.goenhance_sandbox(...)` sets its options."""
    mark = request.node.get_closest_marker("goenhance_sandbox")
    return goenhance_sandbox_factory(**(mark.kwargs if mark else {}))


@pytest.fixture(scope="session")
def _goenhance_sandbox_session() -> Iterator[SandboxProcess]:
    with SandboxProcess(job_seconds=_JOB_SECONDS) as sandbox:
        yield sandbox


@pytest.fixture
def goenhance_sandbox_shared(_goenhance_sandbox_session: SandboxProcess) -> SandboxProcess:
    """Return the session's sandbox in load mode, reset. Takes milliseconds instead of a process start."""
    if _goenhance_sandbox_session.running:
        _goenhance_sandbox_session.reset()
    else:
        # An earlier test stopped it. Its state is deleted, its port stays.
        _goenhance_sandbox_session.start().reset()
    return _goenhance_sandbox_session
