# SPDX-License-Identifier: Apache-2.0
"""The sandbox's own ledger on disk."""

from __future__ import annotations

import sqlite3

import pytest

from include.sandbox.jobs import JOB_COLUMNS, Job
from include.sandbox.ledger import Ledger


def a_job(sequence: int) -> Job:
    return Job(sequence, f"uuid-{sequence}", "http://s/1", "http://r/1", 1_000.5, 1, "none", 2.0)


async def test_what_was_awaited_is_on_disk_while_the_ledger_is_still_open(tmp_path):
    ledger = Ledger(tmp_path / "l.sqlite3")
    await ledger.keep(a_job(1), credits=9)
    with sqlite3.connect(tmp_path / "l.sqlite3") as other:
        assert other.execute("SELECT img_uuid FROM jobs").fetchall() == [("uuid-1",)]
        assert other.execute("SELECT value FROM facts WHERE name = 'credits'").fetchone() == (9,)
    other.close()
    ledger.close()


async def test_a_job_comes_back_whole(tmp_path):
    ledger = Ledger(tmp_path / "l.sqlite3")
    job = a_job(1)
    job.state, job.ended_at, job.error, job.refunded = "failed", 1002.25, "no_face: none", True
    await ledger.keep(job)
    ledger.close()
    reopened = Ledger(tmp_path / "l.sqlite3")
    (again,) = reopened.load()
    assert {name: getattr(again, name) for name in JOB_COLUMNS} == {n: getattr(job, n) for n in JOB_COLUMNS}
    reopened.close()


async def test_jobs_of_one_turn_share_one_commit_and_keep_their_order(tmp_path):
    ledger = Ledger(tmp_path / "l.sqlite3")
    waits = {id(ledger.keep(a_job(n))) for n in (3, 1, 2)}
    assert len(waits) == 1
    await ledger.keep()
    assert [job.sequence for job in ledger.load()] == [1, 2, 3]
    ledger.close()


async def test_a_write_that_fails_is_told_to_everyone_who_waits_for_it(tmp_path):
    ledger = Ledger(tmp_path / "l.sqlite3")
    with sqlite3.connect(tmp_path / "l.sqlite3") as other:
        other.execute("DROP TABLE jobs")
    other.close()
    with pytest.raises(sqlite3.OperationalError, match="jobs"):
        await ledger.keep(a_job(1))
    ledger.close()


async def test_clear_forgets_jobs_and_keeps_facts(tmp_path):
    ledger = Ledger(tmp_path / "l.sqlite3")
    ledger.keep(a_job(1), link_key=b"k")
    ledger.clear()
    assert ledger.load() == []
    assert ledger.fact("link_key") == b"k"
    assert ledger.fact("nothing") is None
    ledger.close()
