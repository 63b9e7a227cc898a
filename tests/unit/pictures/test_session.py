# SPDX-License-Identifier: Apache-2.0
"""The session for pictures, and what it takes from the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_goenhance.pictures.session import open_session


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Remove the proxies and logins of the machine."""
    for name in (
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "ftp_proxy",
        "socks_proxy",
        "ws_proxy",
        "wss_proxy",
    ):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.delenv("NETRC", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


async def trusts_environment(*, trust_env: bool = True) -> bool:
    async with open_session(trust_env=trust_env) as session:
        return session.trust_env


async def test_an_environment_without_proxies_and_logins_is_not_searched_for_each_picture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("no_proxy", "localhost")
    assert not await trusts_environment()


async def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    assert await trusts_environment()
    assert not await trusts_environment(trust_env=False)


@pytest.mark.parametrize("variable", [False, True])
async def test_a_login_of_the_environment_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: bool
) -> None:
    file = tmp_path / ("logins" if variable else ".netrc")
    file.write_text("machine pictures.example login a password b\n")
    if variable:
        monkeypatch.setenv("NETRC", str(file))
    assert await trusts_environment()
