# SPDX-License-Identifier: Apache-2.0
"""The subcommand that erases what is kept of a picture, a pair, a consent or a run."""

from __future__ import annotations

import getpass
import sys
from argparse import Namespace
from typing import Any

from ..execution.erase import AT_THE_VENDOR, Erasure, ErasureError, Item
from ..execution.messages import pluralize
from ..hooks.results import open_ledger
from ..results.erasures import Kind, Selector
from ..settings import default_storage
from .command import unlogged_command
from .output import print_rows


@unlogged_command
def erase(args: Namespace) -> None:
    """List what is kept of a picture, a pair, a consent or a run, and erase it with ``--yes``."""
    selector = _selector(args)
    if args.yes and args.dry_run:
        raise ErasureError("--yes erases, and --dry-run only lists: use one of them.")
    with open_ledger(args.results_conn_id, must_exist=True) as ledger:
        erasure = Erasure(
            ledger, selector, storages=[default_storage(), *args.storage], conn_id=args.storage_conn_id
        )
        items = erasure.erase(by=(args.by or getpass.getuser())[:250]) if args.yes else erasure.find()
        print_rows(items, args.output, _described)
    counts = f"{pluralize(erasure.rows, 'row')} and {pluralize(erasure.files, 'file')}"
    if not erasure.rows:
        sys.stderr.write("Nothing to erase: no row matches.\n")
    elif not args.yes:
        sys.stderr.write(f"Nothing was erased: this was a dry run. --yes erases {counts}.\n{AT_THE_VENDOR}\n")
    else:
        sys.stderr.write(f"Erased {counts}.\n{AT_THE_VENDOR}\n")
    if erasure.left_over:
        raise ErasureError(
            f"{erasure.left_over} places still name it: rows that changed at the same moment, or files that came "
            "since. Repeat the command."
        )


def _selector(args: Namespace) -> Selector:
    named = {
        Kind.SOURCE: args.source,
        Kind.PAIR: args.pair,
        Kind.CONSENT_REF: args.consent_ref,
        Kind.RUN: args.run,
    }
    given = [(kind, value.strip()) for kind, value in named.items() if value is not None]
    if len(given) != 1 or not given[0][1]:
        raise ErasureError("Name what is to be erased by one of --source, --pair, --consent-ref and --run.")
    ((kind, value),) = given
    if kind is Kind.RUN and not all(value.partition("/")[::2]):
        raise ErasureError(f"--run must be <dag_id>/<run_id>; got {value!r}.")
    if args.dag_id and kind is not Kind.PAIR:
        raise ErasureError("--dag-id limits --pair to one Dag; omit it with other selections.")
    return Selector(kind, value, args.dag_id)


def _described(item: Item) -> dict[str, Any]:
    row = item.row
    return {
        "what": item.kind,
        "done": item.done,
        "dag_id": item.run.dag_id,
        "run_id": item.run.run_id,
        "pair_id": row.pair_id if row else None,
        "status": str(row.status) if row else None,
        "img_uuid": row.img_uuid if row else None,
        "swap_id": row.swap_id if row else None,
        "uri": item.uri,
    }
