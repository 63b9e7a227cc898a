# SPDX-License-Identifier: Apache-2.0
"""`airflow goenhance ...` through Airflow's own parser, on a real results table."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.cli.cli_parser import get_parser
from airflow.utils import yaml

from airflow_provider_goenhance.cli.__main__ import main
from airflow_provider_goenhance.hooks.results import open_ledger
from airflow_provider_goenhance.results.ledger import RunKey
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.swap import Swap
from tests.swaps import planned

RUN = ("--dag-id", "dag", "--run-id", "run")
SIGNED = (
    "https://pictures.example/1.jpg?X-Amz-Signature=s3cret&X-Amz-Credential=c&X-Amz-Date=20260101T000000Z"
)


@pytest.fixture
def cli(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Run a subcommand as `airflow` does; return what it prints to standard output."""
    results = {"conn_type": "sqlite", "host": str(tmp_path / "results.db")}
    monkeypatch.setenv("AIRFLOW_CONN_GOENHANCE_RESULTS", json.dumps(results))
    monkeypatch.setenv("AIRFLOW__GOENHANCE__STORAGE", str(tmp_path / "swaps"))

    def run(*words: str) -> str:
        capsys.readouterr()
        args = get_parser().parse_args(["goenhance", *words])
        args.func(args)
        return capsys.readouterr().out

    return run


def fill(*rows: Swap) -> None:
    with open_ledger() as ledger:
        for row in rows:
            ledger.plan(RunKey(row.dag_id, row.run_id), [row])


def some_rows() -> None:
    paid: dict[str, Any] = {"attempts": 1, "img_uuid": "job", "cost": 3}
    fill(
        planned(1, status=Status.SUCCEEDED, result_uri="file:///p1.jpg", source_img=SIGNED, **paid),
        planned(2, status=Status.FAILED, error_code="job_failed", error_message="no face", **paid),
        planned(3),
        planned(1, run_id="later", status=Status.REUSED),
    )


def test_status_counts_the_rows_of_the_latest_runs(cli: Callable[..., str]) -> None:
    some_rows()
    runs = json.loads(cli("status", "--output", "json"))
    assert sorted(run["run_id"] for run in runs) == ["later", "run"]
    (run,) = json.loads(cli("status", *RUN, "--output", "json"))
    counted = {name: count for name, count in run.items() if name in set(Status) and count}
    assert counted == {"succeeded": 1, "failed": 1, "planned": 1}
    assert (run["pairs"], run["maybe_paid"], run["cost"]) == (3, 2, 6)


@pytest.mark.parametrize("output", ["table", "json", "yaml", "plain"])
def test_rows_are_printed_in_every_format_of_airflow(cli: Callable[..., str], output: str) -> None:
    some_rows()
    printed = cli("rows", *RUN, "--output", output)
    if output in {"json", "yaml"}:
        rows = json.loads(printed) if output == "json" else yaml.safe_load(printed)
        assert [(row["pair_id"], row["status"], row["cost"]) for row in rows] == [
            ("p1", "succeeded", 3), ("p2", "failed", 3), ("p3", "planned", None),
        ]  # fmt: skip
    else:
        assert printed.split()[0] == "row_number"
        assert "p2" in printed
        assert "job_failed" in printed


def test_rows_can_be_chosen(cli: Callable[..., str]) -> None:
    some_rows()

    def chosen(*words: str) -> list[str]:
        return [row["pair_id"] for row in json.loads(cli("rows", *RUN, *words, "--output", "json"))]

    assert chosen("--status", "failed", "--status", "planned") == ["p2", "p3"]
    assert chosen("--error-code", "job_failed") == ["p2"]
    assert chosen("--pair-id", "p3") == ["p3"]
    assert chosen("--limit", "2") == ["p1", "p2"]


def test_no_command_prints_a_signature(cli: Callable[..., str], tmp_path: Path) -> None:
    some_rows()
    printed = [
        cli("rows", *RUN, "--output", "json"),
        cli("export", *RUN, "--to", "-"),
        cli("failures", *RUN, "--to", "-"),
    ]
    assert "https://pictures.example/1.jpg" in printed[0]
    assert not any("s3cret" in text for text in printed)


def test_many_rows_are_printed_page_by_page(cli: Callable[..., str]) -> None:
    with open_ledger() as ledger:
        ledger.plan(RunKey("dag", "run"), [planned(number) for number in range(1201)])
    rows = json.loads(cli("rows", *RUN, "--output", "json"))
    assert [row["pair_id"] for row in rows] == [f"p{number}" for number in range(1201)]
    assert cli("rows", *RUN, "--output", "plain").count("row_number") == 3


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl"])
def test_export_writes_all_columns_of_all_rows(cli: Callable[..., str], tmp_path: Path, name: str) -> None:
    some_rows()
    path = tmp_path / name
    assert cli("export", *RUN, "--to", str(path)) == ""
    text = path.read_text()
    if name.endswith("csv"):
        rows = list(csv.DictReader(io.StringIO(text)))
    else:
        rows = [json.loads(line) for line in text.splitlines()]
    assert [row["pair_id"] for row in rows] == ["p1", "p2", "p3"]
    assert list(rows[0]) == list(Swap.names())
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_failures_are_listed_with_what_was_paid_and_what_a_new_run_does(cli: Callable[..., str]) -> None:
    some_rows()
    failed, unsent = json.loads(cli("failures", *RUN, "--output", "json"))
    assert (failed["pair_id"], failed["reason"], failed["paid"]) == ("p2", "no face", "Job job was paid for.")
    assert unsent["new_run"] == "A new run submits the pair and pays for it."


