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
from ..redaction import answer_text, excerpt, without_token
from .exchange import MAX_ANSWER_BYTES, Exchange, current_exchange, unpacked
from .limiter import Limiter
from .models import CREDITS_PATH, DETAIL_PATH, SUBMIT_PATH, Credits, Job, Submission, submit_body
from .responses import RawAnswer, read_credits, read_job, read_submission, text_of

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
    :param limiter: limits the requests; default: the account's limits, for this client alone
    """

    def __init__(
        self,
        account: Account,
        session: aiohttp.ClientSession,
        sleep: Sleep = asyncio.sleep,
        limiter: Limiter | None = None,
    ) -> None:
        self.account = account
        self.session = session
        self.limiter = limiter or Limiter(account.max_concurrency, account.requests_per_second)
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

        return await self._retried(once, self.account.submit_attempts, paid=True)

    async def get_job(self, img_uuid: str) -> Job:
        """
        Read a job. Safe to repeat.

        :raises GoEnhanceError: of the class that fits, after the last attempt
        """

        async def once() -> Job:
            params = {"img_uuid": img_uuid}
            return read_job(await self._request("GET", DETAIL_PATH, "status call", params=params), img_uuid)

        return await self._retried(once, self.account.get_attempts)

    async def get_credits(self) -> Credits:
        """
        Read the credit balance. Free, so it is used to verify a token.

        :raises GoEnhanceError: of the class that fits, after the last attempt
        """

        async def once() -> Credits:
            return read_credits(await self._request("GET", CREDITS_PATH, "credits call"))

        return await self._retried(once, self.account.get_attempts)

    async def _request(
        self, method: str, path: str, what: str, *, paced: bool = False, **kwargs: Any
    ) -> RawAnswer:
        url = self.account.base_url.rstrip("/") + path
        async with self.limiter.slot(paced=paced):
            exchange = Exchange(sent_once=self.account.get_attempts == 1)
            current_exchange.set(exchange)
            try:
                async with self.session.request(
                    method,
                    url,
                    allow_redirects=False,  # a redirected POST would be sent twice; the API never redirects
                    **{**self.account.request_options, **kwargs},
                ) as response:
                    exchange.status, exchange.headers = response.status, response.headers
                    await _read_body(response, exchange.body)
            except GoEnhanceError:
                raise  # one of ours, about what it says
            except Exception as error:  # noqa: BLE001  whatever it is, the request may have been sent
                self._recover(exchange, error, what)
            else:
                exchange.normalize_answer()
        return RawAnswer(
            exchange.status or 0,
            text_of(unpacked(exchange.body), self.account.token),
            exchange.headers.get("Retry-After"),
            what,
            str(self.account),
            url=url,
            date=exchange.headers.get("Date"),
            location=exchange.headers.get("Location"),
        )

    def _recover(self, exchange: Exchange, error: Exception, what: str) -> None:
        """Raise the error that a failed call calls for, unless a complete answer had arrived before it failed."""
        import aiohttp

        account, cause = self.account, self._cause(error)
        if not exchange.connected:
            if isinstance(error, aiohttp.InvalidURL):
                raise UnreachableError(
                    f"{account}, or its proxy, has no usable host: {cause}. Nothing was sent by this {what}."
                ) from None
            raise UnreachableError(
                f"Could not reach GoEnhance at {account}: {cause}. Nothing was sent by this {what}."
            ) from None
        if not exchange.recover_answer():
            text = text_of(exchange.begin_of_answer(), account.token)
            arrived = f" This much of an answer had arrived: {excerpt(text, 200)!r}." if text.strip() else ""
            lost = ConnectionLostError(
                f"The {what} through {account} got no complete answer: {cause}.{arrived}"
            )
            lost.answer_text = answer_text(text) or None
            raise lost from None
        log.info(
            "The %s through %s got a complete answer, and then the connection broke: %s.",
            what,
            account,
            cause,
        )

    def _cause(self, error: BaseException) -> str:
        if isinstance(error, TimeoutError) and not str(error):
            return f"no answer within {self.account.request_timeout:g} s"
        return excerpt(without_token(str(error), self.account.token)) or type(error).__name__

    async def _retried(self, once: Callable[[], Awaitable[T]], attempts: int, *, paid: bool = False) -> T:
        attempt = 1
        while True:
            try:
                return await once()
            except GoEnhanceError as error:
                # The only place that says what an error of a call means for its cost.
                error = error.of_paid_call() if paid else error.of_free_call()
                if attempt >= attempts or not (
                    self._may_repeat_submit(error) if paid else _is_transient(error)
                ):
                    raise
                wait = wait_after(error, attempt)
                if isinstance(error, RateLimitedError):
                    # The limit is the account's: hold back its other calls too.
                    self.limiter.pause(wait)
                log.info("%s Trying again in %.1f s (attempt %d failed).", error, wait, attempt)
            await self._sleep(wait)
            attempt += 1

    def _may_repeat_submit(self, error: GoEnhanceError) -> bool:
        # After a 429, a row of a shared account waits for its turn as long as the others do, and unclaimed.
        again = UnreachableError if self.limiter.shared else RateLimitedError | UnreachableError
        return isinstance(error, again) and _is_transient(error)


def _is_transient(error: GoEnhanceError) -> bool:
    if isinstance(error, RateLimitedError) and (error.retry_after or 0) > MAX_WAIT:
        return False
    return error.retryable


def wait_after(error: GoEnhanceError, attempt: int) -> float:
    """Return the seconds to wait before the next attempt, with jitter so that waiters do not all return at once."""
    backoff = min(15.0, 0.5 * 2.0 ** (attempt - 1)) * random.uniform(1.0, 1.5)  # noqa: S311  not cryptography
    if isinstance(error, RateLimitedError) and error.retry_after is not None:
        # Never less than the backoff: a time of 0, or one that has passed, would use up all attempts at once.
        return max(backoff, error.retry_after + random.uniform(0.05, 0.5))  # noqa: S311
    return backoff


async def _read_body(response: aiohttp.ClientResponse, body: bytearray) -> None:
    """Read a body into ``body``, up to the size that a GoEnhance response can have."""
    async for block in response.content.iter_any():
        body += block
        if len(body) > MAX_ANSWER_BYTES:
            response.close()
            break


@asynccontextmanager
async def open_client(
    account: Account,
    *,
    sleep: Sleep | None = None,
    keepalive_seconds: float = KEEPALIVE_SECONDS,
    limiter: Limiter | None = None,
) -> AsyncIterator[GoEnhanceClient]:
    """
    Open a client with one session for all its calls.

    :param account: settings of the account, timeouts and limits included
    :param sleep: waits between two attempts of one call; default: so that a submit can be stopped
    :param keepalive_seconds: how long an idle connection may be used again
    :param limiter: limits the requests; default: the account's limits, for this client alone
    """
    from . import send_gate
    from .http_session import open_session

    connect_seconds = min(CONNECT_TIMEOUT, _CONNECT_SHARE * account.request_timeout)
    async with open_session(
        account, connect_seconds=connect_seconds, keepalive_seconds=keepalive_seconds
    ) as session:
        yield GoEnhanceClient(account, session, send_gate.sleep if sleep is None else sleep, limiter)
