# SPDX-License-Identifier: Apache-2.0
"""A table of release 0.1.0 goes on serving: what was paid for then is found now."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_provider_goenhance.execution import one_in_flight
from airflow_provider_goenhance.execution.planning import plan_rows
from airflow_provider_goenhance.manifest.validate import check_pairs
from airflow_provider_goenhance.results import upgrade
from airflow_provider_goenhance.results.ledger import Ledger, RunKey
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.swap import Swap, pair_fingerprint
from include.sandbox.process import SandboxProcess
from tests.integration.results import release_0_1_0
from tests.integration.results.conftest import MakeDatabase
from tests.integration.results.one_run import OneRun

PLAIN = ("https://a.example/face.jpg", "https://a.example/scene.jpg?v=3")


def signed(night: str) -> tuple[str, str]:
    signature = f"?X-Amz-Date={night}&X-Amz-Signature={night}"
    return f"https://a.example/signed/face.jpg{signature}", f"https://a.example/signed/scene.jpg{signature}"


@pytest.fixture
def engine(url: sa.URL) -> sa.Engine:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        release_0_1_0.create(connection)
    return engine


def planned(ledger: Ledger, run_id: str, links: tuple[str, str], *, reuse: bool = True) -> Swap:
    pair = {"pair_id": "p1", "source_img": links[0], "reference_img": links[1]}
    manifest = check_pairs([pair], location="a test")
    key = RunKey("dag", run_id)
    rows = plan_rows(
        manifest,
        key,
        "swap",
        known_in=ledger,
        reuse=reuse,
        account="account",
    )
    ledger.plan(key, rows, task_id="swap")
    (row,) = ledger.by_ids([rows[0].swap_id])
    return row


@pytest.mark.parametrize("links", [PLAIN, signed("monday")], ids=["plain", "signed"])
def test_a_job_that_the_release_before_paid_for_is_adopted(
    engine: sa.Engine, make_database: MakeDatabase, links: tuple[str, str]
) -> None:
    with engine.begin() as connection:
        release_0_1_0.insert(
            connection,
            source_img=links[0],
            reference_img=links[1],
            status="submitted",
            img_uuid="job-1",
            account="account",
        )
    tonight = PLAIN if links is PLAIN else signed("tuesday")
    row = planned(Ledger(make_database()), "run-2", tonight)
    assert (row.status, row.img_uuid, row.attempts) == (Status.SUBMITTED, "job-1", 0)


@pytest.mark.parametrize("links", [PLAIN, signed("monday")], ids=["plain", "signed"])
@pytest.mark.parametrize("status", ["unknown", "planned", "failed"])
def test_a_run_that_the_release_before_planned_keeps_its_rows(
    engine: sa.Engine, make_database: MakeDatabase, links: tuple[str, str], status: str
) -> None:
    with engine.begin() as connection:
        swap_id = release_0_1_0.insert(
            connection, source_img=links[0], reference_img=links[1], status=status, account="account"
        )
        if links is PLAIN:
            # The id that both releases derive from the pair.
            rows = plan_rows(
                check_pairs(
                    [{"pair_id": "p1", "source_img": links[0], "reference_img": links[1]}], location="a test"
                ),
                RunKey("dag", "run-1"),
                "swap",
            )
            connection.execute(sa.text("UPDATE goenhance_swaps SET swap_id = :id"), {"id": rows[0].swap_id})
            swap_id = rows[0].swap_id
    ledger = Ledger(make_database())
    row = planned(ledger, "run-1", PLAIN if links is PLAIN else signed("tuesday"), reuse=False)
    assert (row.swap_id, row.status) == (swap_id, Status(status))
    assert len(ledger.of_run(RunKey("dag", "run-1"))) == 1


def test_the_fingerprints_of_unsigned_urls_are_those_of_release_0_1_0(
    engine: sa.Engine, make_database: MakeDatabase
) -> None:
    with engine.begin() as connection:
        release_0_1_0.insert(connection, source_img=PLAIN[0], reference_img=PLAIN[1], status="unknown")
    with engine.connect() as connection:
        before = connection.execute(sa.text("SELECT pair_fingerprint FROM goenhance_swaps")).scalar_one()
    (row,) = Ledger(make_database()).of_run(RunKey("dag", "run-1"))
    assert row.pair_fingerprint == before == pair_fingerprint(*PLAIN)


def test_all_rows_of_a_large_table_are_brought_up_to_date_and_only_once(
    engine: sa.Engine, make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upgrade, "BATCH_ROWS", 7)
    with engine.begin() as connection:
        for number in range(30):
            source, reference = signed(f"night-{number}")
            release_0_1_0.insert(
                connection,
                source_img=source,
                reference_img=reference,
                status="unknown",
                run_id=f"run-{number}",
            )
    database = make_database()
    assert len(database.read(sa.select(database.swaps.c.pair_fingerprint).distinct())) == 1
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE goenhance_swaps SET pair_fingerprint = 'as it is'"))
    again = make_database()
    assert again.read(sa.select(again.swaps.c.pair_fingerprint).distinct()) == [
        {"pair_fingerprint": "as it is"}
    ]


class Night:
    """A run after the upgrade, against the sandbox, and rows that release 0.1.0 has written for its pair."""

    def __init__(self, engine: sa.Engine, run: OneRun) -> None:
        self.run = run
        self._engine = engine

    def earlier_row(self, run_id: str, status: str, **values: Any) -> str:
        pair = self.run.pairs[0]
        with self._engine.begin() as connection:
            return release_0_1_0.insert(
                connection,
                run_id=run_id,
                pair_id="p0",
                source_img=pair["source_img"],
                reference_img=pair["reference_img"],
                status=status,
                account=self.run.account.fingerprint,
                **values,
            )


@pytest.fixture
def night(
    engine: sa.Engine, url: sa.URL, goenhance_sandbox_shared: SandboxProcess, tmp_path: Path
) -> Iterator[Night]:
    server = goenhance_sandbox_shared
    run = OneRun(url, server.port, server.token, "run-2", tmp_path / "kept", pairs=[1])
    yield Night(engine, run)
    run.close()


def now() -> str:
    return f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M:%S}"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_in_flight, "IN_FLIGHT_SECONDS", 0.2)
    monkeypatch.setattr(one_in_flight, "LOOK_EVERY", 0.05)


@pytest.mark.usefixtures("impatient")
def test_a_submit_that_the_release_before_left_under_way_is_waited_for_and_then_holds_the_pair(
    night: Night, goenhance_sandbox_shared: SandboxProcess
) -> None:
    killed = night.earlier_row("run-1", "submitting", claimed_by="swap[0] try 1 a", claimed_at=now())
    (row,) = night.run.run()
    assert (row.status, row.error_code) == (Status.HELD, "in_flight")

    swaps = night.run.ledger.swaps
    long_ago = sa.update(swaps).values(claimed_at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    night.run.ledger.database.run(lambda c: c.execute(long_ago.where(swaps.c.swap_id == killed)))
    (row,) = night.run.attempt()
    assert (row.status, row.error_code) == (Status.HELD, "unknown_submit")
    assert not goenhance_sandbox_shared.submissions()


@pytest.mark.parametrize(
    ("status", "values", "expected"),
    [
        ("unknown", {"claimed_at": "2026-01-02 00:00:00"}, Status.HELD),
        ("submitted", {"img_uuid": "a-job-that-nobody-knows", "submitted_at": "2026-01-02 00:00:00"}, None),
    ],
)
def test_a_row_that_was_planned_before_the_upgrade_is_not_sent_if_its_pair_was_sent_since(
    night: Night,
    goenhance_sandbox_shared: SandboxProcess,
    status: str,
    values: dict[str, Any],
    expected: Status | None,
) -> None:
    night.earlier_row("run-2", "planned", attempts=0, batch=0)
    night.earlier_row("run-3", status, planned_at="2026-01-02 00:00:00", **values)
    night.run.wait = False
    (row,) = night.run.attempt()
    assert (row.status, row.attempts) == (expected or Status.SUBMITTED, 0)
    assert not goenhance_sandbox_shared.submissions()


def test_the_key_of_a_pair_is_with_the_row_that_was_sent_last(night: Night) -> None:
    night.earlier_row("run-a", "failed", claimed_at="2026-01-02 00:00:00")
    last = night.earlier_row("run-b", "unknown", claimed_at="2026-01-04 00:00:00")
    night.earlier_row("run-c", "failed", claimed_at="2026-01-03 00:00:00")
    night.earlier_row("run-d", "planned", attempts=0, planned_at="2026-01-05 00:00:00")
    database = night.run.ledger.database
    pairs = database.shared.pairs
    (key,) = database.read(sa.select(pairs.c.account, pairs.c.swap_id, pairs.c.claims))
    assert key == {"account": night.run.account.fingerprint, "swap_id": last, "claims": 1}