def test_failures_are_written_as_the_manifest_that_the_report_writes(
    cli: Callable[..., str], tmp_path: Path
) -> None:
    some_rows()
    path = tmp_path / "failures.csv"
    cli("failures", *RUN, "--to", str(path))
    assert [row["pair_id"] for row in csv.DictReader(path.open())] == ["p2", "p3"]


def test_unknown_submits_are_listed_in_the_order_in_which_they_were_sent(cli: Callable[..., str]) -> None:
    fill(*(planned(number, status=Status.UNKNOWN, attempts=1) for number in (3, 1, 2)))
    listed = json.loads(cli("unknowns", "--output", "json"))
    assert [row["pair_id"] for row in listed] == ["p1", "p2", "p3"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rows", "--dag-id", "dag"], "Name a run by --dag-id and --run-id"),
        (["rows", "-d", "dag", "-r", "no"], "has no rows of run 'no' of Dag 'dag'"),
        (["failures", "-d", "dag", "-r", "no"], "has no rows of run 'no'"),
        (["export", *RUN, "--to", "rows.xls"], "--to must end in .csv or .jsonl"),
        (["export", *RUN, "--to", "/no/such/folder/rows.csv"], "No such file or directory"),
        (
            ["status", "--results-conn-id", "no_such"],
            "The connection 'no_such' of the results table does not exist",
        ),
        (["erase"], "Name what is to be erased by one of --source, --pair, --consent-ref and --run"),
        (["erase", "--pair", "p1", "--run", "dag/run"], "by one of"),
        (["erase", "--run", "dag"], "--run must be <dag_id>/<run_id>; got 'dag'"),
        (["erase", "--source", "x", "--dag-id", "dag"], "--dag-id limits --pair"),
        (["erase", "--pair", "p1", "--yes", "--dry-run"], "use one of them"),
    ],
)
def test_an_error_is_a_message_and_not_a_traceback(
    cli: Callable[..., str], words: list[str], message: str
) -> None:
    some_rows()
    with pytest.raises(SystemExit) as error:
        cli(*words)
    # Python prints a text, and exits with the code 1.
    assert message in str(error.value.code)


def test_the_commands_are_found_without_importing_what_they_need() -> None:
    # Every `airflow` command imports the definitions.
    code = (
        "import sys, airflow_provider_goenhance.cli.definition as d; d.get_goenhance_cli_commands(); "
        "heavy = {'pandas', 'aiohttp', 'PIL', 'airflow_provider_goenhance.results.database'}; "
        "print(sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_script_has_the_same_commands(
    cli: Callable[..., str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    some_rows()
    by_airflow = cli("status", "--output", "json")
    monkeypatch.setattr(sys, "argv", ["airflow-goenhance", "status", "--output", "json"])
    main()
    assert capsys.readouterr().out == by_airflow


# -- erase -------------------------------------------------------------------------------------------------------------


def kept(tmp_path: Path) -> Path:
    picture = tmp_path / "swaps" / "run" / "p1.jpg"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"a face")
    fill(planned(1, status=Status.SUCCEEDED, result_uri=picture.as_uri(), img_uuid="job-1", attempts=1))
    return picture


def row() -> Swap:
    with open_ledger() as ledger:
        (found,) = ledger.of_run(RunKey("dag", "run"))
        return found


def test_erase_only_lists_unless_yes_is_said(
    cli: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = kept(tmp_path)
    listed = json.loads(cli("erase", "--pair", "p1", "--output", "json"))
    assert [(item["what"], item["done"]) for item in listed] == [("row", "found"), ("picture", "found")]
    assert picture.exists()
    assert row().erased_at is None


def test_erase_deletes_and_says_what_it_cannot_delete(
    cli: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    picture = kept(tmp_path)
    args = get_parser().parse_args(
        ["goenhance", "erase", "--pair", "p1", "--yes", "--by", "anna", "-o", "json"]
    )
    args.func(args)
    printed = capsys.readouterr()
    done = {(item["what"], item["done"], item["img_uuid"]) for item in json.loads(printed.out)}
    assert done == {("picture", "deleted", "job-1"), ("row", "content erased", "job-1")}
    assert "Erased 1 row and 1 file." in printed.err
    assert "its API has no call that deletes them" in printed.err
    assert not picture.exists()
    assert row().erased_at is not None


def test_what_is_erased_is_not_written_to_airflows_audit_log(
    cli: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.utils import cli_action_loggers

    logged: list[object] = []
    monkeypatch.setattr(cli_action_loggers, "on_pre_execution", lambda **metrics: logged.append(metrics))
    kept(tmp_path)
    cli("erase", "--pair", "p1", "--yes")
    assert logged == []
    cli("status")
    assert len(logged) == 1


def test_erase_of_what_is_not_there_says_so(
    cli: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept(tmp_path)
    args = get_parser().parse_args(["goenhance", "erase", "--pair", "another"])
    args.func(args)
    assert "Nothing to erase" in capsys.readouterr().err


def test_erase_fails_while_a_picture_may_still_come(cli: Callable[..., str], tmp_path: Path) -> None:
    fill(planned(1, status=Status.SUBMITTED, attempts=1, img_uuid="job-1"))
    with pytest.raises(SystemExit, match=r"1 of the rows may still get a picture"):
        cli("erase", "--run", "dag/run", "--yes")
    assert row().erased_at is None
