# SPDX-License-Identifier: Apache-2.0
"""Wait for jobs by their ``img_uuid``, no matter which task submitted them."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowSkipException, BaseSensorOperator, conf

from ..exceptions import JobFailedError, JobTimedOutError
from ..retry_policy import RetryPolicyMixin

if TYPE_CHECKING:
    from airflow.sdk import Context

    from ..api.wait_outcome import WaitOutcome

# Wide, because the vendor documents no format; narrow enough to reject a list that a template rendered as text.
_IMG_UUID = re.compile(r"[A-Za-z0-9._:-]{1,200}")


class GoEnhanceJobSensor(RetryPolicyMixin, BaseSensorOperator):
    """
    Wait until jobs are finished, and fail if one of them failed. Pictures are not collected.

    ``mode="reschedule"`` waits in the triggerer too: both keep the worker free, and the triggerer uses one session for
    all jobs. ``poke_interval`` (default 5 s, the vendor's advice) is the time between two status calls for one job.

    :param img_uuids: one ``img_uuid`` or several, or the output of a swap operator; pairs without a job are left out
        (templated)
    :param goenhance_conn_id: connection of the account that submitted them (templated)
    :param fail_on_failed_job: raise when a job failed (default ``True``); else only report it in the return value
    :param deferrable: wait in the triggerer; default: ``[operators] default_deferrable``
    :param timeout: seconds to wait (default 3600); with ``soft_fail`` the task is then skipped
    :return: ``{img_uuid: "succeeded" | "failed" | "not_found"}``
    :raises JobFailedError: when a job failed, or GoEnhance does not know it
    :raises JobTimedOutError: when a job still ran at the ``timeout``; a retry waits again
    :raises ValueError: when ``img_uuids`` contains no ``img_uuid``, or a value that cannot be one
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
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=poke_interval, timeout=timeout, **kwargs)
        self.img_uuids = img_uuids
        self.goenhance_conn_id = goenhance_conn_id
        self.fail_on_failed_job = fail_on_failed_job
        self.deferrable = deferrable

    def run_task(self, context: Context) -> dict[str, str]:
        """Wait in the worker or in the triggerer."""
        img_uuids = self._checked_img_uuids()
        deadline = time.time() + float(self.timeout)
        if self.deferrable or self.reschedule:
            self._defer(context, img_uuids, {"until": deadline})
        return self._conclude(img_uuids, self._wait(img_uuids, deadline))

    def resume_task(self, context: Context, event: Any) -> dict[str, str]:
        """
        Return or raise what the trigger has seen.

        :param event: what the trigger sent
        """
        from ..execution.events import resumed_by
        from ..triggers.deferral import execution_timed_out, has_time_left, jobs_of_a_trigger

        resumed = resumed_by(event)
        img_uuids = self._checked_img_uuids()
        done = int((resumed.carried or {}).get("done", 0))
        waited_for = jobs_of_a_trigger(img_uuids[done:]) if resumed.carried else img_uuids
        outcome = resumed.complete(waited_for, self._ask)
        in_time = has_time_left(self, context)
        if outcome.running and not in_time:
            raise execution_timed_out(self)
        if len(waited_for) == len(img_uuids) and not outcome.handed_over:
            return self._conclude(img_uuids, outcome)
        return self._go_on(context, img_uuids, outcome, resumed.carried or {}, len(waited_for))

    def _go_on(
        self,
        context: Context,
        img_uuids: Sequence[str],
        outcome: WaitOutcome,
        carried: Mapping[str, Any],
        waited_for: int,
    ) -> dict[str, str]:
        """
        Wait for the next jobs of a list that is too long for the arguments of one trigger.

        :param outcome: what has become of the jobs that the trigger has waited for
        :param waited_for: how many these are
        """
        from ..execution.events import fitting_values

        not_found = fitting_values({**(carried.get("declined") or {}), **outcome.declined})
        done = int(carried.get("done", 0)) + (0 if outcome.running else waited_for)
        if done < len(img_uuids) and carried["until"] > time.time():
            self._defer(context, img_uuids, {**carried, "done": done, "declined": not_found}, outcome)
        # What has become of each does not fit into an event either.
        whole = self._ask([img_uuid for img_uuid in img_uuids if img_uuid not in not_found])
        whole.declined |= not_found
        return self._conclude(img_uuids, whole)

    def _ask(self, img_uuids: Sequence[str]) -> WaitOutcome:
        return self._wait(img_uuids, time.time())

    def _wait(self, img_uuids: Sequence[str], deadline: float) -> WaitOutcome:
        from ..execution.wait import wait_round
        from ..hooks.account import AccountClient

        account = AccountClient(str(self.goenhance_conn_id)).account()
        return wait_round(account, img_uuids, deadline=deadline, poll_interval=float(self.poke_interval))

    def _defer(
        self,
        context: Context,
        img_uuids: Sequence[str],
        carried: dict[str, Any],
        waited: WaitOutcome | None = None,
    ) -> None:
        """
        Wait in the triggerer for as many jobs as its arguments can hold.

        :param carried: when the wait ends, and how many jobs have ended already
        :param waited: how often GoEnhance has said of jobs that it does not know them
        """
        from ..triggers.deferral import execution_deadline, wait_in_triggerer

        self.defer(
            **wait_in_triggerer(
                str(self.goenhance_conn_id),
                img_uuids[int(carried.get("done", 0)) :],
                deadline=float(carried["until"]),
                poll_interval=float(self.poke_interval),
                at_most_until=execution_deadline(self, context),
                doubts=waited.doubts if waited is not None else None,
                carried=carried,
            )
        )

    def _checked_img_uuids(self) -> list[str]:
        found = list(dict.fromkeys(_img_uuids_in(self.img_uuids)))
        if not found:
            raise ValueError(
                f"img_uuids of task {self.task_id!r} must contain at least one img_uuid; got "
                f"{str(self.img_uuids)[:80]!r}."
            )
        for img_uuid in found:
            if not _IMG_UUID.fullmatch(img_uuid):
                raise ValueError(
                    f"img_uuids of task {self.task_id!r} must contain img_uuid values; got {img_uuid[:80]!r}. Pass the "
                    "output of another task (an XComArg), or set render_template_as_native_obj=True on the Dag: other "
                    "templates render a list as one text."
                )
        return found

    def _conclude(self, img_uuids: Sequence[str], outcome: WaitOutcome) -> dict[str, str]:
        if outcome.running:
            self._raise_timed_out(img_uuids, outcome)
        failed = {**outcome.failed, **outcome.declined}
        if failed and self.fail_on_failed_job:
            img_uuid, reason = next(iter(failed.items()))
            raise JobFailedError(
                f"{len(failed)} of {len(img_uuids)} jobs failed, the first: {img_uuid}: {reason or 'no reason given'}",
                img_uuid=img_uuid,
            )
        states = dict.fromkeys(img_uuids, "succeeded")
        states |= dict.fromkeys(outcome.failed, "failed")
        states |= dict.fromkeys(outcome.declined, "not_found")
        self.log.info("%d jobs are finished: %s.", len(states), dict(Counter(states.values())))
        return states

    def _raise_timed_out(self, img_uuids: Sequence[str], outcome: WaitOutcome) -> None:
        # A job that may be unknown is the one to look at.
        first = next(iter(outcome.doubted), outcome.running[0])
        trouble = f" The last status call failed: {outcome.last_error}" if outcome.last_error else ""
        if doubt := outcome.doubt(first):
            trouble += f" {doubt}"
        message = (
            f"{len(outcome.running)} of {len(img_uuids)} jobs still run after {float(self.timeout):g} s, the first: "
            f"{first}. They keep running at GoEnhance; a retry waits again and pays nothing.{trouble}"
        )
        if self.soft_fail:
            raise AirflowSkipException(message)
        raise JobTimedOutError(message, img_uuid=first)


def _img_uuids_in(given: Any) -> Iterator[str]:
    """Yield each ``img_uuid`` in what an operator of this package returns or pushes, mapped or not."""
    if isinstance(given, Mapping) and {"counts", "rows"} <= set(given):
        raise ValueError(
            f"img_uuids holds the counts of {given.get('pairs')} pairs, and not their UUIDs, because a task with so "
            "many pairs does not push them to XCom. Let the swap task wait (wait_for_completion=True), wait with "
            "GoEnhanceCollectOperator, or raise [goenhance] max_xcom_pairs."
        )
    if isinstance(given, Mapping):
        yield from _img_uuids_in(given["img_uuid"] if "img_uuid" in given else list(given.values()))
    elif isinstance(given, Iterable) and not isinstance(given, str):
        for part in given:
            yield from _img_uuids_in(part)
    elif given is not None and str(given).strip():
        yield str(given).strip()
