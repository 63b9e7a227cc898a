# SPDX-License-Identifier: Apache-2.0
"""
A run that is planned as a stream gets the rows, batches and decisions of a model that holds everything in lists.

Manifests and histories are random. The plan is cut, or its process killed, while it reads or when it commits, and then
made again, with the same manifest or a changed one. None of it is ever half there.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
import os
from collections.abc import Sequence
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from airflow_provider_goenhance.exceptions import BatchFailedError
from airflow_provider_goenhance.execution import run_plan
from airflow_provider_goenhance.execution.batches import batch_size, is_work
from airflow_provider_goenhance.execution.pair_decisions import decided
from airflow_provider_goenhance.execution.planning import plan_rows
from airflow_provider_goenhance.execution.run_plan import PlanOptions, RunPlan
from airflow_provider_goenhance.manifest.model import Manifest, Pair, RejectedRow
from airflow_provider_goenhance.pictures import storage
from airflow_provider_goenhance.results.ledger import Ledger, RunKey
from airflow_provider_goenhance.results.plan_transitions import (
    Reinstated,
    Relinked,
    Restored,
    Superseded,
    Withdrawn,
)
from airflow_provider_goenhance.results.reuse import next_step, picture_of
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.swap import Swap, clean, pair_fingerprint
from airflow_provider_goenhance.results.transition_memory import apply_to
from tests.integration.results.conftest import MakeDatabase
from tests.integration.results.databases import Fate, ProcessDied, TestDatabase

EXAMPLES = int(os.environ.get("GOENHANCE_LEDGER_EXAMPLES", "0")) or 12
PAIRS = 7
FATES: tuple[Fate, ...] = ("ok", "ok", "cut_before", "cut_after", "crash_before", "crash_after")
NIGHT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
#: What an earlier run has left of a pair.
KINDS: dict[str, dict[str, Any]] = {
    "kept": {
        "status": Status.SUCCEEDED,
        "img_uuid": "job",
        "result_uri": "file:///kept.jpg",
        "additional_result_uris": ("file:///more.jpg",),
        "result_mark": "marked",
    },
    "gone": {"status": Status.SUCCEEDED, "img_uuid": "job", "result_uri": "file:///gone.jpg"},
    "running": {"status": Status.SUBMITTED, "img_uuid": "job"},
    "failed": {"status": Status.FAILED, "img_uuid": "job", "error_code": "job_failed"},
    "timed out": {"status": Status.FAILED, "img_uuid": "job", "error_code": "job_timed_out"},
    "unknown": {"status": Status.UNKNOWN, "error_code": "submit_outcome_unknown"},
    "submitting": {"status": Status.SUBMITTING},
    "declined": {"status": Status.FAILED, "error_code": "bad_request"},
    "reused": {"status": Status.REUSED, "img_uuid": "job", "result_uri": "file:///kept.jpg", "attempts": 0},
}
#: What may have become of a row of the run before its next plan.
PROGRESS: tuple[dict[str, Any], ...] = (
    {"status": Status.SUBMITTING, "attempts": 1},
    {"status": Status.SUBMITTED, "attempts": 1, "img_uuid": "mine"},
    {"status": Status.FAILED, "attempts": 1, "error_code": "bad_request"},
)
MOMENTS = {"claimed_at", "submitted_at", "finished_at", "superseded_at"}
NUMBERS = itertools.count()


def links(number: int, night: int) -> tuple[str, str]:
    """The links of a pair, signed again each night."""
    signature = f"?X-Amz-Date={night}&X-Amz-Signature={night}"
    return f"https://a.example/face-{number}.jpg{signature}", f"https://a.example/scene.jpg{signature}"


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    """A manifest with some of the pairs, in any order, and some rejected rows."""
    night = draw(st.integers(0, 2))
    numbers = draw(st.lists(st.integers(0, PAIRS - 1), unique=True, max_size=PAIRS))
    bad = draw(st.lists(st.integers(0, 3), unique=True, min_size=0 if numbers else 1, max_size=4))
    pairs = [Pair(f"p{number}", *links(number, night), row) for row, number in enumerate(numbers, start=2)]
    # A tab and a backslash, which COPY reads as something else, and what no database stores.
    rejected = [
        RejectedRow(100 + row, f"b{row}", "x\\N\t\0", "y\n\ud800", "source_img", "no", "bad") for row in bad
    ]
    return Manifest("pairs.csv", pairs, rejected, "0" * 64)


histories = st.lists(st.tuples(st.integers(0, PAIRS - 1), st.sampled_from(list(KINDS))), max_size=12)
plans = st.lists(
    st.tuples(manifests(), st.sampled_from(FATES), st.integers(0, 3), st.integers(0, 3), st.integers(0, 50)),
    min_size=1,
    max_size=4,
)


class World:
    """A results table with a history, in which one run is planned again and again."""

    def __init__(self, database: TestDatabase, history: Sequence[tuple[int, str]]) -> None:
        number = next(NUMBERS)
        self.ledger = Ledger(database)
        self.database = database
        self.account = f"account-{number}"
        self.key = RunKey(f"dag-{number}", "tonight")
        rows = [self._earlier(night, *fact) for night, fact in enumerate(history)]
        if rows:
            self.ledger.plan(RunKey(self.key.dag_id, "before"), rows)
        claimed = {row.pair_fingerprint: row.swap_id for row in rows if row.attempts}
        keys = [
            {"account": self.account, "pair_fingerprint": pair, "swap_id": swap_id, "claims": 1}
            for pair, swap_id in claimed.items()
        ]
        if keys:
            database.run(lambda connection: connection.execute(sa.insert(database.shared.pairs), keys))
        self.holders = claimed

    def _earlier(self, night: int, number: int, kind: str) -> Swap:
        source, reference = links(number, -1)
        return Swap(
            **{
                "swap_id": f"{self.key.dag_id}-{night:03}",
                "dag_id": self.key.dag_id,
                "run_id": f"run-{night:03}",
                "task_id": "swap",
                "pair_id": f"p{number}",
                "source_img": source,
                "reference_img": reference,
                "pair_fingerprint": pair_fingerprint(source, reference),
                "account": self.account,
                "attempts": 1,
                "planned_at": NIGHT + dt.timedelta(days=night),
                "claimed_at": NIGHT + dt.timedelta(days=night, hours=1),
                **KINDS[kind],
                **({"img_uuid": f"job-{night}"} if "img_uuid" in KINDS[kind] else {}),
            }
        )

    def rows(self) -> list[Swap]:
        """All rows of the Dag."""
        c = self.database.swaps.c
        found = self.database.read(sa.select(self.database.swaps).where(c.dag_id == self.key.dag_id))
        return sorted(map(Swap.from_row, found), key=lambda row: (row.planned_at or NIGHT, row.swap_id))

    def plan(self, manifest: Manifest, pairs_per_task: int, fate: Fate = "ok", killed_at: int = 0) -> None:
        """Plan the run; the process may be killed after some parts of the manifest, or when it commits."""
        parts = [
            *(Manifest(manifest.location, [pair], [], manifest.sha256) for pair in manifest.pairs),
            Manifest(manifest.location, [], manifest.rejected, manifest.sha256),
        ]
        with RunPlan(self.ledger, self.key, "swap", PlanOptions(self.account)) as plan:
            for number, part in enumerate(parts, start=1):
                plan.add(part)
                if number == killed_at:
                    raise ProcessDied
            self.database.fate = fate
            try:
                batches = plan.write(pairs_per_task)
            except BatchFailedError:
                assert not manifest.pairs
                return
            finally:
                self.database.fate = "ok"
        own = [row for row in self.rows() if row.run_id == self.key.run_id]
        assert [batch["batch"] for batch in batches] == sorted({row.batch for row in own} - {None})

    def progress(self, seed: int) -> None:
        """Let a task work on a planned row."""
        planned = [row for row in self.rows() if row.status is Status.PLANNED]
        if planned and seed < len(PROGRESS) * 5:
            row, change = planned[seed % len(planned)], PROGRESS[seed % len(PROGRESS)]
            c = self.database.swaps.c
            statement = sa.update(self.database.swaps).where(c.swap_id == row.swap_id).values(**change)
            self.database.run(lambda connection: connection.execute(statement))

    # -- the model --------------------------------------------------------------------------------------------

    def expected(self, before: list[Swap], manifest: Manifest, pairs_per_task: int) -> list[Swap]:
        """Return the rows after a plan, worked out in lists."""
        wanted = {row.swap_id: row for row in plan_rows(manifest, self.key, "swap")}
        old = {row.swap_id: row for row in before}
        own = {swap_id for swap_id, row in old.items() if row.run_id == self.key.run_id}
        after = {row.swap_id: self._replanned(row, own, wanted) for row in before}
        new = [self._decided(row, before) for swap_id, row in wanted.items() if swap_id not in old]
        first = 1 + max((row.batch for row in before if row.batch is not None), default=-1)
        size = batch_size(sum(map(is_work, new)), pairs_per_task)
        places = itertools.count()
        for row in new:
            batch = first + next(places) // size if is_work(row) else None
            after[row.swap_id] = dataclasses.replace(row, batch=batch, map_index=batch)
        return list(after.values())

    def _replanned(self, row: Swap, own: set[str], wanted: dict[str, Swap]) -> Swap:
        if row.swap_id not in own:
            return row
        tonight = wanted.get(row.swap_id)
        steps: list[Any] = (
            [Superseded(row.swap_id), Withdrawn(row.swap_id)]
            if tonight is None
            else [Reinstated(row.swap_id), Restored(row.swap_id), Relinked.of(tonight)]
        )
        # What was rejected is not withdrawn as well.
        for step in steps:
            row = apply_to(row, step, None, NIGHT) or row
        return row

    def _decided(self, row: Swap, before: list[Swap]) -> Swap:
        if row.status is not Status.PLANNED:
            return row
        of_pair = [other for other in before if other.pair_fingerprint == row.pair_fingerprint]
        holder = next((one for one in of_pair if one.swap_id == self.holders.get(row.pair_fingerprint)), None)
        earlier = [
            other
            for other in of_pair
            if other.account == self.account
            and other.status is not Status.REUSED
            and (other.img_uuid or other.status is Status.UNKNOWN)
        ]
        picture = picture_of([*earlier, holder] if holder else earlier)
        there = picture if picture and "gone" not in str(picture.result_uri) else None
        return decided(row, next_step(row, earlier, holder=holder, picture=there))


def seen(rows: list[Swap]) -> dict[str, dict[str, Any]]:
    """What must be the same: of moments, whether there is one; of texts, what a database stores."""

    def value(name: str, found: Any) -> Any:
        if name in MOMENTS:
            return found is not None
        return clean(found) if name in {"source_img", "reference_img"} else found

    return {
        row.swap_id: {
            name: value(name, found) for name, found in row.to_row().items() if name != "planned_at"
        }
        for row in rows
    }


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_plan, "PAGE_ROWS", 2)
    monkeypatch.setattr(storage, "picture_exists", lambda uri, _conn_id: "gone" not in uri)


@settings(
    max_examples=EXAMPLES,
    # An example has transactions of its own: to make a failing one smaller would take many minutes.
    phases=[Phase.explicit, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    histories,
    plans,
    st.sampled_from([0, 3, run_plan.EARLY_ROWS]),
    st.sampled_from([None, 1, 2, 3]),
)
def test_a_streamed_plan_does_what_a_plan_in_lists_does(
    make_database: MakeDatabase,
    monkeypatch: pytest.MonkeyPatch,
    history: list[tuple[int, str]],
    plans: list[tuple[Manifest, Fate, int, int, int]],
    early_rows: int,
    settled: int | None,
) -> None:
    # Where the database can, rows are written while others are planned, with the size of batches that is chosen later
    # or with another one.
    monkeypatch.setattr(run_plan, "EARLY_ROWS", early_rows)
    monkeypatch.setattr(
        run_plan, "settled_pairs_per_task", lambda work, _slots: settled if work > 1 else None
    )
    world = World(make_database(), history)
    for manifest, fate, killed_at, pairs_per_task, seed in plans:
        before = world.rows()
        expected = seen(world.expected(before, manifest, pairs_per_task))
        try:
            world.plan(manifest, pairs_per_task, fate, killed_at)
        except ProcessDied:
            assert seen(world.rows()) in (seen(before), expected)
            world.plan(manifest, pairs_per_task)
        assert seen(world.rows()) == expected
        world.progress(seed)
