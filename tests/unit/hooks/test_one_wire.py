# SPDX-License-Identifier: Apache-2.0
"""
What a server, a proxy or a broken line does x who submits: the async client, the sync hook, the sync hook in a loop.

All three must come to the same end: the same error class, or the job's id.
"""

from __future__ import annotations

import contextlib
import gzip
import signal
import socket
import threading
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from airflow_provider_goenhance.exceptions import (
    AuthenticationError,
    ConnectionLostError,
    GoEnhanceError,
    RateLimitedError,
    ServerError,
    UnexpectedResponseError,
)
from airflow_provider_goenhance.hooks.goenhance import GoEnhanceHook
from airflow_provider_goenhance.retry_policy import is_final
from tests.unit.hooks.conftest import TOKEN, submit_error, with_the_hook
from tests.unit.raw_server import (
    ACCEPTED,
    RawServer,
    Script,
    dribbles,
    in_chunks,
    reply,
    resets,
    says,
    says_and_keeps_open,
)

Define = Callable[..., str]
Submit = Callable[[str], str]
PAIR = ("https://example.com/face.jpg", "https://example.com/scene.jpg")
#: Seconds; only where an answer never ends is it waited for.
SHORT = 3.0
#: Seconds within which a call with that timeout has ended, on a busy machine too.
GENEROUS = 60.0


@dataclass(frozen=True)
class Row:
    """One behaviour after the request was read, and what it means; no error: the answer's id is taken."""

    script: Script
    error: type[GoEnhanceError] | None = None
    maybe_accepted: bool = True


JSON = b"Content-Type: application/json"
HTML = b"<html><h1>502 Bad Gateway</h1></html>"
NO_LENGTH = b"HTTP/1.1 200 OK\r\n\r\n"
CUT_BEHIND_THE_ID = ACCEPTED.partition(b"job-1")[0] + b'job-1"'
REFUSED = b'{"code":401,"msg":"Token Error"}'
ROWS = {
    "an answer": Row(says(reply(ACCEPTED, JSON))),
    "an answer in chunks": Row(says(in_chunks(ACCEPTED[:9], ACCEPTED[9:]))),
    "an answer that ends with the connection": Row(says(NO_LENGTH, ACCEPTED)),
    "an answer without its last chunk": Row(says(in_chunks(ACCEPTED, end=b""))),
    "an answer whose chunks are followed by nonsense": Row(
        says(in_chunks(ACCEPTED[:9], ACCEPTED[9:], end=b"zz\r\n"))
    ),
    "an answer shorter than its Content-Length": Row(says(reply(ACCEPTED, length=len(ACCEPTED) + 9))),
    "an answer longer than its Content-Length": Row(says(reply(ACCEPTED, length=9))),
    "an answer with two Content-Lengths": Row(says(reply(ACCEPTED, b"Content-Length: 1"))),
    "an answer with a length and chunks": Row(
        says(reply(in_chunks(ACCEPTED).partition(b"\r\n\r\n")[2], b"Transfer-Encoding: chunked"))
    ),
    "an answer after 102 and 103": Row(
        says(
            b"HTTP/1.1 102 Processing\r\n\r\n",
            b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n",
            reply(ACCEPTED),
        )
    ),
    "an answer after 103 that is shorter than its length": Row(
        says(b"HTTP/1.1 103 Early Hints\r\n\r\n", reply(ACCEPTED, length=500))
    ),
    "an answer with a header of 20 kB": Row(says(reply(ACCEPTED, b"Set-Cookie: a=" + b"x" * 20_000))),
    "an answer with 300 headers": Row(says(reply(ACCEPTED, *(b"X-%d: 1" % n for n in range(300))))),
    "an answer with a broken header": Row(says(reply(ACCEPTED, b"no colon in here"))),
    "an answer without HTTP": Row(says(ACCEPTED)),
    "an answer longer than its Content-Length, in two parts": Row(
        says(reply(ACCEPTED[:60], length=60), ACCEPTED[60:])
    ),
    "an answer that is cut off behind its id": Row(says(reply(CUT_BEHIND_THE_ID, length=500))),
    "an answer that ends behind its id": Row(says(reply(CUT_BEHIND_THE_ID))),
    "an answer that is cut off inside its id": Row(
        says(reply(CUT_BEHIND_THE_ID[:-4], length=500)), ConnectionLostError
    ),
    "an answer with a line break inside a text": Row(says(reply(ACCEPTED.replace(b"Success", b"Suc\ncess")))),
    "an answer behind a warning": Row(says(reply(b"<b>Warning</b>: {main} " + ACCEPTED))),
    "an answer inside a callback": Row(says(reply(b"callback(" + ACCEPTED + b");"))),
    "an answer in UTF-16": Row(says(reply(ACCEPTED.decode().encode("utf-16")))),
    "an answer behind a byte order mark": Row(says(reply(b"\xef\xbb\xbf" + ACCEPTED))),
    "a plain answer that claims to be gzip": Row(says(reply(ACCEPTED, b"Content-Encoding: gzip"))),
    "a plain answer that claims to be brotli": Row(says(reply(ACCEPTED, b"Content-Encoding: br"))),
    "a gzip answer": Row(says(reply(gzip.compress(ACCEPTED), b"Content-Encoding: gzip"))),
    "a gzip answer that does not say so": Row(says(reply(gzip.compress(ACCEPTED)))),
    "a gzip answer without its checksum": Row(says(reply(gzip.compress(ACCEPTED)[:-8]))),
    "a deflate answer": Row(says(reply(zlib.compress(ACCEPTED), b"Content-Encoding: deflate"))),
    "the end of the connection": Row(says(), ConnectionLostError),
    "a reset": Row(resets, ConnectionLostError),
    "half an answer": Row(says(reply(ACCEPTED[:30], length=500)), ConnectionLostError),
    "half an answer as the whole": Row(says(reply(ACCEPTED[:30])), UnexpectedResponseError),
    "a page of a proxy": Row(says(reply(HTML, status=b"502 Bad Gateway")), UnexpectedResponseError),
    "a server error": Row(says(reply(b'{"code":500,"msg":""}', status=b"500 No")), ServerError),
    "a refused token": Row(says(reply(REFUSED, status=b"401 No")), AuthenticationError, maybe_accepted=False),
    "a refused token that ends early": Row(
        says(reply(REFUSED, status=b"401 No", length=500)), AuthenticationError, maybe_accepted=False
    ),
    "a rate limit": Row(
        says(reply(b'{"code":429,"msg":""}', b"Retry-After: 7", status=b"429 No")),
        RateLimitedError,
        maybe_accepted=False,
    ),
}


