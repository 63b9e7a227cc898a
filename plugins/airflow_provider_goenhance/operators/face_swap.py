# SPDX-License-Identifier: Apache-2.0
"""One pair in one task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import conf

from ..compatibility import keep_state, task_state_store
from ..exceptions import (
    BadRequestError,
    CollectError,
    GoEnhanceError,
    JobFailedError,
    JobTimedOutError,
    PairHeldError,
    SubmitOutcomeUnknownError,
    UnreachableError,
)
from .arguments import as_written, display_name, text
from .budget import raise_if_over_budget
from .suspicious import judge_rows
from .swap_base import GOOD, FaceSwapOperatorBase

if TYPE_CHECKING:
    from airflow.sdk import Context

    from ..api.account import Account
    from ..manifest.model import Manifest
    from ..results.recovery import Policies
    from ..results.stores import SwapStore
    from ..results.swap import Swap
    from ..results.waiting_jobs import RowsOf


class GoEnhanceFaceSwapOperator(FaceSwapOperatorBase):
    """
    Swap the face of one picture into another.

    Works with a results table (``results_conn_id``) or without one: then the row is in Airflow's task state store,
    which exists since Airflow 3.3. On an older Airflow without a results table, a retry pays again and the wait holds
    the worker; the log says so. An Airflow with ``[state_store] clear_on_success = True`` forgets the submit once the
    task has succeeded: there the operator needs a results table, and refuses to send anything without one.

    Map it with ``expand_kwargs`` over dicts of ``source_img``, ``reference_img`` and optionally ``pair_id``. For more
    than a few hundred pairs use :class:`.face_swap_batch.GoEnhanceFaceSwapBatchOperator`. Further arguments: see
    :class:`.swap_base.FaceSwapOperatorBase`.

    :param source_img: URL of the picture with the **face**, at most 5 MB, or the address of a private one, such as
        ``s3://my_conn@bucket/face.jpg`` (templated)
    :param reference_img: URL of the **target** picture that receives the face and keeps its scene, at most 5 MB, or the
        address of a private one (templated)
    :param pair_id: name of the pair and of the stored file (templated); default: derived from the two URLs
    :param consent_ref: reference to the consent of the person shown (templated)
    :param consent_expires: until when that consent holds, such as ``2027-03-31``: later, nothing is sent (templated)
    :param source_key: name that identifies the source picture instead of its URL, for a link that changes every time
        (templated); default: the URL without its signature
    :param reference_key: the same for the reference picture (templated)
    :return: the job's ``img_uuid``; a pair that was erased, whose picture was deleted, or for which a budget has no
        room, skips the task
    :raises GoEnhanceError: of the class that fits; the message says what was paid and what a retry will do
    :raises ValueError: when an argument is not valid, or nothing lasting would know of the submit
    """

    looks_at_links = True
    template_fields: Sequence[str] = (
        "source_img",
        "reference_img",
        "pair_id",
        "consent_ref",
        "source_key",
        "reference_key",
        "consent_expires",
        *FaceSwapOperatorBase.shared_template_fields,
    )

    def __init__(
        self,
        *,
        source_img: str,
        reference_img: str,
        pair_id: str | None = None,
        consent_ref: str | None = None,
        source_key: str | None = None,
        reference_key: str | None = None,
        consent_expires: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.source_img = source_img
        self.reference_img = reference_img
        self.pair_id = pair_id
        self.consent_ref = consent_ref
        self.source_key = source_key
        self.reference_key = reference_key
        self.consent_expires = consent_expires
        self._written = {
            "pair_id": pair_id,
            "consent_ref": consent_ref,
            "source_key": source_key,
            "reference_key": reference_key,
            "consent_expires": consent_expires,
        }

    @property
    def label(self) -> str:
        """The name of a mapped task in the UI."""
        from ..manifest.pair_ids import default_pair_id

        name = self._text_of("pair_id") or default_pair_id(
            str(self.source_img),
            str(self.reference_img),
            source_key=self._text_of("source_key"),
            reference_key=self._text_of("reference_key"),
        )
        return display_name(name, "pair")

    def _text_of(self, argument: str) -> str | None:
        """Return an optional text as its author wrote it; only a template may render to ``None``."""
        written = self._written[argument]
        value = as_written(written, getattr(self, argument))
        if isinstance(written, str) and value == written:
            return written.strip() or None
        return text(value)

    def open_store(self, context: Context, account: Account) -> SwapStore:
        """Return this task's one row, planned."""
        if render := self.text_renderer(context):
            for argument, written in self._written.items():
                setattr(self, argument, as_written(written, getattr(self, argument), render))
        manifest = self._manifest()
        if text(self.results_conn_id):
            return self._in_table(manifest, context, account)
        return self._in_task_state(manifest, context)

    def _manifest(self) -> Manifest:
        from ..manifest.validate import check_pairs

        pair = {
            "source_img": self.source_img,
            "reference_img": self.reference_img,
            **{argument: self._text_of(argument) for argument in self._written},
        }
        manifest = check_pairs([pair], location=f"task {self.task_id}")
        for row in manifest.rejected:
            raise BadRequestError(
                f"Task {self.task_id!r}, pair {row.pair_id!r}: {row.reason}. Nothing was sent or paid. Correct the "
                "arguments of the task; a retry or clear alone changes nothing."
            )
        return manifest

    def _in_table(self, manifest: Manifest, context: Context, account: Account) -> SwapStore:
        from ..execution.planning import plan_rows, settle_expired_claims
        from ..hooks.input_stores import open_versions
        from ..results.stores import TableStore

        ledger = self.open_ledger()
        key = self.run_key(context)
        if not self.map_index_of(context):
            settle_expired_claims(ledger)
        policies = self._policies()
        rows = plan_rows(
            manifest,
            key,
            self.task_id,
            map_index=self.map_index_of(context),
            known_in=ledger,
            account=account.fingerprint,
            reuse=policies.reuse == "succeeded",
            on_unknown_submit=policies.on_unknown_submit,
            storage_conn_id=text(self.storage_conn_id),
            marking=self.marking,
            look_up=open_versions().look_up,
        )
        ledger.plan(key, rows)
        ids = [row.swap_id for row in rows]
        return TableStore(ledger, lambda: ledger.by_ids(ids))

    def _in_task_state(self, manifest: Manifest, context: Context) -> SwapStore:
        from ..execution.planning import plan_rows
        from ..hooks.input_stores import open_versions
        from ..results.task_state import MemoryStateStore, TaskStateStore

        state: Any = task_state_store(context)
        if state is None:
            self._refuse_a_second_try(context["ti"])
            self.log.warning(
                "This Airflow has no task state store (3.3 and later have one). Without a results table, a retry could "
                "not know of this submit, so it is refused, and the wait holds this worker. Set results_conn_id to be "
                "able to retry."
            )
            # After a deferral the task would not know that it has submitted, and would submit and pay again.
            self.deferrable = False
            state = MemoryStateStore()
        else:
            self._refuse_if_success_clears_the_state()
            state = _LastingStateStore(state)
        (row,) = plan_rows(
            manifest,
            self.run_key(context),
            self.task_id,
            map_index=self.map_index_of(context),
            look_up=open_versions().look_up,
        )
        return TaskStateStore(state, row)

    def _refuse_a_second_try(self, ti: Any) -> None:
        """Raise if an earlier try of the task may have submitted its pair: nothing is on record about it."""
        if ti.try_number > 1:
            raise ValueError(
                f"This is try {ti.try_number} of task {self.task_id!r}; an earlier one may have submitted the pair: "
                "this Airflow has no task state store (3.3 and later have one), and the task has no results table. "
                "This try sent nothing. The log of the earlier tries has the job's UUID, if there is one. Set "
                "results_conn_id on the task so that its tries know of each other; a new run of the Dag submits the "
                "pair."
            )

    def _refuse_if_success_clears_the_state(self) -> None:
        if conf.getboolean("state_store", "clear_on_success", fallback=False):
            raise ValueError(
                f"Task {self.task_id!r} keeps its submit in Airflow's task state store, which is emptied when "
                "it succeeds ([state_store] clear_on_success = True): a clear would pay for the same pair again. "
                "Nothing was sent. Set results_conn_id on the task, or clear_on_success = False."
            )

    def rows_of_task(self, context: Context) -> RowsOf | None:
        """Return ``None``: the one job is passed to the trigger as it is."""
        return None

    def push_img_uuids(self, context: Context, swaps: Sequence[Swap]) -> None:
        """Push the ``img_uuid`` under that key."""
        for swap in swaps:
            if swap.img_uuid:
                context["ti"].xcom_push(key="img_uuid", value=swap.img_uuid)

    def conclude(self, swaps: Sequence[Swap], *, tries_left: bool = False) -> str | None:
        """Return the ``img_uuid``, or raise the error that the row calls for."""
        from ..execution.messages import row_log

        (swap,) = swaps
        if swap.status in GOOD:
            judge_rows(self, swaps, self._ti)
            row_log(self.log, swap).info("%s is %s as job %s.", swap.label, swap.status, swap.img_uuid)
            if swap.result_uri:
                self.log.info("Picture: %s", swap.result_uri)
            return swap.img_uuid
        if swap.over_budget or swap.gone_by_choice:
            self._skip(swaps)
        raise error_of(swap, self._policies())

    def _skip(self, swaps: Sequence[Swap]) -> NoReturn:
        """End a task whose pair was not sent: there is no ``img_uuid`` for the tasks after it."""
        from airflow.providers.common.compat.sdk import AirflowSkipException

        raise_if_over_budget(self, swaps)
        raise AirflowSkipException(swaps[0].error_message)


