# SPDX-License-Identifier: Apache-2.0
"""Wait for jobs by their UUIDs, whoever submitted them."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowSkipException, BaseSensorOperator, conf

from ..exceptions import JobFailedError, JobTimedOutError
from ..retry_policy import DEFAULT_RETRY_POLICY, fail_fast_without_retry_policy

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.definitions.retry_policy import RetryPolicy

    from ..api.polling import WaitOutcome

# Wide, because the vendor documents no shape; narrow enough to tell a UUID from a list that a template made a text of.
_UUID = re.compile(r"[A-Za-z0-9._:-]{1,200}")


class GoEnhanceJobSensor(BaseSensorOperator):
    """
    Wait until jobs are finished, and fail if one of them failed. It fetches no pictures.

    ``mode="reschedule"`` waits in the triggerer too: both keep the worker free, and the triggerer has one session for
    all jobs. ``poke_interval`` (default 5 s, the vendor's advice) is the time between two checks of one job.

    :param img_uuids: one UUID or several, or what a swap operator returned or pushed: its dicts are looked through
        for UUIDs, its pairs without a job are left out (templated)
    :param goenhance_conn_id: connection of the account that submitted them (templated)
    :param fail_on_failed_job: raise when a job failed (default ``True``); else report it in the return value
    :param deferrable: wait in the triggerer; default: ``[operators] default_deferrable``
    :param timeout: seconds to wait (default 3600); with ``soft_fail`` the task is then skipped
    :return: ``{img_uuid: "succeeded" | "failed" | "not_found"}``
    :raises JobFailedError: when a job failed, or GoEnhance does not know it
    :raises JobTimedOutError: when a job still ran when ``timeout`` was over; a retry waits on
    :raises ValueError: when ``img_uuids`` names no job, or what cannot be a UUID
    """

    template_fields: Sequence[str] = ("img_uuids", "goenhance_conn_id")
    ui_color = "#e8f0fe"

    def __init__(
        self,
        *,
        img_uuids: Any,
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

    def execute(self, context: Context) -> dict[str, str]:
        """Wait, here or in the triggerer."""
        with fail_fast_without_retry_policy():
            uuids = self._uuids()
            deadline = time.time() + float(self.timeout)
            if self.deferrable or self.reschedule:
                self._defer(uuids, deadline)
            return self._verdict(uuids, self._ask(uuids, deadline))

    def execute_complete(self, context: Context, event: Any = None) -> dict[str, str]:
        """
        Read what the trigger has seen.

        :param event: what the trigger sent
        """
        from ..execution.events import outcome_of

        with fail_fast_without_retry_policy():
            return self._verdict(self._uuids(), outcome_of(event))

    def _ask(self, uuids: Sequence[str], deadline: float) -> WaitOutcome:
        from ..execution.wait import wait_round
        from ..hooks.goenhance import GoEnhanceHook

        account = GoEnhanceHook(str(self.goenhance_conn_id)).account()
        return wait_round(account, uuids, deadline=deadline, poll_interval=float(self.poke_interval))

    def _defer(self, uuids: Sequence[str], deadline: float) -> None:
        from ..triggers.deferral import wait_in_triggerer

        self.defer(
            **wait_in_triggerer(
                str(self.goenhance_conn_id),
                uuids,
                deadline=deadline,
                poll_interval=float(self.poke_interval),
            )
        )

    def _uuids(self) -> list[str]:
        uuids = list(dict.fromkeys(_uuids_in(self.img_uuids)))
        if not uuids:
            raise ValueError(f"img_uuids of task {self.task_id!r} names no job.")
        for uuid in uuids:
            if not _UUID.fullmatch(uuid):
                raise ValueError(
                    f"img_uuids of task {self.task_id!r} holds {uuid[:80]!r}, which is no UUID. Give what another task "
                    "returned as its output (an XComArg), or set render_template_as_native_obj=True on the Dag: other "
                    "templates make one text of a list."
                )
        return uuids

    def _verdict(self, uuids: Sequence[str], outcome: WaitOutcome) -> dict[str, str]:
        if outcome.running:
            self._give_up(uuids, outcome)
        failed = {**outcome.failed, **outcome.declined}
        if failed and self.fail_on_failed_job:
            uuid, reason = next(iter(failed.items()))
            raise JobFailedError(
                f"{len(failed)} of {len(uuids)} jobs failed, the first: {uuid}: {reason or 'no reason given'}",
                img_uuid=uuid,
            )
        states = dict.fromkeys(uuids, "succeeded")
        states |= dict.fromkeys(outcome.failed, "failed")
        states |= dict.fromkeys(outcome.declined, "not_found")
        self.log.info("%d jobs are finished: %s.", len(states), dict(Counter(states.values())))
        return states

    def _give_up(self, uuids: Sequence[str], outcome: WaitOutcome) -> None:
        first = outcome.running[0]
        trouble = f" The last time it was asked: {outcome.last_error}" if outcome.last_error else ""
        message = (
            f"{len(outcome.running)} of {len(uuids)} jobs still run after {float(self.timeout):g} s, the first: "
            f"{first}. They go on at GoEnhance; a retry waits on and pays nothing.{trouble}"
        )
        if self.soft_fail:
            raise AirflowSkipException(message)
        raise JobTimedOutError(message, img_uuid=first)


def _uuids_in(given: Any) -> Iterator[str]:
    """Look for UUIDs in whatever an operator of this package returns or pushes, mapped or not."""
    if isinstance(given, Mapping):
        yield from _uuids_in(given["img_uuid"] if "img_uuid" in given else list(given.values()))
    elif isinstance(given, Iterable) and not isinstance(given, str):
        for part in given:
            yield from _uuids_in(part)
    elif given is not None and str(given).strip():
        yield str(given).strip()
