# SPDX-License-Identifier: Apache-2.0
"""The trigger that waits for the jobs of one task."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from ..api.polling import WaitOutcome, wait_for_jobs
from ..exceptions import GoEnhanceError
from ..execution.events import event_of, event_of_error
from ..execution.messages import pluralize

if TYPE_CHECKING:
    from ..hooks.goenhance import GoEnhanceAsyncHook

log = logging.getLogger(__name__)


class GoEnhanceJobsTrigger(BaseTrigger):
    """
    Poll many jobs over one session, until all are finished or the deadline has passed.

    The arguments are stored in the metadata database and are ids and numbers only: no token, no link.

    :param goenhance_conn_id: connection of the account
    :param img_uuids: the jobs; none to wait until the deadline
    :param deadline: end of the wait, seconds since the epoch, so that a restart of the triggerer does not extend it
    :param poll_interval: seconds between two status calls for one new job (default 5, the vendor's advice)
    """

    def __init__(
        self,
        goenhance_conn_id: str,
        img_uuids: list[str],
        deadline: float,
        poll_interval: float = 5.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.goenhance_conn_id = goenhance_conn_id
        self.img_uuids = img_uuids
        self.deadline = deadline
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments that recreate this trigger."""
        return (
            "airflow_provider_goenhance.triggers.face_swap.GoEnhanceJobsTrigger",
            {
                "goenhance_conn_id": self.goenhance_conn_id,
                "img_uuids": self.img_uuids,
                "deadline": self.deadline,
                "poll_interval": self.poll_interval,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, then send one event; an error that ends the wait is sent too, never raised."""
        try:
            event = await self._wait()
        except (GoEnhanceError, ValueError) as error:
            log.error("%s", error)  # noqa: TRY400  the message says it all; a traceback adds nothing
            event = event_of_error(error)
        except Exception as error:
            log.exception("Waiting for %d jobs failed.", len(self.img_uuids))
            event = event_of_error(error)
        yield TriggerEvent(event)

    async def _wait(self) -> dict[str, Any]:
        if not self.img_uuids:
            # The task has no job yet, and looks at the deadline whether the account has room for one.
            await asyncio.sleep(self.deadline - time.time())
            return event_of(WaitOutcome())
        # The first import takes most of a second, so it must not block the thread of all triggers.
        hook_class = await asyncio.to_thread(_hook_class)
        async with hook_class(self.goenhance_conn_id).client() as client:
            outcome = await wait_for_jobs(
                client.get_job,
                self.img_uuids,
                deadline=self.deadline,
                poll_interval=self.poll_interval,
                max_concurrency=client.account.max_concurrency,
                host=client.account.base_url,
            )
        log.info("Waited for %s: %s.", pluralize(len(self.img_uuids), "job"), outcome)
        return event_of(outcome)

    async def on_kill(self) -> None:
        """Log that the jobs keep running: GoEnhance has no call to cancel one."""
        if not self.img_uuids:
            return
        log.warning(
            "The task was stopped by a user while %d jobs were running. They keep running, and billing, at GoEnhance: "
            "%s. Their rows keep each img_uuid; clearing the task re-attaches to them and pays nothing.",
            len(self.img_uuids),
            ", ".join(self.img_uuids[:20]) + (", ..." if len(self.img_uuids) > 20 else ""),
        )


def _hook_class() -> type[GoEnhanceAsyncHook]:
    from ..hooks.goenhance import GoEnhanceAsyncHook

    return GoEnhanceAsyncHook