class _LastingStateStore:
    """A task state store whose values do not expire: without its submit on record, a clear pays again."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def get(self, key: str) -> Any:
        return self._store.get(key)

    def set(self, key: str, value: Any) -> None:
        keep_state(self._store, key, value)


_CLASSES: dict[str, type[GoEnhanceError]] = {
    error.error_code: error
    for error in (JobFailedError, JobTimedOutError, SubmitOutcomeUnknownError, BadRequestError)
}


def error_of(swap: Swap, policies: Policies) -> GoEnhanceError:
    """Return the error for a pair that did not succeed, of the class that fits the cause."""
    from ..execution.messages import capitalize, describe_with_next_steps
    from ..results.recovery import retry_can_help

    message = capitalize(describe_with_next_steps(swap, policies))
    if swap.status in {"planned", "submitting"}:
        return UnreachableError(message)  # another attempt works on it; a later one may continue
    code = swap.error_code or ""
    if swap.status == "held":
        held = PairHeldError(message, error_code=code)
        held.retryable = retry_can_help(swap, policies)
        return held
    if swap.img_uuid and code not in _CLASSES:
        return CollectError(message, error_code=code, img_uuid=swap.img_uuid)
    error = _CLASSES.get(code, BadRequestError)(message, img_uuid=swap.img_uuid)
    if swap.status == "unknown":
        error.retryable = policies.on_unknown_submit == "resubmit"
    return error
