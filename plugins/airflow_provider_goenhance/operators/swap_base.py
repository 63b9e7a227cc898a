# SPDX-License-Identifier: Apache-2.0
"""Base of the operators that submit: the single and the batch operator."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from ..links import SwappedPicturesLink, rows_url
from .arguments import choice, flag, seconds, text, whole
from .base import JobOperatorBase
from .budget import caps_of, open_spending

if TYPE_CHECKING:
    from airflow.sdk import Context

    from ..api.account import Account
    from ..execution.attempt import Attempt
    from ..execution.wait_plan import WaitPlan
    from ..inputs.shrink import Shrink
    from ..lineage import RowsToTrace
    from ..results.ledger import Ledger, RunKey
    from ..results.recovery import Policies
    from ..results.states import OnBudgetReached, OnClear, OnUnknownSubmit, Reuse
    from ..results.stores import SwapStore
    from ..results.swap import Swap
    from ..results.waiting_jobs import RowsOf

#: Names a mapped task by its pair or batch.
MAP_INDEX_TEMPLATE = "{{ task.label }}"
#: Status of the rows that do not fail their task.
GOOD = frozenset({"succeeded", "reused", "submitted"})


class FaceSwapOperatorBase(JobOperatorBase):
    """
    Submit pairs, wait for their jobs, collect the pictures.

    Further arguments: see :class:`.base.JobOperatorBase`. Mapped with ``partial(...).expand(...)`` or
    ``expand_kwargs(...)`` the operator keeps its defaults, ``retry_policy`` and ``map_index_template`` included; a Dag
    sets them only to change them.

    :param wait_for_completion: wait for the jobs and collect their pictures (default ``True``); else leave the rows
        ``submitted``. A retry or clear then checks the jobs once, and collects those that are finished (templated)
    :param timeout: seconds to wait for the jobs of one round of submits (default 3600) (templated)
    :param on_unknown_submit: ``hold`` (default) leaves a submit whose outcome is unknown for a person; ``resubmit``
        sends it again with the next attempt, and may pay twice (templated)
    :param on_clear: ``reattach`` (default) makes a cleared task continue with the jobs it has; ``resubmit`` makes it
        submit, and pay for, all its pairs again (templated)
    :param failed_job_resubmits: how often a job that GoEnhance failed is submitted again, and paid again (default 0)
        (templated)
    :param reuse: ``succeeded`` (default) uses an earlier run's stored picture of the same pair and account, or adopts
        its job if that was paid for and its picture not stored; ``never`` pays for every pair; needs a results table
        (templated)
    :param max_pairs: budget of the run: the most submits that may be accepted, from all its tasks with a budget
        (default: no limit); needs a results table, like every budget (templated)
    :param max_cost: budget of the run in credits; needs a known price, see ``credits_per_swap`` of the connection
        (default: no limit) (templated)
    :param on_budget_reached: what happens when a budget of the run, or of the connection's day, has no room for a pair.
        ``hold`` (default) leaves its row ``held``, and the task does not fail; ``fail`` fails the task once all other
        rows are done (templated)
    :param staging: folder or ``ObjectStoragePath`` URL for copies of pictures that GoEnhance cannot fetch from where
        they are, such as local files; default: ``[goenhance] staging`` (templated)
    :param shrink: with a staging storage: ``source`` (default) shrinks source images over 5 MB, ``all`` reference
        images too, whose results get smaller with them, ``never`` none. Formats that GoEnhance may not read are
        converted in any case (templated)
    :param map_index_template: default: a mapped task is named by its pair or batch
    """

    #: Whether public pictures are looked at before they are sent, so that they can be shrunk: no plan has done so.
    looks_at_links: ClassVar[bool] = False
    operator_extra_links = (SwappedPicturesLink(),)
    shared_template_fields: ClassVar[tuple[str, ...]] = (
        *JobOperatorBase.shared_template_fields,
        "on_unknown_submit",
        "on_clear",
        "failed_job_resubmits",
        "reuse",
        "max_pairs",
        "max_cost",
        "on_budget_reached",
        "staging",
        "shrink",
    )

    def __init__(
        self,
        *,
        results_conn_id: str | None = None,
        on_unknown_submit: OnUnknownSubmit | str = "hold",
        on_clear: OnClear | str = "reattach",
        failed_job_resubmits: int | str = 0,
        reuse: Reuse | str = "succeeded",
        max_pairs: int | str | None = None,
        max_cost: int | str | None = None,
        on_budget_reached: OnBudgetReached | str = "hold",
        staging: str | None = None,
        shrink: Shrink | str = "source",
        map_index_template: str | None = MAP_INDEX_TEMPLATE,
        **kwargs: Any,
    ) -> None:
        super().__init__(results_conn_id=results_conn_id, map_index_template=map_index_template, **kwargs)
        self.on_unknown_submit = on_unknown_submit
        self.on_clear = on_clear
        self.failed_job_resubmits = failed_job_resubmits
        self.reuse = reuse
        self.max_pairs = max_pairs
        self.max_cost = max_cost
        self.on_budget_reached = on_budget_reached
        self.staging = staging
        self.shrink = shrink
        self._attempt: Attempt | None = None
        self._ledger: Ledger | None = None
        self._ti: Any = None
        self._told_to_end = False
        self._finished = False
        self._resources: ExitStack | None = None

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:
        """Map the operator. Airflow 3.1 and 3.2 do not apply the defaults of a signature to mapped tasks."""
        return super().partial(**{"map_index_template": MAP_INDEX_TEMPLATE, **kwargs})

    # -- implemented by the two operators ----------------------------------------------------------------------

    def open_store(self, context: Context, account: Account) -> SwapStore:
        """Return this task's rows, planned first if that is the task's job."""
        raise NotImplementedError

    def rows_of_task(self, context: Context) -> RowsOf | None:
        """Return where the task's rows are in the results table, ``None`` for a single row or no table."""
        raise NotImplementedError

    def rows_to_trace(self, ti: Any) -> RowsToTrace | None:
        """Return the rows of a task instance, for its lineage."""
        from ..lineage import RowsToTrace

        if not (results_conn_id := text(self.results_conn_id)):
            return None
        index = None if ti.map_index is None or ti.map_index < 0 else ti.map_index
        batch = text(getattr(self, "batch", None))
        of_task = {"map_index": index} if batch is None else {"batch": whole(batch, "batch")}
        return RowsToTrace(
            results_conn_id, ti.dag_id, ti.run_id, selection={"task_id": self.task_id, **of_task}
        )

    def push_img_uuids(self, context: Context, swaps: Sequence[Swap]) -> None:
        """Push each ``img_uuid`` to XCom as soon as it is known."""
        raise NotImplementedError

    def conclude(self, swaps: Sequence[Swap], *, tries_left: bool = False) -> Any:
        """
        Return the task's value, or raise the error that its rows call for.

        :param tries_left: whether Airflow would run the task again after a failure
        """
        raise NotImplementedError

    # -- the task -----------------------------------------------------------------------------------------------

    def run_task(self, context: Context) -> Any:
        """
        Submit, wait, collect.

        :raises GoEnhanceError: of the class that fits; the message says what was paid and what a retry will do
        :raises ValueError: when an argument is not valid; nothing was sent then
        :raises ResultsTableError: when the results table cannot be used
        """
        with self._open_resources():
            return self._process(self._prepare(context), context, first_look=True)

    def resume_task(self, context: Context, event: Any) -> Any:
        """
        Record what the trigger has seen, collect the pictures, and submit what is left.

        :param event: what the trigger sent
        :raises AirflowTaskTimeout: when the ``execution_timeout`` has passed and there is more to do than to collect
            what has ended
        """
        from ..triggers.deferral import execution_timed_out, has_time_left

        in_time = has_time_left(self, context)
        with self._open_resources():
            attempt = self._resume(context, event, in_time=in_time)
            if in_time:
                return self._process(attempt, context, first_look=False)
            swaps = attempt.store.load()
            if any(swap.status in {"planned", "submitted"} for swap in swaps):
                raise execution_timed_out(self)
            self.push_img_uuids(context, swaps)
            return self._conclude(swaps, context)

    def _resume(self, context: Context, event: Any, *, in_time: bool) -> Attempt:
        """Return the attempt with the event taken; wait on if the results table is out of reach at the moment."""
        from ..execution.events import resumed_by
        from ..execution.wait_plan import WaitPlan
        from ..results.transient_errors import OutOfReachError

        try:
            attempt = self._prepare(context)
            attempt.take_event(event, leave_running=not in_time)
        except OutOfReachError as error:
            resumed = resumed_by(event)
            plan = WaitPlan.of(resumed.carried or {})
            rows = self.rows_of_task(context)
            if not (resumed.outcome.handed_over and rows and in_time and plan.until > time.time()):
                raise
            self.log.warning("%s What has ended is collected with the next hand-over.", error)
            plan.doubts = resumed.outcome.doubts
            self.defer_until_finished(plan.until, rows=rows, plan=plan, context=context)
        return attempt

    def on_kill(self) -> None:
        """Stop submitting, mark the submits in flight as unknown, and log what continues without this task."""
        # Airflow lets the task go on after this: while it plans, or renders its templates, nothing else would keep it
        # from submitting. And it calls this after an `execute` that timed out.
        self._told_to_end = not self._finished
        if self._attempt is not None:
            self._attempt.end()

    @contextmanager
    def _open_resources(self) -> Iterator[None]:
        from ..execution.heap import frozen_heap

        self._finished = False
        with ExitStack() as self._resources, frozen_heap():
            try:
                yield
            finally:
                self._finished, self._told_to_end = True, False

    def _process(self, attempt: Attempt, context: Context, *, first_look: bool) -> Any:
        def submitted(swaps: Sequence[Swap]) -> None:
            self.push_img_uuids(context, swaps)

        def defer(
            waiting: Sequence[Swap], ahead: Sequence[Swap], deadline: float, plan: WaitPlan | None
        ) -> None:
            rows = self.rows_of_task(context) if waiting else None
            self._log_page(context)
            listed = ahead if rows is not None else [*waiting, *ahead]
            self.defer_until_finished(
                deadline,
                rows=rows,
                img_uuids=[str(swap.img_uuid) for swap in listed],
                plan=plan,
                context=context,
            )

        swaps = attempt.rounds(
            wait=flag(self.wait_for_completion, "wait_for_completion"),
            first_look=first_look,
            submitted=submitted,
            defer=defer if self.deferrable else None,
        )
        return self._conclude(swaps, context)

    def _conclude(self, swaps: Sequence[Swap], context: Context) -> Any:
        self._ti = ti = context["ti"]
        self._log_page(context)
        return self.conclude(swaps, tries_left=ti.try_number <= (ti.max_tries or 0))

    def _log_page(self, context: Context) -> None:
        """Log the address of the task's rows, which the log viewer makes a link."""
        ti = context["ti"]
        if text(self.results_conn_id) is not None:
            index = {} if (mapped := self.map_index_of(context)) is None else {"map_index": mapped}
            self.log.info("Results page: %s", rows_url(ti.dag_id, ti.run_id, task_id=self.task_id, **index))

    def _prepare(self, context: Context) -> Attempt:
        from ..execution.attempt import Attempt
        from ..execution.submit_round import longest_turn
        from ..hooks.input_stores import open_preparer
        from ..results.clock import claim_seconds
        from ..results.transitions import ClaimOwner

        policies = self._policies()  # an invalid policy must be found before anything is sent
        timeout = seconds(self.timeout, "timeout")
        caps = caps_of(self)
        shrink = choice(self.shrink, "shrink", ("source", "all", "never"))
        credentials = self.signing_credentials()
        account = self.account()
        ti = context["ti"]
        task_key = f"{self.task_id}[{self.map_index_of(context)}] "
        store = self.open_store(context, account)
        self._attempt = Attempt(
            account=account,
            store=store,
            owner=ClaimOwner(
                name=f"{task_key}try {ti.try_number} {uuid.uuid4().hex[:12]}",
                account=account.fingerprint,
                max_tries=ti.max_tries,
                claim_seconds=claim_seconds(
                    account.request_timeout, account.submit_attempts, longest_turn(account)
                ),
                spending=open_spending(self._ledger, account, self.run_key(context), caps),
                task_key=task_key,
            ),
            policies=policies,
            storage_options=self.storage_options(ti.run_id, credentials),
            poll_interval=seconds(self.poll_interval, "poll_interval"),
            timeout=timeout,
            preparer=open_preparer(
                staging=text(self.staging),
                shrink=shrink,  # type: ignore[arg-type]
                looks_at_links=self.looks_at_links,
                scope=f"{ti.dag_id}/{ti.run_id}/{task_key}",
                job_seconds=timeout,
            ),
        )
        assert self._resources is not None  # noqa: S101  run_task and resume_task set it
        # Before the results table is closed: Airflow calls `on_kill` after an `execute` that timed out.
        self._resources.callback(self._forget_attempt)
        if self._told_to_end:
            self._attempt.end()
        return self._attempt

    def _forget_attempt(self) -> None:
        self._attempt = None

    def open_ledger(self) -> Ledger:
        """Open the results table until the task ends or is deferred."""
        from ..hooks.results import open_ledger

        assert self._resources is not None  # noqa: S101  run_task and resume_task set it
        self._ledger = self._resources.enter_context(open_ledger(str(self.results_conn_id)))
        return self._ledger

    @property
    def label(self) -> str:
        """The name of a mapped task in the UI. Must not raise: Airflow reads it after a failure too."""
        raise NotImplementedError

    def text_renderer(self, context: Context) -> Callable[[str], str] | None:
        """Return a function that renders a template to text, ``None`` in a Dag that does so anyway."""
        dag = self.get_dag()
        if dag is None or not dag.render_template_as_native_obj:
            return None
        environment = dag.get_template_env(force_sandboxed=True)
        # Not `self.render_template`, which evaluates whatever its environment renders.
        return lambda template: environment.from_string(template).render(context)

    def run_key(self, context: Context) -> RunKey:
        """Return the run that the task belongs to."""
        from ..results.ledger import RunKey

        ti = context["ti"]
        return RunKey(ti.dag_id, ti.run_id)

    @staticmethod
    def map_index_of(context: Context) -> int | None:
        """Return the task's map index, ``None`` if it is not mapped."""
        index = context["ti"].map_index
        return index if index is not None and index >= 0 else None

    def _policies(self) -> Policies:
        from ..results.recovery import Policies

        return Policies(
            choice(self.on_unknown_submit, "on_unknown_submit", ("hold", "resubmit")),  # type: ignore[arg-type]
            choice(self.on_clear, "on_clear", ("reattach", "resubmit")),  # type: ignore[arg-type]
            whole(self.failed_job_resubmits, "failed_job_resubmits"),
            choice(self.reuse, "reuse", ("succeeded", "never")),  # type: ignore[arg-type]
        )
