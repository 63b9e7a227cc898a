# SPDX-License-Identifier: Apache-2.0
"""However many runs reach for the same pairs, one at a time or at once, each pair has at most one job in flight."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_provider_goenhance.execution import one_in_flight
from airflow_provider_goenhance.results.recovery import Policies, retry_can_help
from airflow_provider_goenhance.results.spending import Caps, Spending
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.swap import Swap
from airflow_provider_goenhance.results.transition_sql import apply
from airflow_provider_goenhance.results.transitions import Claim, ClaimOwner
from include.sandbox.process import SandboxProcess
from tests.integration.results.one_run import OneRun

SCRIPT = Path(__file__).with_name("one_run.py")
PAIRS = 16
MakeRun = Callable[..., OneRun]


@pytest.fixture
def sandbox(goenhance_sandbox_shared: SandboxProcess) -> SandboxProcess:
    return goenhance_sandbox_shared


@pytest.fixture
def make_run(url: sa.URL, sandbox: SandboxProcess, tmp_path: Path) -> Iterator[MakeRun]:
    made: list[OneRun] = []

    def make(run_id: str, *, pairs: Any = range(PAIRS), **options: Any) -> OneRun:
        run = OneRun(url, sandbox.port, sandbox.token, run_id, tmp_path / "kept", pairs=pairs, **options)
        made.append(run)
        return run

    yield make
    for run in made:
        run.close()


def start_process(
    url: sa.URL, sandbox: SandboxProcess, run_id: str, folder: Path, **options: Any
) -> subprocess.Popen[str]:
    shown = url.render_as_string(hide_password=False)
    return subprocess.Popen(
        [
            sys.executable,
            SCRIPT,
            shown,
            str(sandbox.port),
            sandbox.token,
            run_id,
            folder,
            json.dumps(options),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def counts(rows: list[Swap]) -> Counter[str]:
    return Counter(str(row.status) for row in rows)


def at_once(*runs: OneRun) -> list[list[Swap]]:
    """Run them in a thread each."""
    start, results = threading.Barrier(len(runs)), dict[str, list[Swap]]()

    def work(run: OneRun) -> None:
        start.wait()
        results[run.key.run_id] = run.run()

    threads = [threading.Thread(target=work, args=(run,)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [results[run.key.run_id] for run in runs]


def test_runs_at_once_with_the_same_pairs_pay_for_each_pair_once(
    make_run: MakeRun, sandbox: SandboxProcess
) -> None:
    sandbox.put_faults(latency=0.05)
    found = at_once(make_run("1"), make_run("2"), make_run("3"))
    assert len(sandbox.submissions()) == PAIRS
    for rows in found:
        assert set(counts(rows)) <= {"succeeded", "reused"}, counts(rows)
        assert all(row.result_uri for row in rows)
    assert sum(row.attempts for rows in found for row in rows) == PAIRS


def test_processes_at_once_with_the_same_pairs_pay_for_each_pair_once(
    url: sa.URL, make_run: MakeRun, sandbox: SandboxProcess, tmp_path: Path
) -> None:
    sandbox.put_faults(latency=0.05)
    pairs = list(range(PAIRS))
    processes = [start_process(url, sandbox, name, tmp_path / "kept", pairs=pairs) for name in ("1", "2")]
    said = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert len(sandbox.submissions()) == PAIRS
    for name in ("1", "2"):
        assert set(counts(make_run(name).rows())) <= {"succeeded", "reused"}


def test_two_submits_that_were_lost_after_accepting_are_not_sent_again_by_the_next_run(
    make_run: MakeRun, sandbox: SandboxProcess
) -> None:
    sandbox.put_faults(submit={"kind": "disconnect", "when": "after", "count": 2})
    assert counts(make_run("monday").run()) == {"succeeded": PAIRS - 2, "unknown": 2}

    tuesday = make_run("tuesday")
    assert counts(tuesday.run()) == {"reused": PAIRS - 2, "held": 2}
    assert len(sandbox.submissions()) == PAIRS
    held = [row for row in tuesday.rows() if row.status is Status.HELD]
    assert {row.error_code for row in held} == {"unknown_submit"}
    assert all("run monday of Dag dag" in str(row.error_message) for row in held)
    assert not any(retry_can_help(row, Policies()) for row in held)

    # Neither a retry or clear of that run, nor the run after it.
    assert counts(tuesday.attempt()) == {"reused": PAIRS - 2, "held": 2}
    assert counts(make_run("wednesday", reuse="never", pairs=range(2)).run())["held"] >= 1
    assert len({entry["source_img"] for entry in sandbox.submissions()}) == PAIRS


def test_once_an_unknown_submit_is_settled_a_clear_of_the_held_row_sends_it(
    make_run: MakeRun, sandbox: SandboxProcess
) -> None:
    sandbox.put_faults(submit={"kind": "disconnect", "when": "before", "count": 1})
    monday = make_run("monday", pairs=[1])
    (unknown,) = monday.run()
    tuesday = make_run("tuesday", pairs=[1])
    assert counts(tuesday.run()) == {"held": 1}

    table = monday.ledger.swaps
    settled = {"status": Status.FAILED, "error_code": "written_off", "resolution": "written_off"}
    settle = sa.update(table).where(table.c.swap_id == unknown.swap_id).values(**settled)
    monday.ledger.database.run(lambda connection: connection.execute(settle))

    (row,) = tuesday.attempt()
    assert (row.status, row.attempts, row.error_code, row.error_message) == ("succeeded", 1, None, None)
    assert len(sandbox.submissions()) == 1


def test_the_users_word_sends_a_held_pair_once_although_two_runs_have_it(
    make_run: MakeRun, sandbox: SandboxProcess
) -> None:
    sandbox.put_faults(submit={"kind": "disconnect", "when": "after", "count": 1})
    make_run("monday", pairs=[1]).run()
    found = at_once(
        *(make_run(name, pairs=[1], on_unknown_submit="resubmit") for name in ("tuesday", "as well"))
    )
    assert set(counts([row for rows in found for row in rows])) <= {"succeeded", "reused"}
    assert len(sandbox.submissions()) == 2


@pytest.mark.parametrize("reuse", ["succeeded", "never"])
def test_the_same_pair_twice_in_one_manifest_is_one_job_and_two_rows(
    make_run: MakeRun, sandbox: SandboxProcess, reuse: str
) -> None:
    rows = make_run("1", pairs=[1, 1, 2, 1], reuse=reuse).run()
    assert [row.status for row in rows] == [Status.SUCCEEDED] * 4
    assert [row.attempts for row in rows] == [1, 0, 1, 0]
    assert len({row.img_uuid for row in rows}) == 2
    assert len(sandbox.submissions()) == 2


def test_runs_that_reuse_nothing_pay_one_after_the_other(make_run: MakeRun, sandbox: SandboxProcess) -> None:
    sandbox.put_faults(latency=0.05)
    found = at_once(
        make_run("1", reuse="never", pairs=range(4)), make_run("2", reuse="never", pairs=range(4))
    )
    assert [counts(rows) for rows in found] == [{"succeeded": 4}] * 2
    assert [[row.attempts for row in rows] for rows in found] == [[1] * 4] * 2
    submissions = sandbox.submissions()
    assert len(submissions) == 8
    times = {row.img_uuid: row for rows in found for row in rows}
    by_pair: dict[str, list[Swap]] = {}
    for entry in submissions:
        by_pair.setdefault(entry["source_img"], []).append(times[entry["img_uuid"]])
    for first, second in by_pair.values():
        assert first.finished_at is not None
        assert second.claimed_at is not None
        assert first.finished_at <= second.claimed_at


@pytest.mark.parametrize("reuse", ["succeeded", "never"])
def test_a_run_that_does_not_wait_blocks_its_pairs_no_longer_than_its_jobs_run(
    make_run: MakeRun, sandbox: SandboxProcess, reuse: str
) -> None:
    first = make_run("does not wait", pairs=range(3), wait=False)
    assert counts(first.run()) == {"submitted": 3}
    second = make_run("waits", pairs=range(3), reuse=reuse)
    assert counts(second.run()) == {"succeeded": 3}
    assert len(sandbox.submissions()) == (6 if reuse == "never" else 3)


def test_a_pair_whose_job_still_runs_is_held_where_nothing_is_reused_and_a_retry_looks_again(
    make_run: MakeRun, sandbox: SandboxProcess
) -> None:
    sandbox.put_faults(job_seconds=3600)
    make_run("does not wait", pairs=[1], wait=False).run()
    second = make_run("2", pairs=[1], reuse="never", timeout=0.3)
    (row,) = second.run()
    assert (row.status, row.error_code, row.attempts) == ("held", "in_flight", 0)
    assert "run does not wait of Dag dag has the job" in str(row.error_message)
    assert retry_can_help(row, Policies())
    assert len(sandbox.submissions()) == 1

    second.wait = False
    assert counts(second.attempt()) == {"held": 1}
    assert len(sandbox.submissions()) == 1


def test_a_failed_job_frees_its_pair_whoever_hears_of_it(make_run: MakeRun, sandbox: SandboxProcess) -> None:
    sandbox.put_faults(job={"kind": "failed", "count": 1})
    first = make_run("does not wait", pairs=[1], wait=False)
    first.run()
    (adopter,) = make_run("adopts", pairs=[1]).run()
    assert (adopter.status, adopter.error_code, adopter.attempts) == ("failed", "job_failed", 0)
    assert [row.error_code for row in first.rows()] == ["job_failed"]

    (row,) = make_run("pays", pairs=[1]).run()
    assert (row.status, row.attempts) == ("succeeded", 1)
    assert len(sandbox.submissions()) == 2


def test_an_adopted_job_that_fails_is_paid_for_again_once_by_all_who_may(
    make_run: MakeRun, sandbox: SandboxProcess
) -> None:
    sandbox.put_faults(job={"kind": "failed", "count": 1})
    make_run("does not wait", pairs=[1], wait=False).run()
    runs = [make_run(name, pairs=[1], failed_job_resubmits=1) for name in ("1", "2")]
    found = [row for rows in at_once(*runs) for row in rows]
    assert set(counts(found)) <= {"succeeded", "reused"}
    assert len(sandbox.submissions()) == 2


def test_the_row_of_a_run_that_stopped_before_it_sent_is_no_obstacle(
    make_run: MakeRun, sandbox: SandboxProcess
) -> None:
    sandbox.put_faults(submit={"kind": "http_error", "status": 401, "count": 1})
    stopped = make_run("stopped", pairs=[1])
    with pytest.raises(Exception, match="planned"):
        stopped.run()
    assert counts(make_run("2", pairs=[1]).run()) == {"succeeded": 1}
    assert counts(stopped.attempt()) == {"reused": 1}
    assert len(sandbox.submissions()) == 1


@pytest.mark.slow
def test_a_killed_task_leaves_its_pairs_unknown_and_those_of_other_runs_held(
    url: sa.URL, make_run: MakeRun, sandbox: SandboxProcess, tmp_path: Path
) -> None:
    sandbox.put_faults(submit={"kind": "hang", "when": "after"})
    killed = start_process(url, sandbox, "killed", tmp_path / "kept", pairs=[1, 2], claim_seconds=3.0)
    deadline = time.monotonic() + 60
    while len(sandbox.submissions()) < 2:
        assert time.monotonic() < deadline
        assert killed.poll() is None
        time.sleep(0.02)
    killed.kill()
    killed.communicate()
    sandbox.put_faults(submit=None)

    # In flight until the claim expires, then unknown.
    rows = make_run("2", pairs=[1, 2, 3]).run()
    assert counts(rows) == {"held": 2, "succeeded": 1}
    assert {row.error_code for row in rows if row.status is Status.HELD} == {"unknown_submit"}
    assert counts(make_run("killed").rows()) == {"unknown": 2}
    assert len(sandbox.submissions()) == 3


@pytest.mark.slow
def test_a_pair_that_another_task_does_not_finish_submitting_is_held_for_a_retry(
    make_run: MakeRun,
    sandbox: SandboxProcess,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(one_in_flight, "IN_FLIGHT_SECONDS", 0.2)
    monkeypatch.setattr(one_in_flight, "LOOK_EVERY", 0.05)
    sandbox.put_faults(submit={"kind": "hang", "when": "after", "count": 1, "seconds": 5})
    first = make_run("slow", pairs=[1])
    thread = threading.Thread(target=first.run)
    thread.start()
    deadline = time.monotonic() + 60
    while not sandbox.submissions():
        assert time.monotonic() < deadline
        time.sleep(0.02)

    second = make_run("2", pairs=[1, 2])
    rows = second.run()
    assert [(str(row.status), row.error_code) for row in rows] == [("held", "in_flight"), ("succeeded", None)]
    assert (
        "Other tasks are submitting 1 pair (the first: run slow of Dag dag): waiting for their jobs"
        in caplog.text
    )
    assert "run slow of Dag dag is submitting the same pair" in str(rows[0].error_message)
    assert retry_can_help(rows[0], Policies())

    first.ledger.mark_abandoned(first.rows())
    rows = second.attempt()
    assert [(str(row.status), row.error_code) for row in rows] == [
        ("held", "unknown_submit"),
        ("succeeded", None),
    ]
    thread.join(60)
    assert not thread.is_alive()


@pytest.mark.parametrize("status", [Status.UNKNOWN, Status.SUBMITTED])
def test_a_claim_that_a_budget_refused_hides_nothing_that_its_pair_was_paid_for(
    make_run: MakeRun, sandbox: SandboxProcess, status: Status
) -> None:
    lost = {"kind": "disconnect", "when": "after", "count": 1}
    sandbox.put_faults(job_seconds=0.1, submit=[lost] if status is Status.UNKNOWN else [])
    (paid,) = make_run("monday", pairs=[1], wait=False).run()
    assert paid.status is status

    over = make_run("tuesday", pairs=[1], on_unknown_submit="resubmit", reuse="never")
    over.plan()
    spending = Spending(over.account.fingerprint, over.key, Caps(max_pairs=0))
    owner = ClaimOwner("over budget", over.account.fingerprint, 1, spending=spending)
    claim = Claim.of(*over.rows(), claims_seen=1)
    swaps = over.ledger.swaps
    assert over.ledger.database.run(lambda c: apply(c, swaps, owner, [claim])) == [False]
    # It took the key all the same.
    pairs = over.ledger.database.shared.pairs.c
    (key,) = over.ledger.database.read(sa.select(pairs.swap_id, pairs.claims))
    assert key == {"swap_id": claim.swap_id, "claims": 2}

    (row,) = make_run("wednesday", pairs=[1]).run()
    assert row.status is (Status.HELD if status is Status.UNKNOWN else Status.SUCCEEDED)
    assert len(sandbox.submissions()) == 1
