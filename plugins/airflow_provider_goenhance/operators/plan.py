# SPDX-License-Identifier: Apache-2.0
"""Read a manifest, plan its rows, and return the batches to map over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ..exceptions import BatchFailedError
from ..retry_policy import RetryPolicyMixin
from ..settings import default_storage
from .arguments import choice, flag, text, whole

if TYPE_CHECKING:
    from airflow.sdk import Context

    from ..hooks.goenhance import GoEnhanceHook
    from ..manifest.model import Manifest
    from ..results.ledger import Ledger, RunKey
    from ..results.states import Reuse
    from ..results.swap import Swap

#: Rejected rows that the log lists one by one; all are in the results table.
NAMED_ROWS = 50
MAX_TASKS = 1000
Mode = Literal["pairs", "matrix"]


class GoEnhancePlanOperator(RetryPolicyMixin):
    """
    Read a manifest, write a ``planned`` row for each pair, and return the batches to map the swap task over.

    Planning is repeatable: existing rows stay as they are, so a retry or a clear of this task never plans a second
    swap for a pair. Pairs added to the manifest in the meantime form new batches.

    :param manifest: path, web address or ``ObjectStoragePath`` URL of the manifest, or a list of them. Blank: the
        manifests whose arrival started the run, see :class:`..triggers.manifest.GoEnhanceManifestTrigger` (templated)
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
    :param reuse: ``succeeded`` (default) or ``never``, see the swap operators (templated)
    :param require_consent: reject rows without a ``consent_ref`` (default ``False``) (templated)
    :param check_account: read the credit balance before anything is submitted, so that a refused token or an
        empty account fails this task (default ``True``)
    :param marking: replace a reused picture that an earlier run kept without the disclosure mark by a marked copy
        (default ``True``)
    :param storage: where the pictures are kept, as for the swap operators; ``rejected.csv`` goes there (templated)
    :return: a list of ``{"batch": int, "label": str}`` for ``expand_kwargs``
    :raises ManifestError: when the manifest cannot be used
    :raises ManifestUnavailableError: when it cannot be read at the moment; Airflow retries the task
    :raises BatchFailedError: when none of its rows can be swapped
    :raises GoEnhanceError: when the account cannot be used
    """

    template_fields: Sequence[str] = (
        "manifest",
        "manifest_conn_id",
        "goenhance_conn_id",
        "results_conn_id",
        "storage_conn_id",
        "pairs_per_task",
        "limit",
        "check_only",
        "reuse",
        "require_consent",
        "manifest_sql",
        "columns",
        "mode",
        "reference_manifest",
        "strict",
        "storage",
    )
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"manifest_sql": "sql"}
    ui_color = "#e6f4ea"

    def __init__(
        self,
        *,
        manifest: str | Sequence[str] | None = None,
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
        goenhance_conn_id: str = "goenhance_default",
        results_conn_id: str = "goenhance_results",
        storage_conn_id: str | None = None,
        require_consent: bool | str = False,
        check_account: bool = True,
        marking: bool = True,
        storage: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.manifest = manifest
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
        self.goenhance_conn_id = goenhance_conn_id
        self.results_conn_id = results_conn_id
        self.storage_conn_id = storage_conn_id
        self.require_consent = require_consent
        self.check_account = check_account
        self.marking = marking
        self.storage = storage

    def run_task(self, context: Context) -> list[dict[str, Any]]:
        """Plan the run."""
        from ..execution.planning import plan_rows, settle_expired_claims
        from ..hooks.goenhance import GoEnhanceHook
        from ..hooks.results import open_ledger
        from ..manifest.read import refuse_rejected
        from ..results.ledger import RunKey

        reuse = choice(self.reuse, "reuse", ("succeeded", "never"))
        check_only = flag(self.check_only, "check_only")
        whole(self.pairs_per_task, "pairs_per_task")
        manifests = self._read(context)
        key = RunKey(context["ti"].dag_id, context["ti"].run_id)
        if not check_only:
            self._keep_rejected(manifests, key, context)
        if flag(self.strict, "strict"):
            for manifest in manifests:
                refuse_rejected(manifest)
        hook = GoEnhanceHook(str(self.goenhance_conn_id))
        with open_ledger(str(self.results_conn_id)) as ledger:
            if not check_only:
                settle_expired_claims(ledger)
            reused = reuse == "succeeded"
            rows = [
                row
                for manifest in manifests
                for row in plan_rows(
                    manifest,
                    key,
                    self.swap_task_id,
                    known_in=ledger,
                    reuse_from=ledger if reused else None,
                    account=hook.account().fingerprint if reused else "",
                    storage_conn_id=text(self.storage_conn_id),
                    marking=self.marking and not check_only,
                )
            ]
            if check_only:
                return self._check_only(rows, hook)
            batches = self._write(ledger, key, rows)
            self._refuse_if_nothing_can_be_swapped(rows, manifests)
            if self.check_account:
                self._check_account(hook, ledger, key)
        return batches

    def _read(self, context: Context) -> list[Manifest]:
        """Read the manifests of the run, and log what they hold."""
        from .manifests import open_manifests

        manifests = []
        for stream in open_manifests(self, context):
            manifests.append(stream.collect())
            self._log_rejected(manifests[-1])
        return manifests

    def _keep_rejected(self, manifests: Sequence[Manifest], key: RunKey, context: Context) -> None:
        """Store ``rejected.csv``; a storage that cannot be used must not stop the run, whose rows have the reasons."""
        from ..execution.rejected_rows import keep_rejected

        storage = text(self.storage) or default_storage()
        try:
            uri = keep_rejected(manifests, key, self.task_id, storage, conn_id=text(self.storage_conn_id))
        except Exception as error:  # noqa: BLE001
            self.log.warning("The rejected rows could not be stored as rejected.csv: %s", error)
            return
        if uri:
            self.log.info("Rejected rows: %s", uri)
            context["ti"].xcom_push(key="rejected_csv", value=uri)

    @staticmethod
    def _refuse_if_nothing_can_be_swapped(rows: Sequence[Swap], manifests: Sequence[Manifest]) -> None:
        from ..execution.messages import pluralize

        if any(row.status != "rejected" for row in rows):
            return
        locations = ", ".join(manifest.location for manifest in manifests)
        raise BatchFailedError(
            f"None of the {pluralize(len(rows), 'row')} of {locations} can be swapped; "
            f"{rows[0].label} is rejected: {rows[0].error_message} Nothing was sent or paid. Correct the manifest, "
            "then start a new run, or clear this task to read the manifest again."
        )

    def _log_rejected(self, manifest: Manifest) -> None:
        from ..execution.messages import pluralize

        self.log.info(
            "%s: %s to swap, %s rejected.",
            manifest.location,
            pluralize(len(manifest.pairs), "pair"),
            pluralize(len(manifest.rejected), "row"),
        )
        for row in manifest.rejected[:NAMED_ROWS]:
            self.log.warning("Row %d is rejected: %s.", row.row_number, row.reason)
        if len(manifest.rejected) > NAMED_ROWS:
            self.log.warning(
                "... and %d more, all in the results table.", len(manifest.rejected) - NAMED_ROWS
            )

    def _check_only(self, rows: Sequence[Swap], hook: GoEnhanceHook) -> list[dict[str, Any]]:
        from ..execution.messages import pluralize
        from ..results.states import Status

        counts = Counter(row.status for row in rows)
        work = counts[Status.PLANNED] + counts[Status.SUBMITTED]
        size = self._size(work)
        self.log.info(
            "Dry run: nothing is written or submitted. This run would submit, and pay for, %s in %s of up to %d; "
            "%s and %s at no cost; %s rejected.",
            pluralize(counts[Status.PLANNED], "pair"),
            pluralize(-(-work // size), "task"),
            size,
            pluralize(counts[Status.SUBMITTED], "earlier job is adopted", "earlier jobs are adopted"),
            pluralize(counts[Status.REUSED], "earlier picture is reused", "earlier pictures are reused"),
            pluralize(counts[Status.REJECTED], "row is", "rows are"),
        )
        if self.check_account:
            self.log.info("The account has %s left.", pluralize(hook.get_credits().count, "credit"))
        return []

    def _size(self, pairs: int) -> int:
        from ..manifest.chunk import choose_pairs_per_task

        asked = whole(self.pairs_per_task, "pairs_per_task")
        size = choose_pairs_per_task(pairs, asked, MAX_TASKS)
        if asked and size != asked:
            self.log.warning(
                "pairs_per_task=%d would map more than %d tasks; using %d.", asked, MAX_TASKS, size
            )
        return size

    def _write(self, ledger: Ledger, key: RunKey, rows: list[Swap]) -> list[dict[str, Any]]:
        """Write the new rows, and return all batches of the run, the existing ones first."""
        from ..execution.messages import pluralize
        from ..execution.planning import into_batches, is_work
        from ..results.states import Status

        known = {swap.swap_id: swap for swap in ledger.of_run(key, task_id=self.swap_task_id)}
        new = [row for row in rows if row.swap_id not in known]
        first = 1 + max((swap.batch for swap in known.values() if swap.batch is not None), default=-1)
        size = self._size(sum(map(is_work, new)))
        batched = into_batches(new, size, first_batch=first)
        result = ledger.plan(
            key, [*batched, *(row for row in rows if row.swap_id in known)], task_id=self.swap_task_id
        )
        added = Counter(row.status for row in batched)
        self.log.info(
            "Results table: %s added, of which %s and %s; %d known already, %d withdrawn, %d restored, "
            "%d rejected rows no longer in the manifest, %d with new links.",
            pluralize(result.added, "row"),
            pluralize(added[Status.REUSED], "reuses an earlier picture", "reuse earlier pictures"),
            pluralize(added[Status.SUBMITTED], "adopts an earlier job", "adopt earlier jobs"),
            result.known,
            result.withdrawn,
            result.restored,
            result.superseded,
            result.relinked,
        )
        return self._batches([*known.values(), *batched])

    def _batches(self, rows: Sequence[Swap]) -> list[dict[str, Any]]:
        from ..manifest.chunk import batch_label

        in_batches = sorted(
            (row for row in rows if row.batch is not None),
            key=lambda row: (row.batch or 0, row.row_number or 0),
        )
        batches = []
        for number, group in groupby(in_batches, key=lambda row: row.batch or 0):
            members = list(group)
            batches.append({"batch": number, "label": batch_label(members[0], members[-1], number)})
        return batches

    def _check_account(self, hook: GoEnhanceHook, ledger: Ledger, key: RunKey) -> None:
        from ..exceptions import GoEnhanceError, OutOfCreditsError
        from ..execution.messages import pluralize
        from ..results.states import Status

        planned = ledger.counts(key, task_id=self.swap_task_id)[Status.PLANNED]
        if not planned:
            return  # nothing is left to pay for, so the balance does not matter
        stay = f"{pluralize(planned, 'row')} of this run {'stays' if planned == 1 else 'stay'} planned"
        try:
            credits_ = hook.get_credits()
        except GoEnhanceError as error:
            steps = (
                "A retry or clear continues from there"
                if error.retryable
                else "Fix the cause, then clear this task"
            )
            error.message = f"{error.message} {stay}, and nothing was paid for. {steps}."
            error.args = (error.message,)
            raise
        self.log.info("The account has %s left.", pluralize(credits_.count, "credit"))
        if credits_.count <= 0:
            raise OutOfCreditsError(
                f"The GoEnhance account of {hook.account()} has no credits left. {stay}, and nothing was paid for. Top "
                "it up, then clear this task."
            )
