# SPDX-License-Identifier: Apache-2.0
"""Delete pictures that are older than they may be kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from ..hooks.results import DEFAULT_RESULTS_CONN_ID

if TYPE_CHECKING:
    from airflow.sdk import Context


class GoEnhanceRetentionOperator(BaseOperator):
    """
    Delete pictures, sidecars, thumbnails and contact sheets that are older than they may be kept.

    The rows stay, with what was paid. A later run holds their pairs and does not pay for them again, unless its
    ``reuse`` is ``"never"``. Repeated, the task goes on where it was killed.

    :param keep_pictures_days: days since a picture was collected (templated); default: ``[goenhance]
        keep_pictures_days``; 0 deletes nothing
    :param results_conn_id: connection of the results table (templated)
    :param storage_conn_id: Airflow connection of the storage (templated)
    :return: ``{"rows": int, "files": int}``
    :raises CollectError: when a file cannot be deleted; what was deleted before is recorded
    :raises ValueError: when ``keep_pictures_days`` is not a number of days
    """

    template_fields: Sequence[str] = ("keep_pictures_days", "results_conn_id", "storage_conn_id")
    ui_color = "#e6f4ea"

    def __init__(
        self,
        *,
        keep_pictures_days: float | str | None = None,
        results_conn_id: str = DEFAULT_RESULTS_CONN_ID,
        storage_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.keep_pictures_days = keep_pictures_days
        self.results_conn_id = results_conn_id
        self.storage_conn_id = storage_conn_id

    def execute(self, context: Context) -> dict[str, int]:
        """Delete them."""
        from ..execution.retention import delete_old_pictures
        from ..hooks.results import open_ledger

        days = self._days()
        if not days:
            self.log.info("Pictures are kept indefinitely: keep_pictures_days is 0. Nothing was deleted.")
            return {"rows": 0, "files": 0}
        with open_ledger(self.results_conn_id, must_exist=True) as ledger:
            deleted = delete_old_pictures(ledger, days, conn_id=self.storage_conn_id or None)
        self.log.info("Deleted %d files; the pictures of %d rows are gone.", deleted.files, deleted.rows)
        return {"rows": deleted.rows, "files": deleted.files}

    def _days(self) -> float:
        from ..settings import keep_pictures_days

        given = self.keep_pictures_days
        if given is None or given == "":
            return keep_pictures_days()
        try:
            days = float(given)
        except ValueError:
            days = -1.0
        if not 0 <= days < float("inf"):
            raise ValueError(f"keep_pictures_days must be a number of days, 0 or more; got {given!r}.")
        return days
