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

_COMMANDS = "airflow_provider_goenhance.cli.commands"

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
_BY = Arg(("--by",), help="Who says so, stored with the row (default: the user of the operating system)")

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
            "written_off: it will not be found out; a new run may send, and pay for, the pair again",
        ),
        Arg(("--img-uuid",), help="UUID of the job, for --as billed"),
        _BY,
        Arg(("--note",), help="What it is based on, stored with the row"),
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
            help="Settle GoEnhance submits whose outcome is unknown",
            subcommands=[_UNKNOWNS, _RESOLVE, _RECONCILE],
        )
    ]
