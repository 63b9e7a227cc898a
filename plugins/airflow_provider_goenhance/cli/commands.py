# SPDX-License-Identifier: Apache-2.0
"""The subcommands about submits whose outcome is unknown."""

from __future__ import annotations

import datetime as dt
import getpass
import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from airflow.cli.simple_table import AirflowConsole

from ..execution.messages import pluralize
from ..execution.reconcile import Comparison, compare_run, record_balance, settle_by_credits
from ..execution.settle import (
    ResolutionError,
    Selection,
    confirm_job,
    resolve_unknown,
    select_unknown,
    unknown_submits,
)
from ..hooks.goenhance import GoEnhanceHook
from ..hooks.results import open_ledger
from ..results.balances import Balances
from ..results.ledger import RunKey
from ..results.resolution import Resolution
from ..results.row_version import version_of
from ..results.swap import Swap
from .command import command
from .output import print_rows

_NEXT_STEPS = {
    Resolution.NOT_BILLED: "Clear the task, or start a new run, to send the pair.",
    Resolution.BILLED: "Clear the task, run GoEnhanceCollectOperator, or start a new run, to collect the picture.",
    Resolution.WRITTEN_OFF: "Start a new run to send the pair again; it may then be paid for twice.",
}


@command
def unknowns(args: Namespace) -> None:
    """List the submits whose outcome is unknown."""
    # A table has no room for the reason.
    long = args.output in {"json", "yaml"}

    def describe(row: Swap) -> dict[str, Any]:
        reason = {"account": row.account, "reason": row.error_message} if long else {}
        return {
            "swap_id": row.swap_id,
            "dag_id": row.dag_id,
            "run_id": row.run_id,
            "pair_id": row.pair_id,
            "sent_at": _time(row.claimed_at),
            **reason,
        }

    with open_ledger(args.results_conn_id) as ledger:
        print_rows(unknown_submits(ledger, dag_id=args.dag_id, run_id=args.run_id), args.output, describe)


@command
def resolve(args: Namespace) -> None:
    """Settle submits whose outcome is unknown."""
    selection = _selection(args)
    with open_ledger(args.results_conn_id) as ledger:
        rows = select_unknown(ledger, selection)
        _refuse_later_than(rows, args.sent_before)
        if args.resolution == Resolution.BILLED and args.img_uuid and not args.no_check:
            hook = GoEnhanceHook(args.goenhance_conn_id)
            confirm_job(rows, args.img_uuid.strip(), hook.account(), hook.get_job)
        settled = resolve_unknown(
            ledger,
            selection,
            args.resolution,
            by=args.by or getpass.getuser(),
            img_uuid=args.img_uuid,
            note=args.note,
            # Not a submit that was sent while GoEnhance was asked.
            seen={row.swap_id: version_of(row) for row in rows},
        )
    AirflowConsole().print_as(data=settled, output=args.output, mapper=_settled)
    sys.stderr.write(f"{len(settled)} settled as {args.resolution}. {_NEXT_STEPS[args.resolution]}\n")


@command
def reconcile(args: Namespace) -> None:
    """Compare the credit balance with the submits, and settle unknown ones by it."""
    if bool(args.dag_id) != bool(args.run_id):
        raise ResolutionError(
            "Name a run by --dag-id and --run-id together, or neither for all runs with unknowns."
        )
    hook = GoEnhanceHook(args.goenhance_conn_id)
    account = hook.account()
    fingerprint = account.fingerprint
    asked_by = args.by or getpass.getuser()
    shown: list[dict[str, Any]] = []
    refused = 0
    with open_ledger(args.results_conn_id) as ledger:
        keys = [RunKey(args.dag_id, args.run_id)] if args.run_id else []
        keys = keys or Balances(ledger.database, fingerprint).runs_with_unknown()
        now = record_balance(ledger, fingerprint, None, "reconcile", hook.get_credits().count)
        for key in keys:
            comparison = compare_run(
                ledger,
                fingerprint,
                key,
                now,
                job_seconds=args.job_timeout,
                named_price=account.credits_per_swap,
            )
            if comparison is None:
                refused += 1
                shown.append(
                    _reconciled(
                        key, "The results table has no balance that was read before the submits of this run."
                    )
                )
                continue
            line, settled = comparison.line, 0
            if args.settle:
                try:
                    settled = len(settle_by_credits(ledger, fingerprint, comparison, asked_by=asked_by))
                except ResolutionError as error:
                    refused += 1
                    line = f"{line} {error}"
            shown.append(_reconciled(key, line, comparison, settled))
    _print_reconciled(shown, args.output)
    if args.settle and refused:
        raise ResolutionError(f"Not settled: {refused} of {pluralize(len(keys), 'run')}.")


def _reconciled(
    key: RunKey, line: str, comparison: Comparison | None = None, settled: int = 0
) -> dict[str, Any]:
    return {
        "dag_id": key.dag_id,
        "run_id": key.run_id,
        "unknown": comparison.round.unknown if comparison else "",
        "accepted_from": comparison.finding.low if comparison else "",
        "accepted_to": comparison.finding.high if comparison else "",
        "settled": settled,
        "line": line,
    }


def _print_reconciled(shown: Sequence[dict[str, Any]], output: str) -> None:
    if output in {"json", "yaml"}:
        AirflowConsole().print_as(data=list(shown), output=output)
        return
    for run in shown:
        done = f" Planned again: {run['settled']}." if run["settled"] else ""
        sys.stdout.write(f"{run['dag_id']} {run['run_id']}: {run['line']}{done}\n")
    if not shown:
        sys.stdout.write("No run has unknown submits.\n")


def _refuse_later_than(rows: Sequence[Swap], text: str | None) -> None:
    """
    Raise an error if one of the submits is newer than what the person has looked at.

    :raises ResolutionError: when one was sent at or after the time, or the time cannot be read
    """
    if text is None:
        return
    try:
        time = dt.datetime.fromisoformat(text)
    except ValueError:
        raise ResolutionError(
            f"--sent-before must be a time such as 2026-03-01T14:30:00Z; got {text!r}."
        ) from None
    time = time if time.tzinfo else time.replace(tzinfo=dt.UTC)
    if later := [row for row in rows if row.claimed_at is None or row.claimed_at >= time]:
        raise ResolutionError(
            f"{later[0].label} was sent at {_time(later[0].claimed_at) or 'an unknown time'}, not before "
            f"{time.isoformat()}. Nothing was changed: list the unknown submits again, and look the newer ones up."
        )


def _selection(args: Namespace) -> Selection:
    if args.swap_ids:
        if args.dag_id or args.run_id or args.pair_id:
            raise ResolutionError(
                "Name rows by their swap_id, or by --dag-id, --run-id and --pair-id; not by both."
            )
        return Selection(swap_ids=args.swap_ids)
    if not (args.dag_id and args.run_id):
        raise ResolutionError(
            "No row is selected: name the swap_id, which `airflow goenhance unknowns` lists, or --dag-id and --run-id."
        )
    return Selection(key=RunKey(args.dag_id, args.run_id), pair_ids=args.pair_id)


def _settled(row: Swap) -> dict[str, Any]:
    return {
        "swap_id": row.swap_id,
        "run_id": row.run_id,
        "pair_id": row.pair_id,
        "resolution": row.resolution,
        "status": str(row.status),
        "img_uuid": row.img_uuid or "",
        "resolved_by": row.resolved_by,
        "resolved_at": _time(row.resolved_at),
    }


def _time(moment: dt.datetime | None) -> str:
    return moment.isoformat(timespec="seconds") if moment else ""
