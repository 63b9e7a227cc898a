# SPDX-License-Identifier: Apache-2.0
"""Submits with an unknown outcome: what the balance says about them, and each way to settle them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_goenhance.exceptions import GoEnhanceError
from airflow_provider_goenhance.execution.settle import Selection, resolve_unknown
from airflow_provider_goenhance.hooks.results import open_ledger
from airflow_provider_goenhance.operators.face_swap_batch import GoEnhanceFaceSwapBatchOperator
from airflow_provider_goenhance.operators.plan import GoEnhancePlanOperator
from airflow_provider_goenhance.operators.report import GoEnhanceReportOperator
from airflow_provider_goenhance.results.balances import Balances
from airflow_provider_goenhance.results.ledger import RunKey
from airflow_provider_goenhance.results.swap import Swap
from include.sandbox.process import SandboxProcess

from .light_runner import LightTaskInstance

#: Two submits are accepted and one is not; none of the three is answered.
LOST = [
    {"kind": "disconnect", "when": "after", "count": 2},
    {"kind": "disconnect", "when": "before", "count": 1},
]
NOT_ACCEPTED = {"kind": "disconnect", "when": "before", "count": 2}


class Nights:
    """Runs of one Dag with one manifest."""

    def __init__(self, sandbox: SandboxProcess, folder: Path) -> None:
        self.sandbox = sandbox
        self.folder = folder
        self.run_id = "run-1"

    def manifest(self, numbers: Sequence[int]) -> str:
        path = self.folder / "pairs.csv"
        lines = ["pair_id,source_img,reference_img"]
        for number in numbers:
            source, reference = (self.sandbox.image(f"{kind}-{number}.jpg") for kind in ("s", "r"))
            lines.append(f"p{number},{source},{reference}")
        path.write_text("\n".join(lines) + "\n")
        return str(path)

    def run(self, run_id: str, numbers: Sequence[int], *, between: Any = None, **arguments: Any) -> None:
        """Plan, swap and report; `between` is called before the report."""
        self.run_id = run_id
        settle = {name: arguments.pop(name) for name in ("settle_by_credits",) if name in arguments}
        batches = GoEnhancePlanOperator(
            task_id="plan", manifest=self.manifest(numbers), pairs_per_task=len(numbers), **settle
        ).execute({"ti": LightTaskInstance("plan", run_id=run_id)})
        self.swap(batches[0]["batch"])
        if between:
            between()
        self.report(**settle, **arguments)

    def swap(self, batch: int = 0) -> None:
        operator = GoEnhanceFaceSwapBatchOperator(
            task_id="swap",
            batch=batch,
            storage=str(self.folder / "kept"),
            poll_interval=0.05,
            deferrable=False,
        )
        ti = LightTaskInstance("swap", run_id=self.run_id, map_index=batch)
        with suppress(GoEnhanceError):
            operator.execute({"ti": ti, "task_state_store": None})

    def report(self, **arguments: Any) -> None:
        operator = GoEnhanceReportOperator(task_id="report", contact_sheet=False, **arguments)
        with suppress(GoEnhanceError):
            operator.execute({"ti": LightTaskInstance("report", run_id=self.run_id)})

    def rows(self) -> dict[str, Swap]:
        with open_ledger() as ledger:
            return {row.pair_id: row for row in ledger.of_run(RunKey("light", self.run_id))}

    def statuses(self) -> dict[str, str]:
        return {pair_id: str(row.status) for pair_id, row in self.rows().items()}

    def accepted(self) -> int:
        return len(self.sandbox.submissions())

    def job_of(self, pair_id: str) -> str:
        """Find a job in the vendor's console, as a person does."""
        source = self.rows()[pair_id].source_img
        (job,) = (job for job in self.sandbox.submissions() if job["source_img"] == source)
        return str(job["img_uuid"])


