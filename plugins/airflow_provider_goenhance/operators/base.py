# SPDX-License-Identifier: Apache-2.0
"""Arguments and steps of every operator that waits for jobs and stores their pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow.providers.common.compat.sdk import conf

from ..lineage import LineageMixin
from ..retry_policy import RetryPolicyMixin
from ..settings import checks_quality, default_storage, makes_thumbnails, quality_check
from .arguments import flag, seconds, text
from .suspicious import on_suspicious_of

if TYPE_CHECKING:
    from airflow.sdk import Context

    from ..api.account import Account
    from ..execution.wait_plan import WaitPlan
    from ..pictures.c2pa_signing import SigningCredentials
    from ..pictures.collector import StorageOptions
    from ..pictures.quality_check import QualityCheck
    from ..results.states import OnSuspicious
    from ..results.waiting_jobs import RowsOf


class JobOperatorBase(LineageMixin, RetryPolicyMixin):
    """
    Wait for jobs, and store their pictures.

    :param goenhance_conn_id: connection whose password is the API token (templated)
    :param results_conn_id: connection of the results table (templated)
    :param storage: folder or ``ObjectStoragePath`` URL for the pictures (templated); default:
        ``[goenhance] storage``, else ``goenhance_swaps`` in the Airflow home
    :param storage_conn_id: Airflow connection of the storage (templated)
    :param wait_for_completion: wait for the jobs and collect their pictures (templated)
    :param deferrable: wait in the triggerer, without a worker slot; default: ``[operators] default_deferrable``
    :param poll_interval: seconds between two status calls for one job (default 5, the vendor's advice)
    :param timeout: seconds to wait for the jobs (default 3600) (templated)
    :param marking: write the disclosure mark (IPTC digital source type) into the pictures (default ``True``)
    :param sidecar: store a JSON file with inputs, ``img_uuid``, times and hash beside each picture
        (default ``False``)
    :param thumbnails: store thumbnails of result, source and reference beside each picture (templated); default:
        ``[goenhance] thumbnails``
    :param quality: compare each picture with its reference, and record whether it is suspicious (templated); default:
        ``[goenhance] quality``
    :param quality_check: a check of your own, as a function or its import path, see :mod:`..pictures.quality_check`;
        default: ``[goenhance] quality_check``
    :param on_suspicious: what follows from suspicious pictures, which are kept in any case. ``keep`` (default): a
        warning in the log. ``review``: XCom ``to_review`` has them too. ``fail`` fails the task once all is recorded,
        until a person has approved them; nothing is paid again (templated)
    :param signing_conn_id: sign a C2PA claim into each picture with the certificate of this connection (templated);
        needs the extra ``c2pa``; see :mod:`airflow_provider_goenhance.hooks.signing`
    """

    ui_color = "#e8f0fe"
    shared_template_fields: ClassVar[tuple[str, ...]] = (
        "goenhance_conn_id",
        "results_conn_id",
        "storage",
        "storage_conn_id",
        "wait_for_completion",
        "timeout",
        "signing_conn_id",
        "thumbnails",
        "quality",
        "on_suspicious",
    )

    def __init__(
        self,
        *,
        goenhance_conn_id: str = "goenhance_default",
        results_conn_id: str | None = "goenhance_results",
        storage: str | None = None,
        storage_conn_id: str | None = None,
        wait_for_completion: bool | str = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float = 5.0,
        timeout: float | str = 3600.0,
        marking: bool = True,
        sidecar: bool = False,
        signing_conn_id: str | None = None,
        thumbnails: bool | str | None = None,
        quality: bool | str | None = None,
        quality_check: QualityCheck | str | None = None,
        on_suspicious: OnSuspicious | str = "keep",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.goenhance_conn_id = goenhance_conn_id
        self.results_conn_id = results_conn_id
        self.storage = storage
        self.storage_conn_id = storage_conn_id
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.marking = marking
        self.sidecar = sidecar
        self.signing_conn_id = signing_conn_id
        self.thumbnails = thumbnails
        self.quality = quality
        self.quality_check = quality_check
        self.on_suspicious = on_suspicious

    def account(self) -> Account:
        """Return the account of the connection."""
        from ..hooks.account import AccountClient

        return AccountClient(str(self.goenhance_conn_id)).account()

    def signing_credentials(self) -> SigningCredentials | None:
        """Return what the pictures are signed with, verified before anything is paid."""
        from ..hooks.signing import signing_credentials

        return signing_credentials(text(self.signing_conn_id))

    def storage_options(self, run_id: str, credentials: SigningCredentials | None) -> StorageOptions:
        """
        Return where and how the pictures of a run are stored, and looked at.

        :raises ValueError: when ``quality_check``, ``on_suspicious`` or a switch is not valid
        """
        from ..pictures.collector import StorageOptions
        from ..pictures.quality_check import load_check

        on_suspicious_of(self.on_suspicious)
        return StorageOptions(
            storage=text(self.storage) or default_storage(),
            run_id=run_id,
            conn_id=text(self.storage_conn_id),
            marking=self.marking,
            sidecar=self.sidecar,
            credentials=credentials,
            thumbnails=makes_thumbnails()
            if text(self.thumbnails) is None
            else flag(self.thumbnails, "thumbnails"),
            quality=checks_quality() if text(self.quality) is None else flag(self.quality, "quality"),
            quality_check=load_check(self.quality_check or quality_check()),
        )

    def defer_until_finished(
        self,
        deadline: float,
        *,
        rows: RowsOf | None = None,
        img_uuids: Sequence[str] = (),
        plan: WaitPlan | None = None,
        carried: dict[str, Any] | None = None,
        context: Context,
    ) -> NoReturn:
        """
        Hand the wait over to the triggerer; the task resumes in ``execute_complete``.

        :param deadline: end of the wait, seconds since the epoch; no longer than the task's ``execution_timeout``
        :param rows: the rows whose jobs are waited for
        :param img_uuids: further jobs
        :param plan: the deadlines of all jobs; without it, jobs that have ended are not handed over before the others
        :param carried: what the task wants to find in the event beside the plan
        """
        from ..triggers.deferral import execution_deadline, wait_in_triggerer

        self.defer(
            **wait_in_triggerer(
                str(self.goenhance_conn_id),
                img_uuids,
                deadline=deadline,
                poll_interval=seconds(self.poll_interval, "poll_interval"),
                at_most_until=execution_deadline(self, context),
                results_conn_id=text(self.results_conn_id),
                rows=rows,
                plan=plan,
                carried=carried,
            )
        )
        raise AssertionError("a deferral does not return")
