# SPDX-License-Identifier: Apache-2.0
"""TLS and proxies that fail before or after a submit was sent x who submits, as in ``test_one_wire``."""

from __future__ import annotations

import ssl
from collections.abc import Callable

import pytest

from airflow_provider_goenhance.exceptions import (
    ConnectionLostError,
    UnexpectedResponseError,
    UnreachableError,
)
from airflow_provider_goenhance.retry_policy import is_final
from tests.unit.hooks.conftest import submit_error
from tests.unit.raw_server import (
    ACCEPTED,
    RawServer,
    Script,
    forwards_and_dies,
    reply,
    resets,
    says,
    says_and_keeps_open,
)

Define = Callable[..., str]
Submit = Callable[[str], str]
HTML = b"<html><h1>502 Bad Gateway</h1></html>"


@pytest.mark.parametrize(
    "script", [says(), resets, says(b"HTTP/1.1 200 OK\r\n")], ids=["end", "reset", "cut"]
)
def test_a_tls_connection_that_ends_after_the_request_was_read_may_have_been_an_accepted_submit(
    connection: Define, submit: Submit, tls: ssl.SSLContext, script: Script
) -> None:
    with RawServer(script, tls) as server:
        raised = submit_error(
            submit, connection(host=server.url, extra={"verify": False, "submit_attempts": 1})
        )
        assert isinstance(raised, ConnectionLostError)
        assert raised.maybe_accepted
        assert is_final(raised)
        assert len(server.requests) == 1


def test_a_tls_connection_that_ends_after_the_handshake_is_not_called_unsent(
    connection: Define, submit: Submit, tls: ssl.SSLContext
) -> None:
    with RawServer(resets, tls, deaf=True) as server:
        raised = submit_error(
            submit, connection(host=server.url, extra={"verify": False, "submit_attempts": 1})
        )
    assert isinstance(raised, ConnectionLostError)
    assert "Nothing was sent" not in str(raised)


def test_a_server_that_wants_a_certificate_after_the_handshake_is_not_called_unsent(
    connection: Define, submit: Submit, tls: ssl.SSLContext
) -> None:
    tls.verify_mode = ssl.CERT_REQUIRED  # TLS 1.3 tells the client only after its handshake
    with RawServer(says(), tls) as server:
        raised = submit_error(
            submit, connection(host=server.url, extra={"verify": False, "submit_attempts": 1})
        )
    assert isinstance(raised, ConnectionLostError)


def test_garbage_in_the_middle_of_tls_is_not_called_unsent(
    connection: Define, submit: Submit, tls: ssl.SSLContext
) -> None:
    def garbage(secure: object) -> None:
        assert isinstance(secure, ssl.SSLSocket)
        with secure.unwrap() as plain:  # from here on plain text where TLS is expected
            plain.sendall(reply(ACCEPTED))

    with RawServer(garbage, tls) as server:
        raised = submit_error(
            submit, connection(host=server.url, extra={"verify": False, "submit_attempts": 1})
        )
        assert isinstance(raised, ConnectionLostError)
        assert len(server.requests) == 1


@pytest.mark.parametrize("tunnel", [False, True], ids=["http", "https"])
def test_a_proxy_that_forwards_a_submit_and_dies_leaves_its_outcome_unknown(
    connection: Define, submit: Submit, tls: ssl.SSLContext, tunnel: bool
) -> None:
    with (
        RawServer(
            says(reply(ACCEPTED)) if not tunnel else says_and_keeps_open(), tls if tunnel else None
        ) as server,
        RawServer(forwards_and_dies(server, tunnel=tunnel)) as proxy,
    ):
        extra = {"proxy": proxy.url, "verify": False, "submit_attempts": 1}
        raised = submit_error(submit, connection(host=server.url, extra=extra))
        assert isinstance(raised, ConnectionLostError)
        assert raised.maybe_accepted
        assert is_final(raised)
        assert "Nothing was sent" not in str(raised)
        assert (len(server.requests), len(proxy.requests)) == (1, 1)


@pytest.mark.parametrize(
    "script",
    [
        says(),
        resets,
        says(b"nonsense\r\n\r\n"),
        says(b"HTTP/1.1 407 No\r\n\r\n"),
        says(b"HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n"),
        says(b"HTTP/1.1 200 OK\r\n\r\n"),
        says(b"HTTP/1.1 200 OK\r\n\r\nno TLS at all, and long enough for a record"),
    ],
)
def test_a_proxy_that_fails_before_the_tunnel_is_open_has_sent_nothing(
    connection: Define, submit: Submit, script: Script
) -> None:
    with RawServer(script) as proxy:
        extra = {"proxy": proxy.url, "submit_attempts": 1}
        raised = submit_error(submit, connection(host="https://goenhance.invalid", extra=extra))
        assert isinstance(raised, UnreachableError)
        assert not raised.maybe_accepted
        assert "Nothing was sent" in str(raised)
        assert [request.split()[0] for request in proxy.requests] == [b"CONNECT"]


@pytest.mark.parametrize("status", [b"502 Bad Gateway", b"503 Unavailable", b"504 Gateway Timeout"])
def test_a_proxy_that_answers_a_plain_submit_itself_may_have_forwarded_it(
    connection: Define, submit: Submit, status: bytes
) -> None:
    with RawServer(says(reply(HTML, status=status))) as proxy:
        extra = {"proxy": proxy.url, "submit_attempts": 6}
        raised = submit_error(submit, connection(host="http://goenhance.invalid", extra=extra))
        assert isinstance(raised, UnexpectedResponseError)
        assert raised.maybe_accepted
        assert is_final(raised)
        assert [request.split()[:2] for request in proxy.requests] == [
            [b"POST", b"http://goenhance.invalid/api/v1/imagefaceswap/generate"]
        ]
