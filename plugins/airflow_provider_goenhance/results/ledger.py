# SPDX-License-Identifier: Apache-2.0
"""The results table as tasks use it: plan a run, recover rows, record outcomes; it is read by :mod:`.ledger_reads`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing

import sqlalchemy as sa

from ..exceptions import JobFailedError
from .budget_transitions import OverBudget
from .clock import CLAIM_SECONDS_0_1_0, database_time
from .database import IN_LIST
from .early_rows import EarlyRows
from .ledger_reads import LedgerReads
from .outcome_transitions import Outcome
from .plan import AddedRows, PlanResult, RunKey
from .plan_transitions import WITHDRAWN, Superseded
from .recovery import JOB_NOT_FOUND
from .staged_plan import StagedPlan
from .staged_rows import StagedRows
from .states import Status
from .swap import Swap, raw_fingerprint
from .transition_sql import update, update_rows
from .transitions import Abandoned, Step

__all__ = ["Ledger", "Outcome", "PlanResult", "RunKey"]


class Ledger(LedgerReads):
    """
    Reads and writes rows of the results table outside the submit loop.

    :param database: where the results table is
    """

    # -- planning ---------------------------------------------------------------------------------------------

    def plan(self, key: RunKey, swaps: Sequence[Swap], *, task_id: str | None = None) -> PlanResult:
        """
        Add rows to a run; rows that exist already are not changed.

        :param swaps: the rows, with ids from :func:`.swap.swap_id_for`
        :param task_id: the task whose rows these are: its rows that were planned before, are not sent yet, and are
            no longer among ``swaps``, become ``rejected`` with the code ``withdrawn``, and ``planned`` again once a
            plan has them again. These, and rejected rows that are no longer among ``swaps``, count no more
        """
        if task_id is None:
            wanted = {swap.swap_id: swap for swap in swaps}
            return self.database.run(lambda connection: AddedRows(connection, self.swaps).write(wanted))
        with closing(self.stage()) as rows:
            rows.add((swap, None, False) for swap in swaps)
            return self.plan_staged(StagedPlan(self.swaps, key, task_id, rows))

    def stage(self) -> StagedRows:
        """Return an empty place for the rows of a plan."""
        return StagedRows(self.swaps, self.database.engine.dialect)

    def write_early(self, plan: StagedPlan) -> EarlyRows:
        """Return what writes rows of a task that has none yet, and that can be copied, while others are planned."""
        return EarlyRows(self.database, plan)

    def plan_staged(self, plan: StagedPlan) -> PlanResult:
        """Do the same as :meth:`plan` for rows that were staged."""
        return self.database.run(plan.write)

    def supersede_rejected(
        self, key: RunKey, task_id: str, map_index: int | None, swaps: Sequence[Swap]
    ) -> None:
        """Count the rejected rows of a task no more that are not among the rows that it has now."""
        now = {swap.swap_id for swap in swaps}
        rejected = self.of_run(key, task_id=task_id, map_index=map_index, statuses=[Status.REJECTED])
        old = [row.swap_id for row in rejected if row.map_index == map_index and row.swap_id not in now]
        if old:
            self.database.run(lambda connection: update_rows(connection, self.swaps, Superseded, old))

    def with_known_ids(self, key: RunKey, task_id: str, swaps: Sequence[Swap]) -> list[Swap]:
        """
        Return rows with the ids that they have in the table, where an earlier release planned them in this run.

        Release 0.1.0 derived the id of a row from its signed URLs, which are others now.
        """
        signed = {swap.pair_fingerprint for swap in swaps if _was_another(swap)}
        if not signed:
            return list(swaps)
        c = self.swaps.c
        columns = (c.pair_id, c.pair_fingerprint, c.swap_id)
        known: dict[tuple[str, str], str] = {}
        for condition in self._among(c.pair_fingerprint, sorted(signed)):
            query = sa.select(*columns).where(
                condition,
                *self._of(key),
                c.task_id == task_id,
                sa.or_(c.status != Status.REJECTED, c.error_code == WITHDRAWN),
            )
            known |= {
                (row["pair_id"], row["pair_fingerprint"]): row["swap_id"] for row in self.database.read(query)
            }

        def with_id(swap: Swap) -> Swap:
            swap_id = known.get((swap.pair_id, swap.pair_fingerprint)) if _was_another(swap) else None
            return dataclasses.replace(swap, swap_id=swap_id) if swap_id else swap

        return [with_id(swap) for swap in swaps]

    # -- recovering and recording -----------------------------------------------------------------------------

    def settle_expired_claims(self) -> list[Swap]:
        """
        Make rows of any run ``unknown`` whose claim has expired: no execution will report on them any more.

        :return: the rows as they were
        """
        c = self.swaps.c
        written_by_0_1_0 = sa.and_(
            c.claim_expires_at.is_(None),
            sa.or_(
                c.claimed_at.is_(None),
                c.claimed_at < database_time(sa.literal(-CLAIM_SECONDS_0_1_0, sa.Float)),
            ),
        )
        expired = sa.or_(c.claim_expires_at < database_time(sa.literal(0.0, sa.Float)), written_by_0_1_0)
        query = (
            sa.select(self.swaps)
            .where(c.status == Status.SUBMITTING, expired)
            .order_by(c.claimed_at, c.row_number)
        )
        left = [Swap.from_row(row) for row in self.database.read(query)]
        self.mark_abandoned(left)
        return left

    def mark_abandoned(self, swaps: Iterable[Swap]) -> int:
        """
        Make rows ``unknown`` whose execution claimed them for a submit and will not report on them.

        Should that execution be alive after all and receive its job's UUID, the UUID still reaches the row.

        :param swaps: rows as they were read; one that has moved since is left alone
        :return: how many of them were in ``submitting``
        """
        steps = [Abandoned.of(swap) for swap in swaps if swap.status is Status.SUBMITTING]
        self.take(steps)
        return len(steps)

    def record_outcomes(self, outcomes: Sequence[Outcome], account: str | None = None) -> None:
        """
        Record the outcomes of jobs. A late report never downgrades a row, see :class:`.outcome_transitions.Outcome`.

        :param account: fingerprint of the account that asked GoEnhance: what it says of a job for which there will be
            no picture is true of every row of that account with the job
        """
        self.take([*outcomes, *(self._elsewhere(outcomes, account) if account else ())])

    def _elsewhere(self, outcomes: Sequence[Outcome], account: str) -> list[Outcome]:
        """Return the outcomes of jobs without a picture for the other rows that wait for them."""
        dead = {
            outcome.swap_id: outcome
            for outcome in outcomes
            if outcome.error_code in {JobFailedError.error_code, JOB_NOT_FOUND}
        }
        c = self.swaps.c
        found: list[Outcome] = []
        for some in _slices(list(dead)):
            by_job = {dead[swap_id].img_uuid: dead[swap_id] for swap_id in some}
            pairs = sa.select(c.pair_fingerprint).where(c.swap_id.in_(some))
            query = sa.select(c.swap_id, c.img_uuid).where(
                c.pair_fingerprint.in_(pairs.scalar_subquery()),
                c.img_uuid.in_(list(by_job)),
                c.account == account,
                c.swap_id.not_in(some),
                c.status.in_([Status.SUBMITTED, Status.FAILED]),
            )
            found += [
                dataclasses.replace(by_job[row["img_uuid"]], swap_id=row["swap_id"])
                for row in self.database.read(query)
            ]
        return found

    def hold_for_budget(self, swap_ids: Sequence[str], message: str) -> None:
        """
        Hold rows that were not sent because a budget has no room for them.

        :param message: the reason, with the figures
        """
        self.take([OverBudget(swap_id, message) for swap_id in swap_ids])

    def take(self, steps: Sequence[Step]) -> None:
        """Take steps that anyone may take, each where its row is still as it was read."""
        if steps:
            self.database.run(lambda connection: update(connection, self.swaps, steps))


def _was_another(swap: Swap) -> bool:
    """Return whether release 0.1.0 would have derived another id from the row's URLs."""
    if swap.source_version or swap.reference_version:
        return False  # Release 0.1.0 knew no private pictures.
    return swap.status is Status.PLANNED and swap.pair_fingerprint != raw_fingerprint(
        swap.source_img, swap.reference_img
    )


def _slices(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    return (keys[start : start + IN_LIST] for start in range(0, len(keys), IN_LIST))
