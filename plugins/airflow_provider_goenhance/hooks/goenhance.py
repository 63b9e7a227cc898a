# SPDX-License-Identifier: Apache-2.0
"""Hooks for the GoEnhance API, based on those of the http provider."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from airflow.providers.http.hooks.http import HttpAsyncHook, HttpHook, SessionConfig

from ..api.account import Account
from ..api.client import GoEnhanceClient, open_client
from ..api.models import DEFAULT_BASE_URL, Job, Submission
from ..compatibility import extra_of
from ..redaction import excerpt
from .account import AccountClient
from .connection import account_of

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession
    from requests import PreparedRequest, Session

log = logging.getLogger(__name__)


class _Bearer:
    """
    Add the token to a request.

    It is an ``auth`` and not a header, because requests replaces the header with an entry of ``.netrc``.
    """

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class _AccountSession(SessionConfig):
    """The http provider's session settings, without the token in their ``repr``."""

    def __repr_args__(self) -> Any:
        return [("base_url", self.base_url)]


class GoEnhanceHook(AccountClient, HttpHook):
    """
    Call GoEnhance from a worker, one call at a time.

    No call is repeated: only the caller knows what a repetition costs. The calls are those of the async client, in a
    thread of their own, so they may also be made where an event loop runs.

    :param goenhance_conn_id: a connection of type ``goenhance``, or ``http``, whose password is the API token
    """

    conn_name_attr = "goenhance_conn_id"
    default_conn_name = "goenhance_default"
    conn_type = "goenhance"
    hook_name = "GoEnhance"
    default_host = DEFAULT_BASE_URL

    def __init__(self, goenhance_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        HttpHook.__init__(self, http_conn_id=goenhance_conn_id, **kwargs)
        self.goenhance_conn_id = goenhance_conn_id

    def get_conn(
        self, headers: dict[Any, Any] | None = None, extra_options: dict[str, Any] | None = None
    ) -> Session:
        """
        Return a requests session with proxy, TLS and headers of the connection, and its token.

        :param headers: further headers
        :param extra_options: as for the http provider's hook
        """
        from requests.utils import default_headers

        account = self.account()
        session = super().get_conn(headers, extra_options)
        # The parent sends our own fields of the extra as headers.
        session.headers.clear()
        session.headers.update({**default_headers(), **account.headers, **(headers or {})})
        session.auth = _Bearer(account.token)
        session.verify, session.cert, session.trust_env = account.verify, account.cert, account.trust_env
        proxy = account.request_options.get("proxy")
        session.proxies = {"http": proxy, "https": proxy} if proxy else {}
        self.base_url = account.base_url
        return session

    def submit_face_swap(self, source_img: str, reference_img: str) -> Submission:
        """
        Submit one face swap: paid, and not idempotent.

        :param source_img: URL of the picture with the face (at most 5 MB according to the vendor)
        :param reference_img: URL of the picture that receives the face (at most 5 MB)
        :raises GoEnhanceError: ``maybe_accepted`` says whether a job may run nevertheless
        """

        async def call(client: GoEnhanceClient) -> Submission:
            submission = await client.submit(source_img, reference_img)
            # Here and not in the calling thread, which may have been interrupted: the job is paid for.
            log.info("GoEnhance accepted the swap as job %s.", submission.img_uuid)
            return submission

        return self.call(call)

    def get_job(self, img_uuid: str) -> Job:
        """
        Read a job.

        :param img_uuid: as the submit returned it
        :raises GoEnhanceError: of the class that fits
        """
        return self.call(lambda client: client.get_job(img_uuid))

    def test_connection(self) -> tuple[bool, str]:
        """Read the credit balance, which is free and verifies host and token."""
        try:
            credits_ = self.get_credits()
        except Exception as error:  # noqa: BLE001  the form shows every reason
            return False, excerpt(_without_id(str(error), self.goenhance_conn_id)) or type(error).__name__
        limit = f", {credits_.queue_limit} jobs at a time" if credits_.queue_limit else ""
        return True, f"GoEnhance accepts the token: {credits_.count} credits left{limit}."


def _without_id(message: str, conn_id: str) -> str:
    """Return an error about a connection without its id: the form tests it under one that Airflow made up."""
    name = f"onnection {conn_id!r}"
    message = re.sub(rf"c{re.escape(name)} \((\S+)\)", r"\1", message)
    message = message.replace(f"C{name}: ", "").replace(f"C{name}", "The connection")
    message = message.replace(f"c{name}", "this connection")
    # Not the name of a field, which is spelled as it is.
    return f"The {message[4:]}" if message.startswith("the ") else message


class GoEnhanceAsyncHook(HttpAsyncHook):
    """
    Call GoEnhance from a trigger, or concurrently from a worker.

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
        Return the account of the connection, without blocking the event loop.

        :raises AuthenticationError: when the connection has no token
        """
        conn = await self.aget_connection(self.goenhance_conn_id)
        extra = await extra_of(conn)
        # In a thread, because certificates may have to be read from files.
        return await asyncio.to_thread(account_of, conn, extra)

    async def config(self) -> SessionConfig:
        """Return the http provider's own session settings, so that its ``run`` works here too."""
        if not self._config:
            import aiohttp

            account = await self.account()
            self._config = _AccountSession(
                base_url=account.base_url,
                headers={**account.headers, "Authorization": f"Bearer {account.token}"},
                extra_options={
                    **account.request_options,
                    "timeout": aiohttp.ClientTimeout(account.request_timeout),
                },
            )
        return self._config

    async def run(
        self,
        session: ClientSession | None = None,
        endpoint: str | None = None,
        data: dict[str, Any] | str | None = None,
        json: dict[str, Any] | str | None = None,
        headers: dict[str, Any] | None = None,
        extra_options: dict[str, Any] | None = None,
    ) -> ClientResponse:
        """
        Call any endpoint with any method, as the http provider's hook does.

        :param session: a session of the caller's; without one the whole response is read before it is returned,
            because its connection closes with the session
        :param endpoint: path below the connection's host
        :param data: body to send
        :param json: body to send as JSON
        :param headers: further headers
        :param extra_options: as for the http provider's hook
        :raises HttpErrorException: for an HTTP status of 400 or more
        """
        import aiohttp

        if session is not None:
            return await super().run(session, endpoint, data, json, headers, extra_options)
        async with aiohttp.ClientSession() as own:
            response = await super().run(own, endpoint, data, json, headers, extra_options)
            await response.read()
            return response

    @asynccontextmanager
    async def client(self) -> AsyncIterator[GoEnhanceClient]:
        """Open a client with one session; it retries calls that cost nothing to repeat."""
        async with open_client(await self.account()) as client:
            yield client
