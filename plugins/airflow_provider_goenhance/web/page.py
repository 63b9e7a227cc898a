# SPDX-License-Identifier: Apache-2.0
"""Render the page as HTML: plain strings, every value escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import PurePosixPath
from urllib.parse import urlencode

from ..redaction import short_url
from ..results.ledger import RunKey
from ..results.states import TERMINAL, Status
from ..results.swap import Swap

_STYLE = """
body{font:14px/1.45 system-ui,sans-serif;margin:1.5rem;color:#202124;background:#fff}
h1{font-size:1.15rem;margin:0 0 .2rem} h2{font-size:1rem;margin:1.2rem 0 .2rem} p{margin:.2rem 0 1rem;color:#5f6368}
table{border-collapse:collapse;width:100%} td,th{padding:.5rem;border-bottom:1px solid #e8eaed;vertical-align:top;
text-align:left} img{height:120px;max-width:180px;object-fit:contain;background:#f1f3f4}
code{font-size:12px;word-break:break-all} .succeeded,.reused{color:#137333}
.failed,.unknown,.rejected,.held{color:#b3261e}
@media(prefers-color-scheme:dark){body{background:#1c1d1f;color:#e8eaed} p{color:#9aa0a6} td,th{border-color:#3c4043}
img{background:#2b2c2f} .succeeded,.reused{color:#81c995} .failed,.unknown,.rejected,.held{color:#f28b82}}
"""
#: Ending -> media type of the pictures that every browser shows. SVG is not among them: it may hold scripts.
MEDIA_TYPES = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".avif": "image/avif",
    ".bmp": "image/bmp",
    ".ico": "image/vnd.microsoft.icon",
}
#: Seconds after which the page reloads while rows are not finished.
REFRESH = 5
#: The same for a run of more rows than this, which take longer to count.
SLOW_REFRESH = 30
MANY_ROWS = 10_000

_HEAD = "<tr><th>Pair<th>Source (face)<th>Reference (target)<th>Result<th>State</tr>"


def render(
    swaps: Sequence[Swap],
    counts: Mapping[Status, int],
    key: RunKey,
    task_id: str | None,
    *,
    index: int | None = None,
    failures: Sequence[Swap] = (),
    first: bool = True,
    last: bool = True,
) -> str:
    """
    Return the page.

    :param swaps: the rows to show
    :param counts: rows in each state, including those not shown
    :param index: the mapped task that the rows belong to
    :param failures: rows that went wrong, to show before the others
    :param first: whether it is the first page
    :param last: whether it is the last one
    """
    total = sum(counts.values())
    waiting = any(count for status, count in counts.items() if status not in TERMINAL)
    seconds = REFRESH if total <= MANY_ROWS else SLOW_REFRESH
    refresh = f'<meta http-equiv="refresh" content="{seconds}">' if waiting else ""
    summary = ", ".join(f"{count:,} {status}" for status, count in counts.items() if count) or (
        "No rows yet: the task has not started, or it uses no results table"
    )
    where = " / ".join(escape(part) for part in (key.dag_id, key.run_id, task_id) if part)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Swapped pictures</title>{refresh}'
        f"<style>{_STYLE}</style></head><body><h1>Swapped pictures</h1><p>{where}<br>{escape(summary)}."
        f"{_cut(len(swaps), total)}</p>"
        f"{_table(failures, 'First failures')}{_table(swaps, 'All rows' if failures else '')}"
        f"{_links(key, task_id, index, first=first, after=None if last else swaps[-1].swap_id)}</body></html>"
    )


def _cut(shown: int, total: int) -> str:
    return f" Showing {shown} of {total:,} rows." if total > shown else ""


def _table(swaps: Sequence[Swap], title: str) -> str:
    if not swaps:
        return ""
    heading = f"<h2>{title}</h2>" if title else ""
    return f"{heading}<table>{_HEAD}{''.join(map(_row, swaps))}</table>"


def _links(key: RunKey, task_id: str | None, index: int | None, *, first: bool, after: str | None) -> str:
    """Return the links to the first and to the next page; ``after`` is the last row of this one."""
    here = {"dag_id": key.dag_id, "run_id": key.run_id}
    here |= {"task_id": task_id} if task_id else {}
    here |= {"map_index": str(index)} if index is not None else {}
    links = [] if first else [("First page", here)]
    if after:
        links.append(("Next page", here | {"after": after}))
    return "".join(f'<p><a href="swaps?{escape(urlencode(query))}">{text}</a></p>' for text, query in links)


def _row(swap: Swap) -> str:
    img_uuid = f"<br><code>{escape(swap.img_uuid)}</code>" if swap.img_uuid else ""
    reason = f"<br>{escape(swap.error_message)}" if swap.error_message else ""
    number = f"<br>row {swap.row_number}" if swap.row_number else ""
    return (
        f"<tr><td>{escape(swap.pair_id)}{number}</td><td>{_input(swap.source_img)}</td>"
        f"<td>{_input(swap.reference_img)}</td><td>{_result(swap)}</td>"
        f'<td><b class="{swap.status}">{swap.status}</b>{img_uuid}{reason}</td></tr>'
    )


def _input(url: str) -> str:
    """Show a picture of the manifest; anything but a web address as the text that it is."""
    if url.lower().startswith(("http://", "https://")):
        return _image(url)
    return f"<code>{escape(short_url(url))}</code>" if url else ""


def _image(url: str, alt: str = "") -> str:
    return f'<img loading="lazy" src="{escape(url)}" alt="{escape(alt)}">'


def _result(swap: Swap) -> str:
    if not swap.result_uri:
        return ""
    address = f"picture?{urlencode({'dag_id': swap.dag_id, 'swap_id': swap.swap_id})}"
    suffix = PurePosixPath(swap.result_uri).suffix.lower()
    if suffix in MEDIA_TYPES:
        shown = _image(address, f"result of {swap.pair_id}")
    else:
        shown = f"{escape(suffix.removeprefix('.').upper() or 'the')} file, which browsers do not show"
    return f'<a href="{escape(address)}">{shown}</a>'
