# SPDX-License-Identifier: Apache-2.0
"""The subcommands that read runs: their state, their rows, and the rows without a picture."""

from __future__ import annotations

import csv
import datetime as dt
import json
import shutil
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ..exceptions import ResultsTableError
from ..execution.failures import STATUSES, open_failures
from ..execution.messages import new_run, paid_for, pluralize
from ..hooks.results import open_ledger
from ..redaction import unsigned_link
from ..results.latest_runs import latest_runs
from ..results.ledger import RunKey
from ..results.recovery import Policies
from ..results.run_rows import RunRows
from ..results.run_summary import RunSummary, summarize
from ..results.states import Review, Status
from ..results.swap import Swap
from .command import command
from .output import print_rows

if TYPE_CHECKING:
    from ..results.ledger import Ledger

_LINKS = ("source_img", "reference_img")


@command
def status(args: Namespace) -> None:
    """Show how many rows of each run are in each state."""
    with open_ledger(args.results_conn_id) as ledger:
        if args.run_id:
            keys = [_key(ledger, args)]
        else:
            keys = latest_runs(ledger.database, dag_id=args.dag_id, limit=args.limit)
        summaries = ((key, summarize(RunRows(ledger.database, key, counted=True))) for key in keys)
        print_rows(summaries, args.output, lambda found: _summary(*found))


@command
def rows(args: Namespace) -> None:
    """List the rows of a run."""
    # A table has no room for links and reasons.
    long = args.output in {"json", "yaml"}
    with open_ledger(args.results_conn_id) as ledger:
        found: Iterable[Swap] = _rows_of(ledger, args)
        if args.limit:
            found = islice(found, args.limit)
        print_rows(found, args.output, _all_columns if long else _few_columns)


@command
def export(args: Namespace) -> None:
    """Write all columns of the rows of a run to a file."""
    as_json = _format(args) == "jsonl"
    with open_ledger(args.results_conn_id) as ledger, _written(args.to) as file:
        found = map(_all_columns, _rows_of(ledger, args))
        count = _write_jsonl(found, file) if as_json else _write_csv(found, file)
    _say(f"{pluralize(count, 'row')} written to {args.to}.", args.to)


@command
def failures(args: Namespace) -> None:
    """List the rows of a run without a picture, or write them as a manifest."""
    with open_ledger(args.results_conn_id) as ledger:
        key = _key(ledger, args)
        found = RunRows(ledger.database, key, statuses=STATUSES, or_reviews=[Review.REJECTED], counted=True)
        if not args.to:
            print_rows(found, args.output, _failure)
            return
        count, file = open_failures(found, key)
        with file, _written(args.to) as target:
            shutil.copyfileobj(file, target)
    _say(f"{pluralize(count, 'row')} written to {args.to}. Corrected, the file is a manifest.", args.to)


def _key(ledger: Ledger, args: Namespace) -> RunKey:
    """Return the run that the arguments name."""
    if not (args.dag_id and args.run_id):
        raise ValueError(
            "Name a run by --dag-id and --run-id; `airflow goenhance status` lists the latest runs."
        )
    key = RunKey(args.dag_id, args.run_id)
    if not RunRows(ledger.database, key).exists():
        raise ResultsTableError(
            f"The results table ({ledger.database.name}) has no rows of run {key.run_id!r} of Dag {key.dag_id!r}. "
            "`airflow goenhance status` lists the latest runs."
        )
    return key


def _rows_of(ledger: Ledger, args: Namespace) -> RunRows:
    return RunRows(
        ledger.database,
        _key(ledger, args),
        statuses=[Status(name) for name in args.status] or None,
        error_codes=args.error_code or None,
        pair_ids=args.pair_id or None,
    )


def _summary(key: RunKey, summary: RunSummary) -> dict[str, Any]:
    return {
        "dag_id": key.dag_id,
        "run_id": key.run_id,
        "pairs": summary.rows,
        **{str(name): count for name, count in summary.counts.items()},
        "over_budget": summary.over_budget,
        "gone": summary.gone,
        "maybe_paid": summary.attempts,
        "cost": summary.cost,
        "median_seconds": summary.median_seconds,
    }


def _few_columns(row: Swap) -> dict[str, Any]:
    return {
        "row_number": row.row_number,
        "pair_id": row.pair_id,
        "status": str(row.status),
        "img_uuid": row.img_uuid,
        "cost": row.cost,
        "error_code": row.error_code,
        "result_uri": row.result_uri,
    }


def _all_columns(row: Swap) -> dict[str, Any]:
    """Return all columns of a row; its links are without their signatures, which are secrets."""
    columns = {name: _plain(value) for name, value in row.to_row().items()}
    return columns | {name: unsigned_link(columns[name]) for name in _LINKS}


def _plain(value: Any) -> Any:
    match value:
        case dt.datetime():
            return value.isoformat()
        case tuple():
            return list(value)
        case Status():
            return str(value)
        case _:
            return value


def _failure(row: Swap) -> dict[str, Any]:
    return {
        "row_number": row.row_number,
        "pair_id": row.pair_id,
        "status": str(row.status),
        "error_code": row.error_code,
        "reason": row.error_message,
        "paid": paid_for(row),
        "new_run": f"A new run {new_run(row, Policies())}." if row.status is not Status.REJECTED else "",
    }


def _format(args: Namespace) -> str:
    if args.format:
        return str(args.format)
    suffix = Path(args.to).suffix.lower()
    if suffix in {".jsonl", ".ndjson"}:
        return "jsonl"
    if suffix == ".csv" or args.to == "-":
        return "csv"
    raise ValueError(
        f"--to must end in .csv or .jsonl, which say what is written; got {args.to!r}. Rename it, or use --format."
    )


def _write_jsonl(found: Iterable[Mapping[str, Any]], file: IO[bytes]) -> int:
    count = 0
    for row in found:
        file.write(json.dumps(row, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
        count += 1
    return count


def _write_csv(found: Iterable[Mapping[str, Any]], file: IO[bytes]) -> int:
    writer = csv.writer(_Utf8(file.write), lineterminator="\n")
    writer.writerow(Swap.names())
    count = 0
    for row in found:
        writer.writerow([json.dumps(value) if isinstance(value, list) else value for value in row.values()])
        count += 1
    return count


class _Utf8:
    """Takes texts, and passes on their bytes."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write

    def write(self, text: str) -> None:
        self._write(text.encode("utf-8", "replace"))


@contextmanager
def _written(to: str) -> Iterator[IO[bytes]]:
    """Yield a file that has its name once it is complete; ``-`` is standard output."""
    if to == "-":
        yield sys.stdout.buffer
        return
    path = Path(to)
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _say(sentence: str, to: str) -> None:
    if to != "-":
        sys.stderr.write(f"{sentence}\n")
