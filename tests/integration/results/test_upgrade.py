# SPDX-License-Identifier: Apache-2.0
"""A table of release 0.1.0 goes on serving: what was paid for then is found now."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from airflow_provider_goenhance.execution.planning import plan_rows
from airflow_provider_goenhance.manifest.validate import check_pairs
from airflow_provider_goenhance.results import upgrade
from airflow_provider_goenhance.results.ledger import Ledger, RunKey
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.swap import Swap, pair_fingerprint
from tests.integration.results import release_0_1_0
from tests.integration.results.conftest import MakeDatabase

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
