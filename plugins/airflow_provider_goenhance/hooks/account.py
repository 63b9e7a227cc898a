# SPDX-License-Identifier: Apache-2.0
"""
Call GoEnhance through an Airflow connection, without the hooks of the http provider.

Tasks of this package need no more than this. The http provider's hook imports requests and much else, which takes
longer than a small task otherwise works.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.providers.common.compat.sdk import BaseHook

from ..api.client import GoEnhanceClient, open_client
from ..execution.task_loop import TaskLoop
from .connection import account_of

if TYPE_CHECKING:
    from ..api.account import Account
    from ..api.models import Credits

T = TypeVar("T")


class AccountClient:
    """
    The account of a connection, and its free calls.

    :param goenhance_conn_id: a connection of type ``goenhance``, or ``http``, whose password is the API token
    """

    _account: Account | None = None

    def __init__(self, goenhance_conn_id: str) -> None:
        self.goenhance_conn_id = goenhance_conn_id

    def account(self) -> Account:
        """
        Return the account of the connection, which is read once.

        :raises AuthenticationError: when the connection has no token
        """
        if self._account is None:
            conn = BaseHook.get_connection(self.goenhance_conn_id)
            self._account = account_of(conn, conn.extra_dejson)
        return self._account

    def get_credits(self) -> Credits:
        """
        Read the credit balance, which is free.

        :raises GoEnhanceError: of the class that fits
        """
        return self.call(lambda client: client.get_credits())

    def call(self, call: Callable[[GoEnhanceClient], Coroutine[Any, Any, T]]) -> T:
        """
        Make calls through a client, each of which is sent once.

        :param call: makes them
        """
        # In the calling thread: Airflow finds connections and masks their secrets there.
        account = replace(self.account(), submit_attempts=1, get_attempts=1)

        loop = TaskLoop()

        async def once() -> T:
            # An interrupted submit is awaited, because its job is paid for. Its UUID is in the log then.
            loop.when_ending(lambda: None)
            async with open_client(account) as client:
                return await call(client)

        return loop.run(once, drain_seconds=account.request_timeout)
