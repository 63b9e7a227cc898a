# SPDX-License-Identifier: Apache-2.0
"""
The subcommands of ``airflow goenhance`` and their arguments.

Every ``airflow`` command imports this module: what the subcommands do is in :mod:`.commands`, which is imported when
one of them runs.
"""

from __future__ import annotations

from airflow.cli.cli_config import (
    ARG_OUTPUT,
    ARG_VERBOSE,
    ActionCommand,
    Arg,
    GroupCommand,
    lazy_load_command,
)

from ..results.resolution import Resolution
from ..results.states import Status

_COMMANDS = "airflow_provider_goenhance.cli.commands"
_RUN_COMMANDS = "airflow_provider_goenhance.cli.run_commands"
_ERASE_COMMANDS = "airflow_provider_goenhance.cli.erase_commands"

_DAG_ID = Arg(("-d", "--dag-id"), help="Id of the Dag")
_RUN_ID = Arg(("-r", "--run-id"), help="Id of the run")
_RESULTS = Arg(
    ("--results-conn-id",),
    help="Connection of the results table (default: goenhance_results)",
    default="goenhance_results",
)
_ACCOUNT = Arg(
    ("--goenhance-conn-id",),
    help="Connection of the account (default: goenhance_default)",
    default="goenhance_default",
)
_BY = Arg(("--by",), help="Who decided this, stored with the row (default: the user of the operating system)")

_STATUS_OF_ROWS = Arg(
    ("--status",),
    action="append",
    default=[],
    choices=tuple(map(str, Status)),
    metavar="STATUS",
    help=f"Only rows in this state: {', '.join(map(str, Status))}; may be repeated",
)
_ERROR_CODE = Arg(
    ("--error-code",), action="append", default=[], help="Only rows with this error code; may be repeated"
)
_PAIR_ID = Arg(("-p", "--pair-id"), action="append", default=[], help="Only this pair; may be repeated")

