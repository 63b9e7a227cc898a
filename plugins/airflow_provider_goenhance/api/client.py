# SPDX-License-Identifier: Apache-2.0
"""
The async client: three calls, each retried only as far as that cannot cost a second time.

The retry loop is our own: an ``AsyncRetrying`` of tenacity takes 84 microseconds a call (measured), a sixth of what a
status call costs a triggerer that waits for ten thousand jobs.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from ..exceptions import ConnectionLostError, GoEnhanceError, RateLimitedError, UnreachableError
from ..redaction import excerpt, without_token
from .limiter import Limiter
from .models import CREDITS_PATH, DETAIL_PATH, SUBMIT_PATH, Credits, Job, Submission, submit_body
from .responses import MAX_ANSWER_BYTES, RawAnswer, read_credits, read_job, read_submission, text_of

if TYPE_CHECKING:
    import aiohttp

    from .account import Account

log = logging.getLogger(__name__)

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]

#: Seconds to open a connection, DNS and TLS included. If they run out, nothing was sent ...
CONNECT_TIMEOUT = 10.0
#: ... provided that they run out before the request timeout: at most this share of it.
_CONNECT_SHARE = 0.8
#: An idle connection is not used again after this: a POST on one that the server just closed has no known outcome.
KEEPALIVE_SECONDS = 3.0

#: The longest wait between two attempts of one call, seconds. A longer ``Retry-After`` ends the attempts.
MAX_WAIT = 120.0


class GoEnhanceClient:
    """
    Call GoEnhance as one account. Create it with :func:`open_client`.

    :param account: settings of the account
    :param session: a session made by :func:`open_client`, with headers and timeouts
    :param sleep: waits between two attempts
    """

    def __init__(
        self, account: Account, session: aiohttp.ClientSession, sleep: Sleep = asyncio.sleep
    ) -> None:
        self.account = account
        self.session = session
        self.limiter = Limiter(account.max_concurrency, account.requests_per_second)
        self._sleep = sleep

    async def submit(self, source_img: str, reference_img: str) -> Submission:
        """
        Submit one face swap. Paid, and not idempotent: sent again only if it was certainly not accepted.

        :param source_img: URL of the picture with the face
        :param reference_img: URL of the picture that receives the face
        :raises GoEnhanceError: ``maybe_accepted`` says whether a job may run, and bill, nevertheless
        """
        body = submit_body(source_img, reference_img)

        async def once() -> Submission:
            answer = await self._request("POST", SUBMIT_PATH, "submit", paced=True, json=body)
            return read_submission(answer)

        return await self._retried(once, self.account.submit_attempts, _certainly_not_accepted)

    async def get_job(self, img_uuid: str) -> Job:
        """
        Read a job. Safe to repeat.

        :raises GoEnhanceError: of the class that fits, after the last attempt
        """

        async def once() -> Job:
            params = {"img_uuid": img_uuid}
            return read_job(await self._request("GET", DETAIL_PATH, "status call", params=params), img_uuid)

        return await self._retried(once, self.account.get_attempts, _is_transient)

    async def get_credits(self) -> Credits:
        """
        Read the credit balance. Free, so it is used to verify a token.

        :raises GoEnhanceError: of the class that fits, after the last attempt
        """

        async def once() -> Credits:
            return read_credits(await self._request("GET", CREDITS_PATH, "credits call"))

        return await self._retried(once, self.account.get_attempts, _is_transient)

    async def _request(
        self, method: str, path: str, what: str, *, paced: bool = False, **kwargs: Any
    ) -> RawAnswer:
        import aiohttp

        account = str(self.account)
        async with self.limiter.slot(paced=paced):
            try:
                async with self.session.request(
                    method,
                    self.account.base_url.rstrip("/") + path,
                    allow_redirects=False,  # a redirected POST would be sent twice; the API never redirects
                    **{**self.account.request_options, **kwargs},
                ) as response:
                    body = text_of(await _body_of(response), self.account.token)
                    retry_after = response.headers.get("Retry-After")
                    return RawAnswer(response.status, body, retry_after, what, account)
            except aiohttp.InvalidURL as error:
                raise UnreachableError(
                    f"{account}, or its proxy, has no usable host: {self._cause(error)}. "
                    f"Nothing was sent by this {what}."
                ) from None
            except (
                aiohttp.ClientConnectorError,
                aiohttp.ConnectionTimeoutError,
                aiohttp.ClientHttpProxyError,
            ) as error:
                raise UnreachableError(
                    f"Could not reach GoEnhance at {account}: {self._cause(error)}. Nothing was sent by this {what}."
                ) from None
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise ConnectionLostError(
                    f"The connection of {account} broke during the {what}: {self._cause(error)}."
                ) from None

    def _cause(self, error: BaseException) -> str:
        if isinstance(error, TimeoutError) and not str(error):
            return f"no answer within {self.account.request_timeout:g} s"
        return excerpt(without_token(str(error), self.account.token)) or type(error).__name__

    async def _retried(
        self, once: Callable[[], Awaitable[T]], attempts: int, may_repeat: Callable[[GoEnhanceError], bool]
    ) -> T:
        attempt = 1
        while True:
            try:
                return await once()
            except GoEnhanceError as error:
                if attempt >= attempts or not may_repeat(error):
                    raise
                wait = _wait_after(error, attempt)
                if isinstance(error, RateLimitedError):
                    # The limit is the account's: hold back its other calls too.
                    self.limiter.pause(wait)
                log.info("%s Trying again in %.1f s (attempt %d failed).", error, wait, attempt)
            await self._sleep(wait)
            attempt += 1


def _is_transient(error: GoEnhanceError) -> bool:
    if isinstance(error, RateLimitedError) and (error.retry_after or 0) > MAX_WAIT:
        return False
    return error.retryable


def _certainly_not_accepted(error: GoEnhanceError) -> bool:
    return isinstance(error, RateLimitedError | UnreachableError) and _is_transient(error)


def _wait_after(error: GoEnhanceError, attempt: int) -> float:
    """Return the seconds to wait before the next attempt, with jitter so that waiters do not all return at once."""
    if isinstance(error, RateLimitedError) and error.retry_after is not None:
        return error.retry_after + random.uniform(0.05, 0.5)  # noqa: S311  not cryptography
    return min(15.0, 0.5 * 2.0 ** (attempt - 1)) * random.uniform(1.0, 1.5)  # noqa: S311


async def _body_of(response: aiohttp.ClientResponse) -> bytes:
    """Read the body, up to the size that a GoEnhance response can have."""
    body = bytearray()
    async for block in response.content.iter_any():
        body += block
        if len(body) > MAX_ANSWER_BYTES:
            response.close()
            break
    return bytes(body)


@asynccontextmanager
async def open_client(
    account: Account, *, sleep: Sleep | None = None, keepalive_seconds: float = KEEPALIVE_SECONDS
) -> AsyncIterator[GoEnhanceClient]:
    """
    Open a client with one session for all its calls.

    :param account: settings of the account, timeouts and limits included
    :param sleep: waits between two attempts of one call; default: so that a submit can be stopped
    :param keepalive_seconds: how long an idle connection may be used again
    """
    import aiohttp

    from . import send_gate

    session = aiohttp.ClientSession(
        headers={**account.headers, "Authorization": f"Bearer {account.token}"},
        timeout=aiohttp.ClientTimeout(
            total=account.request_timeout,
            connect=min(CONNECT_TIMEOUT, _CONNECT_SHARE * account.request_timeout),
        ),
        # No limit of its own: the client's limiter is the only one.
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=keepalive_seconds),
        request_class=send_gate.GatedRequest,
        cookie_jar=aiohttp.DummyCookieJar(),
        proxy=account.proxy,
        # Otherwise aiohttp reads .netrc before each request, and does not send our token if it finds an entry.
        trust_env=False,
    )
    async with session:
        yield GoEnhanceClient(account, session, send_gate.sleep if sleep is None else sleep)
