# SPDX-License-Identifier: Apache-2.0
"""A submit that is answered with a redirect."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from airflow_provider_goenhance.api.account import Account
from airflow_provider_goenhance.exceptions import UnexpectedResponseError
from tests.unit.api.conftest import Waits, submit_error
from tests.unit.api.goenhance_server import GoEnhanceServer, answer

AccountAt = Callable[..., Account]


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("/elsewhere?key=hidden", "another address"),
        ("https://moved.example.com/jobs/job-1?key=hidden", "moved.example.com"),
        ("http://user:hidden@moved.example.com/", "moved.example.com"),
        ("http://[broken/?key=hidden", "another address"),
    ],
)
async def test_a_redirect_is_never_followed_and_the_submit_may_have_been_accepted(
    server: GoEnhanceServer,
    account_at: AccountAt,
    waits: Waits,
    status: int,
    location: str,
    host: str,
) -> None:
    server.plays(answer("", status, Location=location))
    raised = await submit_error(account_at(server.url), waits)
    assert isinstance(raised, UnexpectedResponseError)
    assert raised.maybe_accepted
    assert not raised.retryable
    assert f"redirects to {host} (HTTP {status}) and was not followed" in str(raised)
    assert "hidden" not in str(raised)
    assert (len(server.requests), waits) == (1, [])


@pytest.mark.parametrize(
    ("status", "maybe_accepted"), [(301, False), (302, True), (303, True), (307, False), (308, False)]
)
async def test_a_host_that_only_wants_https_is_named_and_has_accepted_nothing(
    server: GoEnhanceServer, account_at: AccountAt, waits: Waits, status: int, maybe_accepted: bool
) -> None:
    secure = server.url.replace("http:", "https:") + "/api/v1/imagefaceswap/generate"
    server.plays(answer("", status, Location=secure))
    raised = await submit_error(account_at(server.url), waits)
    assert raised.maybe_accepted is maybe_accepted
    assert ("write https:// in the connection's host" in str(raised)) is not maybe_accepted
    assert len(server.requests) == 1