#: Where the server does not end its answer, the request timeout does.
ENDLESS = {
    "an answer on a connection that stays open": Row(says_and_keeps_open(NO_LENGTH, ACCEPTED)),
    "an answer shorter than its length on a connection that stays open": Row(
        says_and_keeps_open(reply(ACCEPTED, length=500))
    ),
    "an answer, then blanks without end": Row(dribbles(NO_LENGTH, ACCEPTED, drop=b" ")),
    "blanks without end": Row(dribbles(NO_LENGTH, drop=b" "), ConnectionLostError),
    "headers without end": Row(dribbles(b"HTTP/1.1 200 OK\r\n", drop=b"X-Drop: 1\r\n"), ConnectionLostError),
    "silence": Row(says_and_keeps_open(), ConnectionLostError),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_a_submit_is_sent_once_takes_an_id_that_arrived_and_names_the_same_error_everywhere(
    connection: Define, submit: Submit, row: Row
) -> None:
    with RawServer(row.script) as server:
        meets(row, submit, connection(host=server.url, extra={"submit_attempts": 1}))
        assert len(server.requests) == 1


def test_the_request_timeout_is_held_whatever_a_server_sends_and_an_id_that_arrived_is_taken(
    connection: Define, submit: Submit
) -> None:
    started = time.monotonic()
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(len(ENDLESS)) as callers:
        servers = [stack.enter_context(RawServer(row.script)) for row in ENDLESS.values()]
        extra = {"request_timeout": SHORT, "submit_attempts": 1}
        conn_ids = [
            connection(f"goenhance_{place}", host=server.url, extra=extra)
            for place, server in enumerate(servers)
        ]
        list(callers.map(lambda row, conn_id: meets(row, submit, conn_id), ENDLESS.values(), conn_ids))
        assert [len(server.requests) for server in servers] == [1] * len(ENDLESS)
    assert SHORT <= time.monotonic() - started < GENEROUS


def meets(row: Row, submit: Submit, conn_id: str) -> None:
    """Submit, and compare the end with the row."""
    if row.error is None:
        assert submit(conn_id) == "job-1"
        return
    raised = submit_error(submit, conn_id)
    assert type(raised) is row.error
    assert raised.maybe_accepted is row.maybe_accepted
    assert not (raised.maybe_accepted and not is_final(raised))


@pytest.mark.parametrize("row", [row for row in ROWS.values() if row.error and row.maybe_accepted])
def test_the_same_fault_of_a_status_call_costs_nothing_and_is_retried(connection: Define, row: Row) -> None:
    with RawServer(row.script) as server:
        hook = GoEnhanceHook(connection(host=server.url))
        with pytest.raises(GoEnhanceError) as raised:
            hook.get_job("job-1")
        assert len(server.requests) == 1
    assert type(raised.value) is row.error
    assert not raised.value.maybe_accepted
    assert not is_final(raised.value)


def test_what_had_arrived_of_an_answer_is_in_the_message_without_secrets(
    connection: Define, submit: Submit
) -> None:
    begun = (
        b'{"code":0,"data":{"note":"' + TOKEN.encode() + b'","link":"https://h/a?sig=secret","img_uuid":"job'
    )
    with RawServer(says(reply(begun, length=500))) as server:
        raised = submit_error(submit, connection(host=server.url))
    assert '"img_uuid":"job' in str(raised)
    assert '"img_uuid":"job' in (raised.answer_text or "")
    assert "secret" not in (raised.answer_text or "")
    assert "secret" not in str(raised)


def test_the_hook_sends_a_rate_limited_or_refused_submit_once(connection: Define) -> None:
    with RawServer(says(reply(b'{"code":429,"msg":""}', b"Retry-After: 0", status=b"429 No"))) as server:
        raised = submit_error(with_the_hook, connection(host=server.url, extra={"submit_attempts": 6}))
        assert isinstance(raised, RateLimitedError)
        assert len(server.requests) == 1


def test_an_alarm_is_raised_once_the_answer_to_a_submit_that_was_sent_is_in_the_log(
    connection: Define, caplog: pytest.LogCaptureFixture
) -> None:
    rang = threading.Event()

    class AlarmError(Exception):
        pass

    def ring(*_: object) -> None:
        rang.set()
        raise AlarmError

    def ring_and_answer(line: socket.socket) -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)
        assert rang.wait(GENEROUS)
        line.sendall(reply(ACCEPTED))

    earlier = signal.signal(signal.SIGALRM, ring)
    caplog.set_level("INFO")
    try:
        with RawServer(ring_and_answer) as server, pytest.raises(AlarmError):
            with_the_hook(connection(host=server.url))
    finally:
        signal.signal(signal.SIGALRM, earlier)
    assert "GoEnhance accepted the swap as job job-1." in caplog.text
