# SPDX-License-Identifier: Apache-2.0
"""Render the page as HTML: plain strings, every value escaped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape
from pathlib import PurePosixPath
from urllib.parse import urlencode

from ..redaction import short_url
from ..results.ledger import RunKey
from ..results.states import TERMINAL
from ..results.swap import Swap

_STYLE = """
body{font:14px/1.45 system-ui,sans-serif;margin:1.5rem;color:#202124;background:#fff}
h1{font-size:1.15rem;margin:0 0 .2rem} p{margin:.2rem 0 1rem;color:#5f6368}
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


def render(swaps: Sequence[Swap], total: int, key: RunKey, task_id: str | None) -> str:
    """
    Return the page.

    :param swaps: the rows to show
    :param total: the number of rows, including those not shown
    """
    waiting = any(swap.status not in TERMINAL for swap in swaps)
    refresh = f'<meta http-equiv="refresh" content="{REFRESH}">' if waiting else ""
    counts = Counter(swap.status for swap in swaps)
    summary = ", ".join(f"{count} {status}" for status, count in counts.items()) or (
        "No rows yet: the task has not started, or it uses no results table"
    )
    cut = f" Showing the first {len(swaps)} of {total} rows." if total > len(swaps) else ""
    where = " / ".join(escape(part) for part in (key.dag_id, key.run_id, task_id) if part)
    body = "".join(_row(swap) for swap in swaps)
    head = "<tr><th>Pair<th>Source (face)<th>Reference (target)<th>Result<th>State</tr>" if swaps else ""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Swapped pictures</title>{refresh}'
        f"<style>{_STYLE}</style></head><body><h1>Swapped pictures</h1><p>{where}<br>{escape(summary)}.{cut}</p>"
        f"<table>{head}{body}</table></body></html>"
    )


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
