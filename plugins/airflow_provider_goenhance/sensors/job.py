# SPDX-License-Identifier: Apache-2.0
"""Wait for jobs by their UUIDs, whoever submitted them."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseSensorOperator, PokeReturnValue, conf

from ..exceptions import JobFailedError, JobTimedOutError
from ..retry_policy import DEFAULT_RETRY_POLICY, final_where_no_policy

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.definitions.retry_policy import RetryPolicy

    from ..api.polling import WaitOutcome

#: Seconds that Airflow's own time-out of a deferral comes after ours, so that ours is the one that speaks.
FRAMEWORK_GRACE = 120.0


class GoEnhanceJobSensor(BaseSensorOperator):
    """
    Wait until jobs are finished, and fail if one of them failed.

    :param img_uuids: one UUID or several (templated)
    :param goenhance_conn_id: connection of the account that submitted them (templated)
    :param fail_on_failed_job: raise when a job failed (default ``True``); else report it in the return value
    :param deferrable: wait in the triggerer; default: ``[operators] default_deferrable``
    :return: ``{img_uuid: "succeeded" | "failed" | "not_found"}``
    :raises JobFailedError: when a job failed, or GoEnhance does not know it
    :raises JobTimedOutError: when a job still ran when ``timeout`` was over
    """

    template_fields: Sequence[str] = ("img_uuids", "goenhance_conn_id")
    ui_color = "#e8f0fe"

    def __init__(
        self,
        *,
        img_uuids: str | Sequence[str],
        goenhance_conn_id: str = "goenhance_default",
        fail_on_failed_job: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poke_interval: float = 5.0,
        timeout: float = 3600.0,
        retry_policy: RetryPolicy | None = DEFAULT_RETRY_POLICY,
        **kwargs: Any,
    ) -> None:
        if retry_policy is not None:  # Airflow below 3.3 does not know the argument
            kwargs["retry_policy"] = retry_policy
        super().__init__(poke_interval=poke_interval, timeout=timeout, **kwargs)
        self.img_uuids = img_uuids
        self.goenhance_conn_id = goenhance_conn_id
        self.fail_on_failed_job = fail_on_failed_job
        self.deferrable = deferrable

    def execute(self, context: Context) -> Any:
        """Wait, here or in the triggerer."""
        with final_where_no_policy():
            uuids = self._uuids()
            if not self.deferrable:
                return super().execute(context)
            from ..triggers.face_swap import GoEnhanceJobsTrigger

            return self.defer(
                trigger=GoEnhanceJobsTrigger(
                    goenhance_conn_id=str(self.goenhance_conn_id),
                    img_uuids=uuids,
                    deadline=time.time() + float(self.timeout),
                    poll_interval=float(self.poke_interval),
                ),
                method_name="execute_complete",
                timeout=dt.timedelta(seconds=float(self.timeout) + FRAMEWORK_GRACE),
            )

    def poke(self, context: Context) -> PokeReturnValue:
        """Ask once about every job."""
        from ..api.client import open_client
        from ..api.polling import wait_for_jobs
        from ..hooks.goenhance import GoEnhanceHook

        account = GoEnhanceHook(str(self.goenhance_conn_id)).account()

        async def ask() -> WaitOutcome:
            async with open_client(account) as client:
                # A deadline that is over asks once about each.
                return await wait_for_jobs(
                    client.get_job,
                    self._uuids(),
                    deadline=time.time(),
                    max_concurrency=account.max_concurrency,
                )

        outcome = asyncio.run(ask())
        self.log.info("%s.", outcome)
        if outcome.running:
            return PokeReturnValue(is_done=False)
        return PokeReturnValue(is_done=True, xcom_value=self._verdict(outcome))

    def execute_complete(self, context: Context, event: Any = None) -> dict[str, str]:
        """
        Read what the trigger has seen.

        :param event: what the trigger sent
        """
        from ..triggers.events import outcome_of

        with final_where_no_policy():
            return self._verdict(outcome_of(event))

    def _uuids(self) -> list[str]:
        given = [self.img_uuids] if isinstance(self.img_uuids, str) else list(self.img_uuids)
        uuids = [str(uuid).strip() for uuid in given if uuid and str(uuid).strip()]
        if not uuids:
            raise ValueError(f"img_uuids of task {self.task_id!r} names no job.")
        return uuids

    def _verdict(self, outcome: WaitOutcome) -> dict[str, str]:
        uuids = self._uuids()
        if outcome.running:
            raise JobTimedOutError(
                f"{len(outcome.running)} of {len(uuids)} jobs still run after {float(self.timeout):g} s, the first: "
                f"{outcome.running[0]}. They go on at GoEnhance; a retry waits on and pays nothing.",
                img_uuid=outcome.running[0],
            )
        failed = {**outcome.failed, **outcome.declined}
        if failed and self.fail_on_failed_job:
            uuid, reason = next(iter(failed.items()))
            raise JobFailedError(
                f"{len(failed)} of {len(uuids)} jobs failed, the first: {uuid}: {reason or 'no reason given'}",
                img_uuid=uuid,
            )
        states = dict.fromkeys(uuids, "succeeded")
        states |= dict.fromkeys(outcome.failed, "failed")
        return states | dict.fromkeys(outcome.declined, "not_found")
