# SPDX-License-Identifier: Apache-2.0
"""Hooks for the GoEnhance API, on those of the http provider."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from airflow.providers.http.hooks.http import HttpAsyncHook, HttpHook, SessionConfig

from ..api.account import Account
from ..api.answers import RawAnswer, read_credits, read_job, read_submission, without_query
from ..api.client import GoEnhanceClient, open_client
from ..api.models import (
    CREDITS_PATH,
    DEFAULT_BASE_URL,
    DETAIL_PATH,
    SUBMIT_PATH,
    Credits,
    Job,
    Submission,
    submit_body,
)
from ..exceptions import ConnectionLostError, GoEnhanceError, UnreachableError
from .account import account_of, is_account_field

if TYPE_CHECKING:
    from requests import Session


class GoEnhanceHook(HttpHook):
    """
    Speak to GoEnhance from a worker, one call at a time.

    No call is repeated: retrying is for whoever knows what a repetition costs.

    :param goenhance_conn_id: a connection of type ``goenhance``, or ``http``, whose password is the API token
    """

    conn_name_attr = "goenhance_conn_id"
    default_conn_name = "goenhance_default"
    conn_type = "goenhance"
    hook_name = "GoEnhance"
    default_host = DEFAULT_BASE_URL

    def __init__(self, goenhance_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(http_conn_id=goenhance_conn_id, **kwargs)
        self.goenhance_conn_id = goenhance_conn_id

    def account(self) -> Account:
        """
        Return where and as whom this hook asks.

        :raises TokenRefusedError: when the connection holds no token
        """
        conn = self.get_connection(self.goenhance_conn_id)
        return account_of(conn, conn.extra_dejson)

    def get_conn(
        self, headers: dict[Any, Any] | None = None, extra_options: dict[str, Any] | None = None
    ) -> Session:
        """Return a requests session with proxies, TLS and headers of the connection, and its token."""
        account = self.account()
        session = super().get_conn(headers, extra_options)
        for key in [key for key in session.headers if is_account_field(str(key))]:
            del session.headers[key]
        session.auth = None
        session.headers["Authorization"] = f"Bearer {account.token}"
        self.base_url = account.base_url
        return session

    def submit_face_swap(self, source_img: str, reference_img: str) -> Submission:
        """
        Submit one face swap: paid, and not idempotent.

        :param source_img: URL of the picture that gives the face (at most 5 MB, says the vendor)
        :param reference_img: URL of the picture that receives it (at most 5 MB)
        :raises GoEnhanceError: ``maybe_accepted`` says whether a job may run all the same
        """
        body = submit_body(source_img, reference_img)
        return read_submission(self._call("POST", SUBMIT_PATH, "submit", json=body))

    def get_job(self, img_uuid: str) -> Job:
        """
        Ask how a job is doing.

        :param img_uuid: what the submit returned
        :raises GoEnhanceError: of the class that fits
        """
        answer = self._call("GET", DETAIL_PATH, "status call", params={"img_uuid": img_uuid})
        return read_job(answer, img_uuid)

    def get_credits(self) -> Credits:
        """
        Ask for the balance; free.

        :raises GoEnhanceError: of the class that fits
        """
        return read_credits(self._call("GET", CREDITS_PATH, "credits call"))

    def test_connection(self) -> tuple[bool, str]:
        """Read the credit balance, which costs nothing and proves host and token."""
        try:
            credits_ = self.get_credits()
        except (GoEnhanceError, ValueError) as error:
            return False, str(error)
        limit = f", {credits_.queue_limit} jobs at a time" if credits_.queue_limit else ""
        return True, f"GoEnhance accepts the token: {credits_.count} credits left{limit}."

    def _call(self, method: str, path: str, what: str, **kwargs: Any) -> RawAnswer:
        import requests

        account = self.account()
        session = self.get_conn()
        kwargs.setdefault("timeout", account.request_timeout)
        try:
            with session:
                response = session.request(
                    method, account.base_url.rstrip("/") + path, allow_redirects=False, **kwargs
                )
                return RawAnswer(
                    response.status_code,
                    response.text,
                    response.headers.get("Retry-After"),
                    what,
                    str(account),
                )
        except requests.RequestException as error:
            if _was_not_sent(error):
                raise UnreachableError(
                    f"Could not reach GoEnhance at {account}: {without_query(str(error))}. "
                    f"Nothing was sent by this {what}."
                ) from None
            raise ConnectionLostError(
                f"The connection of {account} broke during the {what}: {without_query(str(error))}."
            ) from None


def _was_not_sent(error: BaseException) -> bool:
    """Tell whether ``requests`` failed before a connection stood."""
    import requests
    from urllib3.exceptions import NewConnectionError, ProxyError, SSLError

    if isinstance(error, requests.exceptions.ConnectTimeout | requests.exceptions.InvalidURL):
        return True
    if isinstance(error, requests.exceptions.ProxyError | requests.exceptions.SSLError):
        return True
    cause = error.args[0] if error.args else None
    reason = getattr(cause, "reason", cause)
    return isinstance(reason, NewConnectionError | ProxyError | SSLError)


class GoEnhanceAsyncHook(HttpAsyncHook):
    """
    Speak to GoEnhance from a trigger, or concurrently from a worker.

    :param goenhance_conn_id: a connection of type ``goenhance``, or ``http``, whose password is the API token
    """

    conn_name_attr = "goenhance_conn_id"
    default_conn_name = "goenhance_default"
    conn_type = "goenhance"
    hook_name = "GoEnhance"

    def __init__(self, goenhance_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(http_conn_id=goenhance_conn_id, **kwargs)
        self.goenhance_conn_id = goenhance_conn_id

    async def account(self) -> Account:
        """
        Return where and as whom this hook asks, without blocking the event loop.

        :raises TokenRefusedError: when the connection holds no token
        """
        from airflow.providers.common.compat.connection import get_async_connection, get_async_extra_dejson

        conn = await get_async_connection(self.goenhance_conn_id, hook=self)
        return account_of(conn, await get_async_extra_dejson(conn))

    async def config(self) -> SessionConfig:
        """Return the http provider's own session settings, so that its ``run`` works here too."""
        if not self._config:
            import aiohttp

            account = await self.account()
            self._config = SessionConfig(
                base_url=account.base_url,
                headers={**account.headers, "Authorization": f"Bearer {account.token}"},
                extra_options={
                    **account.request_options,
                    "timeout": aiohttp.ClientTimeout(account.request_timeout),
                },
            )
        return self._config

    @asynccontextmanager
    async def client(self) -> AsyncIterator[GoEnhanceClient]:
        """Open a client on one session; it retries what costs nothing to repeat."""
        async with open_client(await self.account()) as client:
            yield client