_STATUS = ActionCommand(
    name="status",
    help="Show how many rows of each run are in each state",
    description=(
        "Show the latest runs, of all Dags or of one, or one run: rows in each state, submits that may have been paid "
        "for, credits, and the median time of a job."
    ),
    func=lazy_load_command(f"{_RUN_COMMANDS}.status"),
    args=(
        _DAG_ID,
        _RUN_ID,
        Arg(("--limit",), type=int, default=10, help="Number of runs (default: 10)"),
        _RESULTS,
        ARG_OUTPUT,
        ARG_VERBOSE,
    ),
)
_ROWS = ActionCommand(
    name="rows",
    help="List the rows of a run",
    description=(
        "List the rows of a run, in the order of its manifest, in bounded memory. JSON and YAML have all columns; "
        "links are without their signatures."
    ),
    func=lazy_load_command(f"{_RUN_COMMANDS}.rows"),
    args=(
        _DAG_ID,
        _RUN_ID,
        _STATUS_OF_ROWS,
        _ERROR_CODE,
        _PAIR_ID,
        Arg(("--limit",), type=int, default=0, help="Number of rows (default: all)"),
        _RESULTS,
        ARG_OUTPUT,
        ARG_VERBOSE,
    ),
)
_EXPORT = ActionCommand(
    name="export",
    help="Write all columns of the rows of a run to a file",
    description=(
        "Write all columns of the rows of a run to a CSV or JSON Lines file. Links are without their signatures."
    ),
    func=lazy_load_command(f"{_RUN_COMMANDS}.export"),
    args=(
        _DAG_ID,
        _RUN_ID,
        _STATUS_OF_ROWS,
        _ERROR_CODE,
        _PAIR_ID,
        Arg(("--to",), required=True, help="The file, which is replaced; - is standard output"),
        Arg(("--format",), choices=("csv", "jsonl"), help="Default: as the file's name ends"),
        _RESULTS,
        ARG_VERBOSE,
    ),
)
_FAILURES = ActionCommand(
    name="failures",
    help="List the rows of a run without a picture, or write them as a manifest",
    description=(
        "List the rows of a run without a picture, what was paid for each, and what a new run does with it. With --to, "
        "write the failures.csv of the run: corrected, it is a manifest."
    ),
    func=lazy_load_command(f"{_RUN_COMMANDS}.failures"),
    args=(
        _DAG_ID,
        _RUN_ID,
        Arg(("--to",), help="Write a CSV file, which is replaced; - is standard output"),
        _RESULTS,
        ARG_OUTPUT,
        ARG_VERBOSE,
    ),
)
_ERASE = ActionCommand(
    name="erase",
    help="Erase what is kept of a picture, a pair, a consent or a run",
    description=(
        "List what is kept, and with --yes erase it: pictures, thumbnails, sidecars and staged copies, the contact "
        "sheets, failures.csv and rejected.csv that name it, and links, labels and names on the rows. What a bill "
        "needs stays: times, credits, job UUIDs, states. An erased pair is held in later runs. The copies that "
        "GoEnhance has cannot be deleted through its API."
    ),
    func=lazy_load_command(f"{_ERASE_COMMANDS}.erase"),
    args=(
        Arg(
            ("--source",), metavar="URL", help="A picture, used as source or reference: its link, or its key"
        ),
        Arg(("--pair",), metavar="PAIR_ID", help="A pair, in all runs; --dag-id limits it to one Dag"),
        Arg(("--consent-ref",), help="Everything with this consent reference"),
        Arg(("--run",), metavar="DAG_ID/RUN_ID", help="A run, and rows of other runs that use its pictures"),
        _DAG_ID,
        Arg(("--dry-run",), action="store_true", help="Only list what is kept, which is the default"),
        Arg(("-y", "--yes"), action="store_true", help="Erase it. It cannot be undone"),
        Arg(
            ("--storage",),
            action="append",
            default=[],
            help="Another storage in which runs kept their files; may be repeated. Those of the rows, and the default "
            "one, are known",
        ),
        Arg(("--storage-conn-id",), help="Airflow connection of the storage"),
        _BY,
        _RESULTS,
        ARG_OUTPUT,
        ARG_VERBOSE,
    ),
)
_UNKNOWNS = ActionCommand(
    name="unknowns",
    help="List the submits whose outcome is unknown",
    func=lazy_load_command(f"{_COMMANDS}.unknowns"),
    args=(_DAG_ID, _RUN_ID, _RESULTS, ARG_OUTPUT, ARG_VERBOSE),
)
_RESOLVE = ActionCommand(
    name="resolve",
    help="Settle submits whose outcome is unknown",
    description=(
        "Settle submits whose outcome is unknown, given by their swap_id, or by Dag, run and pair. Without a pair it "
        "settles all unknown submits of the run. All of them are settled, or none."
    ),
    func=lazy_load_command(f"{_COMMANDS}.resolve"),
    args=(
        Arg(("swap_ids",), nargs="*", metavar="swap_id", help="Row of the results table, see `unknowns`"),
        _DAG_ID,
        _RUN_ID,
        Arg(("-p", "--pair-id"), action="append", default=[], help="Pair of that run; may be repeated"),
        Arg(
            ("--as",),
            dest="resolution",
            required=True,
            choices=tuple(map(str, Resolution)),
            help="not_billed: it was not accepted, and the pair may be sent. "
            "billed: it was accepted as the job --img-uuid, whose picture is then collected. "
            "written_off: the outcome will not be known; a new run may send, and pay for, the pair again",
        ),
        Arg(("--img-uuid",), help="UUID of the job, for --as billed"),
        _BY,
        Arg(("--note",), help="What it is based on, stored with the row"),
        Arg(
            ("--sent-before",),
            metavar="TIME",
            help="Settle nothing if one of the submits was sent at or after this time (ISO 8601; UTC if it has no "
            "offset): the time at which you listed them, so that none is settled that you have not seen",
        ),
        Arg(
            ("--no-check",),
            action="store_true",
            help="Do not ask GoEnhance, which costs nothing, whether it knows the job",
        ),
        _ACCOUNT,
        _RESULTS,
        ARG_OUTPUT,
        ARG_VERBOSE,
    ),
)
_RECONCILE = ActionCommand(
    name="reconcile",
    help="Compare the credit balance with the submits, and settle unknown ones by it",
    description=(
        "Read the credit balance, which costs nothing, and show for each run with unknown submits how many of them it "
        "shows as accepted. With --settle, those of a run of which none was accepted are planned again."
    ),
    func=lazy_load_command(f"{_COMMANDS}.reconcile"),
    args=(
        _DAG_ID,
        _RUN_ID,
        Arg(
            ("--settle",),
            action="store_true",
            help="Plan unknown submits again where the balance shows that none was accepted",
        ),
        Arg(
            ("--job-timeout",),
            type=float,
            default=3600.0,
            help="How long a job may run, seconds: GoEnhance may charge for it when it ends (default: 3600)",
        ),
        _BY,
        _ACCOUNT,
        _RESULTS,
        ARG_OUTPUT,
        ARG_VERBOSE,
    ),
)


def get_goenhance_cli_commands() -> list[GroupCommand]:
    """Return the commands that the provider adds to ``airflow``."""
    return [
        GroupCommand(
            name="goenhance",
            help="Inspect GoEnhance runs, settle unknown submits, erase pictures",
            subcommands=[_STATUS, _ROWS, _EXPORT, _FAILURES, _UNKNOWNS, _RESOLVE, _RECONCILE, _ERASE],
        )
    ]
