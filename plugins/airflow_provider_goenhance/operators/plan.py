# SPDX-License-Identifier: Apache-2.0
"""Read a manifest, plan its rows, and return the batches to map over."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ..lineage import LineageMixin, RowsToTrace, note_reads
from ..retry_policy import RetryPolicyMixin
from ..settings import default_storage
from .approval import not_approved, read_answer
from .arguments import choice, flag, limit, seconds, text, whole

if TYPE_CHECKING:
    from airflow.sdk import BaseNotifier, Context

    from ..execution.rejected_rows import RejectedRows
    from ..execution.run_plan import RunPlan
    from ..hooks.account import AccountClient
    from ..inputs.findings import Preflight
    from ..inputs.shrink import Shrink
    from ..results.ledger import Ledger, RunKey
    from ..results.states import OnUnknownSubmit, Reuse

Mode = Literal["pairs", "matrix"]


class GoEnhancePlanOperator(LineageMixin, RetryPolicyMixin):
    """
    Read a manifest, write a ``planned`` row for each pair, and return the batches to map the swap task over.

    Planning is repeatable: existing rows stay as they are, so a retry or a clear of this task never plans a second
    swap for a pair. Pairs added to the manifest in the meantime form new batches.

    :param manifest: path, web address or ``ObjectStoragePath`` URL of the manifest, ``run:<dag_id>/<run_id>`` for the
        failures of an earlier run, or a list of these. Blank: the manifests whose arrival started the run, see
        :class:`..triggers.manifest.GoEnhanceManifestTrigger` (templated)
    :param statuses: which rows of an earlier run are read, such as ``["failed", "held"]``; default: ``failed``,
        ``unknown``, ``held`` and ``planned`` (templated)
    :param manifest_conn_id: Airflow connection of the manifest's storage, or of ``manifest_sql`` (templated)
    :param manifest_sql: SQL query whose rows are the manifest, or the name of a ``.sql`` file with it, instead of
        ``manifest`` (templated)
    :param columns: the names that columns have in the manifest, e.g. ``{"source_img": "Portrait"}`` (templated)
    :param mode: ``pairs`` (default), or ``matrix``: every source image with every reference image (templated)
    :param reference_manifest: location of the reference images of a matrix, if they are in a manifest of their own
        (templated)
    :param strict: fail if any row would be rejected, before anything is planned (default ``False``) (templated)
    :param swap_task_id: task id of the batch operator that will swap the rows (default ``swap``)
    :param pairs_per_task: pairs in one mapped task; 0 (default) chooses a suitable number (templated)
    :param limit: plan at most this many pairs, 0 (default) for all (templated)
    :param check_only: dry run: read and check everything, log the plan, write and submit nothing (templated)
    :param reuse: ``succeeded`` (default) or ``never``, see the swap operators, which must be given the same (templated)
    :param on_unknown_submit: ``hold`` (default) or ``resubmit``, see the swap operators, which must be given the same
        (templated)
    :param require_consent: reject rows without a ``consent_ref`` (default ``False``) (templated)
    :param check_account: read the credit balance before anything is submitted, so that a refused token or an
        empty account fails this task (default ``True``)
    :param max_pairs: budget of the run, as for the swap operators; the estimate of its cost keeps to it (templated)
    :param max_cost: the same in credits (templated)
    :param approve_above: a run that would cost more than this many credits waits for a person's approval, in Airflow's
        *Required Actions*; default: none does (templated)
    :param approval_timeout: how long an approval is waited for (default 12 hours); an unanswered question is a no
    :param approval_notifiers: called when the question is asked, as ``notifiers`` of Airflow's ``ApprovalOperator``
    :param marking: replace a reused picture that an earlier run kept without the disclosure mark by a marked copy
        (default ``True``)
    :param settle_by_credits: before planning, return unknown submits of earlier runs to ``planned`` where the account's
        balance shows that none of them was accepted (default ``False``) (templated)
    :param job_timeout: for ``settle_by_credits``, how long a job may run, seconds (default 3600) (templated)
    :param storage: where the pictures are kept, as for the swap operators; ``rejected.csv`` goes there (templated)
    :param preflight: whether the pictures are looked at before anything is paid. ``warn`` (default) notes on the rows,
        in ``input_warnings``, what is wrong with them; ``reject`` also rejects rows whose picture cannot be used;
        ``off`` looks at none. A plan with more than 20,000 distinct pictures looks at none (templated)
    :param face_check: whether ``preflight`` also downloads each picture to look for faces (default ``False``); needs
        the extra ``faces`` (templated)
    :param shrink: as for the swap operators, which must be given the same: ``preflight`` does not warn of a picture
        that they make smaller (templated)
    :param staging: the same (templated)
    :return: a list of ``{"batch": int, "label": str}`` for ``expand_kwargs``
    :raises ManifestError: when the manifest cannot be used
    :raises ManifestUnavailableError: when it cannot be read at the moment; Airflow retries the task
    :raises BatchFailedError: when none of its rows can be swapped
    :raises NotApprovedError: when a person refuses what the run would cost, or nobody answers
    :raises GoEnhanceError: when the account cannot be used
    """

    template_fields: Sequence[str] = (
        "manifest",
        "statuses",
        "manifest_conn_id",
        "goenhance_conn_id",
        "results_conn_id",
        "storage_conn_id",
        "pairs_per_task",
        "limit",
        "check_only",
        "reuse",
        "on_unknown_submit",
        "require_consent",
        "settle_by_credits",
        "job_timeout",
        "manifest_sql",
        "columns",
        "mode",
        "reference_manifest",
        "strict",
        "storage",
        "max_pairs",
        "max_cost",
        "approve_above",
        "preflight",
        "face_check",
        "shrink",
        "staging",
    )
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"manifest_sql": "sql"}
    ui_color = "#e6f4ea"

    def __init__(
        self,
        *,
        manifest: str | Sequence[str] | None = None,
        statuses: Sequence[str] | str | None = None,
        manifest_conn_id: str | None = None,
        manifest_sql: str | None = None,
        columns: Mapping[str, str] | str | None = None,
        mode: Mode | str = "pairs",
        reference_manifest: str | None = None,
        strict: bool | str = False,
        swap_task_id: str = "swap",
        pairs_per_task: int | str = 0,
        limit: int | str = 0,
        check_only: bool | str = False,
        reuse: Reuse | str = "succeeded",
        on_unknown_submit: OnUnknownSubmit | str = "hold",
        goenhance_conn_id: str = "goenhance_default",
        results_conn_id: str = "goenhance_results",
        storage_conn_id: str | None = None,
        require_consent: bool | str = False,
        check_account: bool = True,
        marking: bool = True,
        settle_by_credits: bool | str = False,
        job_timeout: float | str = 3600.0,
        storage: str | None = None,
        max_pairs: int | str | None = None,
        max_cost: int | str | None = None,
        approve_above: int | str | None = None,
        approval_timeout: dt.timedelta = dt.timedelta(hours=12),
        approval_notifiers: Sequence[BaseNotifier] = (),
        preflight: Preflight | str = "warn",
        face_check: bool | str = False,
        shrink: Shrink | str = "source",
        staging: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.manifest = manifest
        self.statuses = statuses
        self.manifest_conn_id = manifest_conn_id
        self.manifest_sql = manifest_sql
        self.columns = columns
        self.mode = mode
        self.reference_manifest = reference_manifest
        self.strict = strict
        self.swap_task_id = swap_task_id
        self.pairs_per_task = pairs_per_task
        self.limit = limit
        self.check_only = check_only
        self.reuse = reuse
        self.on_unknown_submit = on_unknown_submit
        self.goenhance_conn_id = goenhance_conn_id
        self.results_conn_id = results_conn_id
        self.storage_conn_id = storage_conn_id
        self.require_consent = require_consent
        self.check_account = check_account
        self.marking = marking
        self.settle_by_credits = settle_by_credits
        self.job_timeout = job_timeout
        self.storage = storage
        self.max_pairs = max_pairs
        self.max_cost = max_cost
        self.approve_above = approve_above
        self.approval_timeout = approval_timeout
        self.approval_notifiers = approval_notifiers
        self.preflight = preflight
        self.face_check = face_check
        self.shrink = shrink
        self.staging = staging

    def rows_to_trace(self, ti: Any) -> RowsToTrace:
        """Return the rows of the run, for the task's lineage."""
        return RowsToTrace(
            str(self.results_conn_id),
            ti.dag_id,
            ti.run_id,
            role="plan",
            selection={"task_id": self.swap_task_id},
        )

    def run_task(self, context: Context) -> list[dict[str, Any]]:
        """Plan the run."""
        from ..execution.planning import settle_expired_claims
        from ..execution.run_plan import PlanOptions, RunPlan
        from ..hooks.account import AccountClient
        from ..hooks.input_stores import open_versions
        from ..hooks.results import open_ledger
        from ..results.spending import Caps
        from .preflight import check_dry_run, check_run, preflight_options
        from .run_price import RunPrice
        from .slots import slots_of

        reuse = choice(self.reuse, "reuse", ("succeeded", "never"))
        on_unknown_submit = choice(self.on_unknown_submit, "on_unknown_submit", ("hold", "resubmit"))
        check_only = flag(self.check_only, "check_only")
        pairs_per_task = whole(self.pairs_per_task, "pairs_per_task")
        caps = Caps(limit(self.max_pairs, "max_pairs"), limit(self.max_cost, "max_cost"))
        approve_above = limit(self.approve_above, "approve_above")
        preflight = preflight_options(self.preflight, self.face_check, self.shrink, self.staging)
        key = self._run_key(context)
        hook = AccountClient(str(self.goenhance_conn_id))
        options = PlanOptions(
            hook.account().fingerprint,
            reuse=reuse == "succeeded",
            on_unknown_submit=on_unknown_submit,  # type: ignore[arg-type]
            storage_conn_id=text(self.storage_conn_id),
            marking=self.marking,
            dry_run=check_only,
            slots=slots_of(self.get_dag(), self.swap_task_id),
            look_up=open_versions().look_up,
            preflight=preflight.mode != "off",
            pairs_per_task=pairs_per_task,
        )
        with open_ledger(str(self.results_conn_id)) as ledger:
            price = RunPrice(ledger, hook, key, caps, approve_above)
            if not check_only:
                settle_expired_claims(ledger)
                self._settle_by_credits(hook, ledger)
            with RunPlan(ledger, key, self.swap_task_id, options) as plan:
                self._read(plan, key, context)
                note_reads(self, plan.locations)
                if check_only:
                    to_pay = plan.log_dry_run(pairs_per_task)
                    self.log.info("%s", price.of_dry_run(to_pay, self.check_account))
                    check_dry_run(plan, ledger, preflight)
                    return []
                batches = plan.write(pairs_per_task)
                check_run(plan, ledger, key, self.swap_task_id, preflight)
            unpaid = ledger.unpaid_pairs(key, task_id=self.swap_task_id)
            estimate = price.of_run(unpaid, self.check_account)
        self.log.info("%s", estimate)
        if price.needs_approval(estimate):
            price.ask(self, context, plan.locations, estimate)
        return batches

    def resume_task(self, context: Context, event: Any) -> list[dict[str, Any]]:
        """
        Return the batches of a run that a person has approved.

        :raises NotApprovedError: when nobody has
        """
        from ..execution.batches import list_batches
        from ..hooks.results import open_ledger

        answer = read_answer(event)
        if not answer.approved:
            raise not_approved(answer, self.approval_timeout)
        self.log.info("Approved by %s.", answer.by)
        with open_ledger(str(self.results_conn_id)) as ledger:
            return list_batches(ledger, self._run_key(context), self.swap_task_id)

    @staticmethod
    def _run_key(context: Context) -> RunKey:
        from ..results.ledger import RunKey

        return RunKey(context["ti"].dag_id, context["ti"].run_id)

    def _read(self, plan: RunPlan, key: RunKey, context: Context) -> None:
        """Plan the rows of the manifests, part by part, and keep the rejected ones in ``rejected.csv``."""
        from ..execution.rejected_rows import RejectedRows
        from ..manifest.model import Manifest
        from .manifests import has_several, open_manifests

        strict = flag(self.strict, "strict")
        rejected = RejectedRows(several=has_several(self, context))
        for stream in open_manifests(self, context):
            rejected.begin(stream.location)
            for checked in stream:
                rejected.add(checked)
                if not (strict and rejected.any()):
                    plan.add(Manifest(stream.location, checked.pairs, checked.rejected, stream.sha256))
            rejected.log()
        plan.finish()
        rejected.add_without_picture(plan.without_picture)
        if not flag(self.check_only, "check_only"):
            self._keep(rejected, key, context)
        if strict:
            rejected.refuse()

    def _keep(self, rejected: RejectedRows, key: RunKey, context: Context) -> None:
        """Store ``rejected.csv``; a storage that cannot be used must not stop the run, whose rows have the reasons."""
        storage = text(self.storage) or default_storage()
        try:
            uri = rejected.keep(key, self.task_id, storage, conn_id=text(self.storage_conn_id))
        except Exception as error:  # noqa: BLE001
            self.log.warning("The rejected rows could not be stored as rejected.csv: %s", error)
            return
        if uri:
            self.log.info("Rejected rows: %s", uri)
            context["ti"].xcom_push(key="rejected_csv", value=uri)

    def _settle_by_credits(self, hook: AccountClient, ledger: Ledger) -> None:
        from .credit_check import settle_before_planning

        job_seconds = seconds(self.job_timeout, "job_timeout")
        if flag(self.settle_by_credits, "settle_by_credits"):
            settle_before_planning(hook, ledger, job_seconds)
