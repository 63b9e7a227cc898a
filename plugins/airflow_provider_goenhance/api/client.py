# SPDX-License-Identifier: Apache-2.0
"""The async client: three calls, each retried only as far as that cannot cost a second time."""

from __future__ import annotations

import logging
import random
from asyncio import sleep
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from ..exceptions import ConnectionLostError, GoEnhanceError, RateLimitedError, UnreachableError
from ..redaction import excerpt, without_token
from .models import CREDITS_PATH, DETAIL_PATH, SUBMIT_PATH, Credits, Job, Submission, submit_body
from .responses import MAX_ANSWER_BYTES, RawAnswer, read_credits, read_job, read_submission, text_of
from .throttle import Throttle

if TYPE_CHECKING:
    import aiohttp

    from .account import Account

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds to make a connection, name and TLS included. Running out of them proves that nothing was sent ...
CONNECT_TIMEOUT = 10.0
#: ... if they run out before the time of the whole request does: they get no more than this share of it.
_CONNECT_SHARE = 0.8
#: An idle connection older than this is not used again: a POST on one that the server just closed has no known outcome.
KEEPALIVE_SECONDS = 3.0

GET_ATTEMPTS = 4
SUBMIT_ATTEMPTS = 6
#: The longest wait between two tries of one call, seconds. ``Retry-After`` beyond it ends the tries.
MAX_WAIT = 120.0


class GoEnhanceClient:
    """
    Speaks to GoEnhance as one account. Make it with :func:`open_client`.

    :param account: where and as whom
    :param session: a session made by :func:`open_client`, which carries headers, time-outs and pool limits
    """

    def __init__(self, account: Account, session: aiohttp.ClientSession) -> None:
        self.account = account
        self.session = session
        self.throttle = Throttle(account.max_concurrency, account.requests_per_second)

    async def submit(self, source_img: str, reference_img: str) -> Submission:
        """
        Submit one face swap. Paid, and not idempotent: sent again only when it surely was not taken.

        :param source_img: URL of the picture that gives the face
        :param reference_img: URL of the picture that receives it
        :raises GoEnhanceError: ``maybe_accepted`` says whether a job may run, and bill, all the same
        """
        body = submit_body(source_img, reference_img)

        async def once() -> Submission:
            answer = await self._request("POST", SUBMIT_PATH, "submit", paced=True, json=body)
            return read_submission(answer)

        return await self._retried(once, SUBMIT_ATTEMPTS, _surely_not_taken)

    async def get_job(self, img_uuid: str) -> Job:
        """
        Ask how a job is doing. Safe to repeat.

        :raises GoEnhanceError: of the class that fits, after a few tries
        """

        async def once() -> Job:
            params = {"img_uuid": img_uuid}
            return read_job(await self._request("GET", DETAIL_PATH, "status call", params=params), img_uuid)

        return await self._retried(once, GET_ATTEMPTS, _may_get_better)

    async def get_credits(self) -> Credits:
        """
        Ask for the balance. Free, so it is what proves a token.

        :raises GoEnhanceError: of the class that fits, after a few tries
        """

        async def once() -> Credits:
            return read_credits(await self._request("GET", CREDITS_PATH, "credits call"))

        return await self._retried(once, GET_ATTEMPTS, _may_get_better)

    async def _request(
        self, method: str, path: str, what: str, *, paced: bool = False, **kwargs: Any
    ) -> RawAnswer:
        import aiohttp

        account = str(self.account)
        async with self.throttle.slot(paced=paced):
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
                    f"{account}, or the proxy to it, has no usable host: {self._cause(error)}. "
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
                    self.throttle.pause(wait)
                log.info("%s Trying again in %.1f s (try %d failed).", error, wait, attempt)
            await sleep(wait)
            attempt += 1


def _may_get_better(error: GoEnhanceError) -> bool:
    if isinstance(error, RateLimitedError) and (error.retry_after or 0) > MAX_WAIT:
        return False
    return error.retryable


def _surely_not_taken(error: GoEnhanceError) -> bool:
    return isinstance(error, RateLimitedError | UnreachableError) and _may_get_better(error)


def _wait_after(error: GoEnhanceError, attempt: int) -> float:
    """Return the seconds to wait before the next try, spread so that many waiters do not come back at once."""
    if isinstance(error, RateLimitedError) and error.retry_after is not None:
        return error.retry_after + random.uniform(0.05, 0.5)  # noqa: S311  not cryptography
    return min(15.0, 0.5 * 2.0 ** (attempt - 1)) * random.uniform(1.0, 1.5)  # noqa: S311


async def _body_of(response: aiohttp.ClientResponse) -> bytes:
    """Read the body, but no more than an answer of GoEnhance's can have."""
    body = bytearray()
    async for block in response.content.iter_any():
        body += block
        if len(body) > MAX_ANSWER_BYTES:
            response.close()
            break
    return bytes(body)


@asynccontextmanager
async def open_client(account: Account) -> AsyncIterator[GoEnhanceClient]:
    """
    Open a client with one session for all its calls.

    :param account: where and as whom, with time-outs and limits
    """
    import aiohttp

    session = aiohttp.ClientSession(
        headers={**account.headers, "Authorization": f"Bearer {account.token}"},
        timeout=aiohttp.ClientTimeout(
            total=account.request_timeout,
            connect=min(CONNECT_TIMEOUT, _CONNECT_SHARE * account.request_timeout),
        ),
        connector=aiohttp.TCPConnector(
            limit=max(1, account.max_concurrency), keepalive_timeout=KEEPALIVE_SECONDS
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        proxy=account.proxy,
        # Else aiohttp reads .netrc before each request, in a thread, and will not send our token beside its finds.
        trust_env=False,
    )
    async with session:
        yield GoEnhanceClient(account, session)
