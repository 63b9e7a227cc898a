# SPDX-License-Identifier: Apache-2.0
"""The sandbox serves a folder, as the web server of a team serves its staged pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from include.sandbox.process import SandboxProcess


def test_the_files_of_the_public_folder_are_served_and_no_others(
    goenhance_sandbox_factory: Callable[..., SandboxProcess], tmp_path: Path
) -> None:
    folder = tmp_path / "public"
    (folder / "task").mkdir(parents=True)
    (folder / "task" / "a.jpg").write_bytes(b"a picture")
    (tmp_path / "secret").write_bytes(b"secret")
    sandbox = goenhance_sandbox_factory(public=folder)
    answer = httpx.get(f"{sandbox.url}/public/task/a.jpg", trust_env=False)
    assert (answer.status_code, answer.content) == (200, b"a picture")
    for path in ("task", "none.jpg", "../secret", "%2e%2e/secret", "..%2fsecret"):
        assert httpx.get(f"{sandbox.url}/public/{path}", trust_env=False).status_code == 404


@pytest.mark.parametrize("path", ["a.jpg", ""])
def test_without_a_public_folder_there_is_nothing(
    goenhance_sandbox_shared: SandboxProcess, path: str
) -> None:
    assert httpx.get(f"{goenhance_sandbox_shared.url}/public/{path}", trust_env=False).status_code == 404
