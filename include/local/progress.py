# SPDX-License-Identifier: Apache-2.0
"""The output of `make run`: a progress bar, a table of results, and one line of counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from urllib.parse import unquote, urlsplit

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from airflow_provider_goenhance.results.swap import Swap
from include.local.paths import Paths

# In the order of a row's life.
STATUSES = (
    "planned",
    "submitting",
    "submitted",
    "succeeded",
    "reused",
    "failed",
    "rejected",
    "held",
    "unknown",
)
_OPEN = frozenset({"planned", "submitting", "submitted"})
_STYLES = {
    "succeeded": "green",
    "reused": "green",
    "failed": "red",
    "rejected": "red",
    "held": "yellow",
    "unknown": "yellow",
}
SHOWN_ROWS = 40


class RunProgress:
    """
    A progress bar on a terminal; elsewhere one line for each change.

    :param console: output
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last = ""
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[detail]}"),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task("swaps", total=None, detail="")

    def __enter__(self) -> RunProgress:
        """Show the bar."""
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the bar."""
        if self._console.is_terminal:
            self._bar.stop()

    def show(self, state: str, counts: Mapping[str, int]) -> None:
        """Show the state of the run and of its rows."""
        total, finished = sum(counts.values()), done(counts)
        detail = ", ".join(f"{counts[status]} {status}" for status in STATUSES if counts.get(status))
        if self._console.is_terminal:
            self._bar.update(
                self._task, total=total or None, completed=finished, detail=f"run {state}  {detail}"
            )
            return
        line = f"run {state}: {finished} of {total} swaps done" + (f" ({detail})" if detail else "")
        if line != self._last:
            self._last = line
            self._console.print(line, highlight=False, soft_wrap=True)


def done(counts: Mapping[str, int]) -> int:
    """Return the number of rows in a terminal state."""
    return sum(number for status, number in counts.items() if status not in _OPEN)


def results_table(rows: Sequence[Swap], total: int, paths: Paths) -> Table:
    """
    Return a table of a run's rows; of a long run, only the rows that need attention.

    :param rows: the rows to show
    :param total: how many rows the run has
    """
    table = Table(title=_title(total, len(rows)), title_justify="left")
    for heading in ("pair", "status", "img_uuid"):
        table.add_column(heading, no_wrap=True)
    table.add_column("kept picture or reason", overflow="fold")
    for row in rows:
        style = _STYLES.get(row.status, "cyan")
        end = _picture(row.result_uri, paths) if row.result_uri else _reason(row)
        # Text, not markup: a vendor's message may hold square brackets.
        table.add_row(Text(row.pair_id), Text(row.status, style=style), Text(row.img_uuid or ""), Text(end))
    return table


def _title(total: int, shown: int) -> str:
    if shown == total:
        return f"{total} swaps"
    return f"{shown} of {total} swaps; the results table has all of them"


def _picture(uri: str, paths: Paths) -> str:
    """Return a picture's path relative to the checkout if it is inside it."""
    path = unquote(urlsplit(uri).path) if uri.startswith("file:") else uri
    return paths.shown(path)


def _reason(row: Swap) -> str:
    reason = row.error_message or row.error_code or ""
    if row.row_number is None or row.status != "rejected":
        return reason
    return f"Row {row.row_number}: {reason}"