@pytest.fixture
def nights(goenhance_sandbox_shared: SandboxProcess, connect: Callable[..., None], tmp_path: Path) -> Nights:
    connect(goenhance_sandbox_shared)
    goenhance_sandbox_shared.put_faults(job_seconds=0.0, credits=1000)
    return Nights(goenhance_sandbox_shared, tmp_path)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """What was logged about credits since the last call."""
    caplog.set_level(logging.INFO)

    def lines() -> str:
        found = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return "\n".join(line for line in found if "alance" in line or "redit" in line)

    return lines


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run `airflow goenhance ...`, as its parser calls it; return what it prints."""
    from airflow.cli.cli_parser import get_parser

    def run(*words: str) -> str:
        capsys.readouterr()
        args = get_parser().parse_args(["goenhance", *words])
        args.func(args)
        return capsys.readouterr().out

    return run


def balances() -> list[tuple[str, int]]:
    from airflow_provider_goenhance.hooks.goenhance import GoEnhanceHook

    with open_ledger() as ledger:
        account = GoEnhanceHook().account().fingerprint
        return [(r.moment, r.balance) for r in Balances(ledger.database, account).readings()]


# -- the line of the report --------------------------------------------------------------------------------------------


def test_the_report_says_how_many_unknown_submits_the_balance_shows_as_accepted(
    nights: Nights, said: Callable[[], str]
) -> None:
    nights.sandbox.put_faults(submit=LOST, cost=4, show_cost=True)
    nights.run("run-1", range(1, 9))

    assert balances() == [("plan", 1000), ("report", 1000 - 7 * 4)]
    assert list(nights.statuses().values()) == ["unknown"] * 3 + ["succeeded"] * 5
    line = said()
    assert "3 unknown submits; the balance shows that 2 were accepted." in line
    assert "The balance fell by 28 credits, from 1000 to 972. 5 jobs cost 20 credits" in line
    assert nights.accepted() == 7


def test_where_goenhance_reports_no_cost_the_price_is_learned_from_a_night_without_unknown_submits(
    nights: Nights, said: Callable[[], str]
) -> None:
    nights.sandbox.put_faults(cost=3)
    nights.run("run-1", range(1, 7))
    assert "A swap costs 3 credits, as the balance of this run shows." in said()

    nights.sandbox.put_faults(submit=LOST)
    nights.run("run-2", range(11, 17))
    assert "3 unknown submits; the balance shows that 2 were accepted." in said()


def test_before_a_price_is_known_the_balance_shows_nothing(nights: Nights, said: Callable[[], str]) -> None:
    nights.sandbox.put_faults(submit=LOST)
    nights.run("run-1", range(1, 7))
    line = said()
    assert "3 unknown submits; the balance does not show how many were accepted (0 to 3)." in line
    assert "the price of a swap is not known yet" in line


def test_where_another_run_of_the_account_was_busy_the_line_is_a_range(
    nights: Nights, said: Callable[[], str]
) -> None:
    nights.sandbox.put_faults(submit=LOST, show_cost=True)

    def other_run() -> None:
        other = Nights(nights.sandbox, nights.folder)
        other.run("other", [21])

    nights.run("run-1", range(1, 9), between=other_run)
    line = said().splitlines()[-1]
    assert "3 unknown submits; the balance shows that 2 to 3 were accepted." in line
    assert "May or may not have been charged in between: 1 submit of other runs." in line


def test_what_somebody_else_spent_is_said_and_no_number_is_guessed(
    nights: Nights, said: Callable[[], str]
) -> None:
    nights.sandbox.put_faults(submit=LOST, show_cost=True)

    def stranger() -> None:
        for number in range(4):
            nights.sandbox.submit(
                nights.sandbox.image(f"stranger-{number}.jpg"), nights.sandbox.image("s.jpg")
            )

    nights.run("run-1", range(1, 9), between=stranger)
    line = said()
    assert "does not show how many were accepted (0 to 3)" in line
    assert "At least 3 credits were spent by other users of the account." in line


def test_refunds_are_said(nights: Nights, said: Callable[[], str]) -> None:
    job = {"kind": "failed", "count": 2}
    nights.sandbox.put_faults(show_cost=True, refund_failed=True, job=job)
    nights.run("run-1", range(1, 6), between=lambda: nights.sandbox.put_faults(credits=1001))
    line = said()
    assert "2 failed jobs, which may be refunded" in line
    assert "At least 4 credits were added: a refund or a top-up." in line


def test_a_report_whose_account_does_not_answer_reports_without_its_balance(
    nights: Nights, said: Callable[[], str]
) -> None:
    nights.run(
        "run-1",
        [1],
        between=lambda: nights.sandbox.put_faults(tokens={"kind": "http_error", "status": 500}),
    )
    assert "The credits could not be compared with the submits" in said()
    assert nights.statuses() == {"p1": "succeeded"}


# -- settled by credits ------------------------------------------------------------------------------------------------


def test_credits_settle_submits_of_which_none_was_accepted_and_the_pairs_are_sent_once(
    nights: Nights, said: Callable[[], str]
) -> None:
    nights.sandbox.put_faults(submit=NOT_ACCEPTED, show_cost=True)
    nights.run("run-1", range(1, 5), settle_by_credits=True, job_timeout=0)

    assert list(nights.statuses().values()) == ["planned"] * 2 + ["succeeded"] * 2
    row = nights.rows()["p1"]
    assert (row.resolution, row.resolved_by, row.attempts) == ("not_billed", "credits", 0)
    assert "2 unknown submits; the balance shows that none was accepted." in str(row.resolution_note)
    assert row.resolved_at is not None

    nights.swap()
    assert set(nights.statuses().values()) == {"succeeded"}
    assert nights.accepted() == 4


def test_by_default_the_balance_only_informs(nights: Nights, said: Callable[[], str]) -> None:
    nights.sandbox.put_faults(submit=NOT_ACCEPTED, show_cost=True)
    nights.run("run-1", range(1, 5), job_timeout=0)
    assert "2 unknown submits; the balance shows that none was accepted." in said()
    assert list(nights.statuses().values()) == ["unknown"] * 2 + ["succeeded"] * 2


def test_while_a_job_may_still_run_nothing_is_settled_even_if_the_balance_shows_none(
    nights: Nights, said: Callable[[], str]
) -> None:
    """GoEnhance may take the credits when a job ends: then an accepted submit is not in the balance yet."""
    lost = {"kind": "disconnect", "when": "after", "count": 1}
    job = {"kind": "stuck", "count": 1}
    nights.sandbox.put_faults(submit=lost, show_cost=True, charged="at_end", job=job)
    nights.run("run-1", range(1, 5), settle_by_credits=True)

    line = said()
    assert "1 unknown submit; the balance shows that none was accepted." in line
    assert "compare again with `airflow goenhance reconcile` after" in line
    assert "The balance settles nothing: a job may run, and be charged for, until" in line
    assert nights.statuses()["p1"] == "unknown"
    assert nights.accepted() == 4


def test_where_some_were_accepted_nothing_is_settled(nights: Nights, said: Callable[[], str]) -> None:
    nights.sandbox.put_faults(submit=LOST, show_cost=True)
    nights.run("run-1", range(1, 9), settle_by_credits=True, job_timeout=0)
    assert "2 of 3 submits were accepted, and the balance does not say which" in said()
    assert list(nights.statuses().values())[:3] == ["unknown"] * 3


def test_the_plan_of_the_next_night_settles_the_night_before(nights: Nights) -> None:
    nights.sandbox.put_faults(submit=NOT_ACCEPTED, show_cost=True)
    nights.run("run-1", range(1, 5))
    plan = GoEnhancePlanOperator(
        task_id="plan", manifest=nights.manifest(range(1, 5)), settle_by_credits=True, job_timeout=0
    )
    plan.execute({"ti": LightTaskInstance("plan", run_id="run-2")})

    assert {pair: row.resolved_by for pair, row in nights.rows().items()} == {
        "p1": "credits",
        "p2": "credits",
        "p3": None,
        "p4": None,
    }
    nights.run_id = "run-2"
    assert nights.statuses() == {"p1": "planned", "p2": "planned", "p3": "reused", "p4": "reused"}


# -- settled by a person -----------------------------------------------------------------------------------------------


@pytest.fixture(params=["command", "call"])
def settle(request: pytest.FixtureRequest, nights: Nights, cli: Callable[..., str]) -> Callable[..., None]:
    """Settle a pair of the run, by the command line or by the Python call."""

    def by_command(pair_id: str, resolution: str, img_uuid: str | None = None) -> None:
        words = ["--dag-id", "light", "--run-id", nights.run_id, "--pair-id", pair_id, "--as", resolution]
        words += ["--sent-before", "2999-01-01"]
        job = ["--img-uuid", img_uuid] if img_uuid else []
        cli("resolve", *words, *job, "--by", "anna", "--note", "ticket 7")

    def by_call(pair_id: str, resolution: str, img_uuid: str | None = None) -> None:
        with open_ledger() as ledger:
            chosen = Selection(key=RunKey("light", nights.run_id), pair_ids=[pair_id])
            resolve_unknown(ledger, chosen, resolution, by="anna", img_uuid=img_uuid, note="ticket 7")

    return by_command if request.param == "command" else by_call


def assert_audited(row: Swap, resolution: str) -> None:
    assert (row.resolution, row.resolved_by, row.resolution_note) == (resolution, "anna", "ticket 7")
    assert row.resolved_at is not None


def test_a_submit_that_was_not_billed_is_sent_by_a_clear(nights: Nights, settle: Callable[..., None]) -> None:
    nights.sandbox.put_faults(submit=NOT_ACCEPTED)
    nights.run("run-1", [1, 2])
    settle("p1", "not_billed")
    nights.swap()
    assert nights.statuses() == {"p1": "succeeded", "p2": "unknown"}
    assert nights.accepted() == 1
    assert_audited(nights.rows()["p1"], "not_billed")


def test_a_submit_that_was_billed_is_collected_by_a_clear_and_not_paid_for_again(
    nights: Nights, settle: Callable[..., None]
) -> None:
    nights.sandbox.put_faults(submit={"kind": "disconnect", "when": "after", "count": 2})
    nights.run("run-1", [1, 2])
    img_uuid = nights.job_of("p1")
    settle("p1", "billed", img_uuid)
    nights.swap()
    row = nights.rows()["p1"]
    assert (row.status, row.img_uuid, row.attempts) == ("succeeded", img_uuid, 1)
    assert Path(str(row.result_uri).removeprefix("file://")).is_file()
    assert nights.accepted() == 2
    assert_audited(row, "billed")


def test_a_submit_that_was_billed_is_adopted_by_a_new_run(
    nights: Nights, settle: Callable[..., None]
) -> None:
    nights.sandbox.put_faults(submit={"kind": "disconnect", "when": "after", "count": 1})
    nights.run("run-1", [1, 2])
    settle("p1", "billed", nights.job_of("p1"))
    nights.run("run-2", [1, 2])
    assert nights.statuses() == {"p1": "succeeded", "p2": "reused"}
    assert nights.rows()["p1"].attempts == 0
    assert nights.accepted() == 2


def test_a_submit_that_is_written_off_stays_as_it_is_and_a_new_run_sends_the_pair(
    nights: Nights, settle: Callable[..., None]
) -> None:
    nights.sandbox.put_faults(submit={"kind": "disconnect", "when": "after", "count": 1})
    nights.run("run-1", [1, 2])
    settle("p1", "written_off")
    nights.swap()
    row = nights.rows()["p1"]
    assert (row.status, row.error_code, nights.accepted()) == ("failed", "written_off", 2)
    assert_audited(row, "written_off")
    nights.run("run-2", [1, 2])
    assert nights.statuses() == {"p1": "succeeded", "p2": "reused"}
    assert nights.accepted() == 3


@pytest.mark.parametrize("resolution", ["not_billed", "billed", "written_off"])
def test_a_row_of_another_run_that_was_held_because_of_it_goes_on_with_a_clear(
    nights: Nights, settle: Callable[..., None], resolution: str
) -> None:
    when = "before" if resolution == "not_billed" else "after"
    nights.sandbox.put_faults(submit={"kind": "disconnect", "when": when, "count": 1})
    nights.run("run-1", [1, 2])
    nights.run("run-2", [1, 2])
    assert nights.statuses() == {"p1": "held", "p2": "reused"}
    accepted = nights.accepted()

    nights.run_id = "run-1"
    settle("p1", resolution, nights.job_of("p1") if resolution == "billed" else None)
    nights.run_id = "run-2"
    nights.swap()
    assert nights.statuses() == {"p1": "succeeded", "p2": "reused"}
    assert nights.accepted() == accepted + (resolution != "billed")


def test_a_pair_that_was_settled_and_is_unknown_once_more_is_held_once_more(
    nights: Nights, settle: Callable[..., None]
) -> None:
    """The settlement was about the submit before: it does not free the pair after another one."""
    nights.sandbox.put_faults(submit={"kind": "disconnect", "when": "before", "count": 1})
    nights.run("run-1", [1, 2])
    settle("p1", "not_billed")
    nights.sandbox.put_faults(submit={"kind": "disconnect", "when": "after", "count": 1})
    nights.swap()
    assert nights.statuses()["p1"] == "unknown"
    accepted = nights.accepted()

    nights.run("run-2", [1, 2])
    assert nights.statuses() == {"p1": "held", "p2": "reused"}
    assert nights.accepted() == accepted


# -- the command line --------------------------------------------------------------------------------------------------


def test_the_command_lists_unknown_submits_and_settles_one_by_its_id(
    nights: Nights, cli: Callable[..., str]
) -> None:
    nights.sandbox.put_faults(submit=NOT_ACCEPTED)
    nights.run("run-1", [1, 2, 3])

    listed = json.loads(cli("unknowns", "--output", "json"))
    assert [row["pair_id"] for row in listed] == ["p1", "p2"]
    assert "got no complete answer" in listed[0]["reason"]
    assert "p1" in cli("unknowns", "--dag-id", "light", "--run-id", "run-1")
    assert cli("unknowns", "--dag-id", "other").strip() == "No data found"

    answer = cli("resolve", listed[0]["swap_id"], "--as", "not_billed", "--by", "anna", "--output", "json")
    (settled,) = json.loads(answer)
    assert (settled["pair_id"], settled["status"], settled["resolution"], settled["resolved_by"]) == (
        "p1",
        "planned",
        "not_billed",
        "anna",
    )
    assert [row["pair_id"] for row in json.loads(cli("unknowns", "--output", "json"))] == ["p2"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--as", "not_billed"], "No row is selected"),
        (["no-such-row", "--as", "not_billed"], "has no row no-such-row"),
        (["some-row", "--run-id", "run-1", "--as", "not_billed"], "not by both"),
        (
            ["-d", "light", "-r", "run-1", "--as", "not_billed", "--sent-before", "2020-01-01"],
            "not before 2020-01-01T00:00:00+00:00. Nothing was changed",
        ),
        (["-d", "light", "-r", "run-1", "--as", "not_billed", "--sent-before", "noon"], "got 'noon'"),
        (["-d", "light", "-r", "run-1", "-p", "p2", "--as", "not_billed"], "is succeeded: only a submit"),
        (["-d", "light", "-r", "run-1", "-p", "p1", "--as", "billed"], "needs the img_uuid of its job"),
        (
            ["-d", "light", "-r", "run-1", "-p", "p1", "--as", "billed", "--img-uuid", "no-such-job"],
            "GoEnhance does not confirm the job no-such-job",
        ),
        (
            ["-d", "light", "-r", "run-1", "--as", "not_billed", "--results-conn-id", "no_such"],
            "The connection 'no_such' of the results table does not exist",
        ),
    ],
)
def test_what_cannot_be_settled_is_said_and_the_command_fails(
    nights: Nights, cli: Callable[..., str], words: list[str], message: str
) -> None:
    nights.sandbox.put_faults(submit={"kind": "disconnect", "when": "before", "count": 1})
    nights.run("run-1", [1, 2])
    with pytest.raises(SystemExit) as error:
        cli("resolve", *words)
    assert message in str(error.value.code)
    assert nights.statuses()["p1"] == "unknown"


def test_the_job_of_another_account_is_not_recorded(
    nights: Nights, cli: Callable[..., str], connect: Callable[..., None]
) -> None:
    nights.sandbox.put_faults(submit={"kind": "disconnect", "when": "after", "count": 1})
    nights.run("run-1", [1, 2])
    words = ["-d", "light", "-r", "run-1", "-p", "p1", "--as", "billed", "--img-uuid", nights.job_of("p1")]
    connect(nights.sandbox, account_name="another")
    with pytest.raises(SystemExit, match="was sent for another account"):
        cli("resolve", *words)
    cli("resolve", *words, "--no-check")
    assert nights.statuses()["p1"] == "submitted"


def test_reconcile_shows_each_run_with_unknown_submits_and_settles_those_that_are_certain(
    nights: Nights, cli: Callable[..., str]
) -> None:
    assert cli("reconcile").strip() == "No run has unknown submits."
    nights.sandbox.put_faults(submit=NOT_ACCEPTED, show_cost=True)
    nights.run("run-1", range(1, 5))

    (run,) = json.loads(cli("reconcile", "--output", "json"))
    assert (run["run_id"], run["unknown"], run["accepted_from"], run["accepted_to"]) == (
        "run-1",
        "2",
        "0",
        "0",
    )
    assert "the balance shows that none was accepted" in cli("reconcile")

    with pytest.raises(SystemExit, match="Not settled: 1 of 1 run"):
        cli("reconcile", "--settle")
    assert nights.statuses()["p1"] == "unknown"

    assert "Planned again: 2." in cli("reconcile", "--settle", "--job-timeout", "0", "--by", "anna")
    row = nights.rows()["p1"]
    assert (str(row.status), row.resolved_by) == ("planned", "credits")
    assert str(row.resolution_note).endswith("Asked for by anna.")


def test_reconcile_of_a_run_without_a_balance_says_so(nights: Nights, cli: Callable[..., str]) -> None:
    said = cli("reconcile", "--dag-id", "light", "--run-id", "run-9")
    assert "no balance that was read before the submits of this run." in said
    with pytest.raises(SystemExit, match="--dag-id and --run-id together"):
        cli("reconcile", "--run-id", "run-9")


def test_with_only_the_plugins_folder_the_commands_run_as_a_module(
    nights: Nights, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_goenhance.cli.__main__ import main

    nights.sandbox.put_faults(submit={"kind": "disconnect", "when": "before", "count": 1})
    nights.run("run-1", [1, 2])
    capsys.readouterr()
    words = ["resolve", "-d", "light", "-r", "run-1", "--as", "not_billed", "--output", "json"]
    monkeypatch.setattr("sys.argv", ["python -m airflow_provider_goenhance.cli", *words])
    main()
    assert json.loads(capsys.readouterr().out)[0]["resolution"] == "not_billed"
