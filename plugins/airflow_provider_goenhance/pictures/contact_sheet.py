# SPDX-License-Identifier: Apache-2.0
"""
Render a run as one HTML file: source, reference and result side by side, failures first.

The pictures are embedded as thumbnails, so that the file can be mailed and stays readable when all links have expired.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..exceptions import CollectError, ErrorCode
from ..redaction import redact_link
from .fetch import fetch_picture
from .storage import read_picture
from .thumbnail import NoPreviewError, thumbnail_of

if TYPE_CHECKING:
    import aiohttp

log = logging.getLogger(__name__)

#: Maximum number of rows; the results table has them all.
MOST_ROWS = 200
#: Larger inputs are not fetched for a thumbnail. The vendor takes at most 5 MB.
INPUT_BYTES = 6 * 1024 * 1024
#: Seconds for the download of one input.
INPUT_SECONDS = 15.0
#: Seconds for the connection to the host of an input, including the look-up of its name.
CONNECT_SECONDS = 2.0
FETCHES_AT_ONCE = 8
#: Threads that make thumbnails. Each one keeps some of the memory of its largest picture until the sheet is made.
DECODERS = 2
#: Seconds for the inputs of all rows together; those that are late are left out.
ALL_INPUTS_SECONDS = 60.0
#: Seconds after which no further result is read from the storage.
RESULTS_SECONDS = 60.0

_STYLE = (
    "body{font:14px/1.45 system-ui,sans-serif;margin:1.5rem;color:#202124;background:#fff}"
    "h1{font-size:1.2rem;margin:0} p{color:#5f6368;margin:.3rem 0 1.2rem}"
    "table{border-collapse:collapse} td,th{padding:.5rem .7rem;border-bottom:1px solid #e8eaed;"
    "vertical-align:top;text-align:left} img{display:block;max-width:176px;max-height:176px;background:#f1f3f4}"
    ".tile{width:176px;height:110px;display:flex;align-items:center;justify-content:center;text-align:center;"
    "background:#f1f3f4;color:#5f6368;font-size:12px}"
    "small{color:#5f6368;word-break:break-all} .good{color:#137333} .bad{color:#b3261e}"
)


@dataclass(frozen=True, slots=True)
class SheetRow:
    """
    One swap on the sheet.

    :param good: whether it succeeded; the others are shown first
    :param with_inputs: whether its inputs are fetched; those of a rejected row may not be
    :param labels: what its manifest says about it besides, on one line
    """

    pair_id: str
    status: str
    good: bool
    source_img: str
    reference_img: str
    result_uri: str | None = None
    img_uuid: str | None = None
    reason: str | None = None
    with_inputs: bool = True
    labels: str = ""


def make_contact_sheet(
    title: str,
    facts: Mapping[str, str],
    rows: Sequence[SheetRow],
    inputs: Mapping[str, str | None],
    *,
    conn_id: str | None = None,
    most_rows: int = MOST_ROWS,
    total: int | None = None,
) -> bytes:
    """
    Return the sheet. A picture that cannot be fetched or read is left blank, never an error.

    :param title: its heading, e.g. the run
    :param facts: summary below the heading: label -> text
    :param rows: the swaps of the run, or those of them that are worth showing
    :param inputs: from :func:`fetch_inputs`
    :param conn_id: Airflow connection of the storage that holds the results
    :param most_rows: maximum number of rows, failures first
    :param total: how many swaps the run has (default: ``rows`` are all)
    :return: a self-contained HTML file, UTF-8
    """
    shown = _shown(rows, most_rows)
    deadline = time.monotonic() + RESULTS_SECONDS
    body = "".join(_row(row, inputs, conn_id, deadline) for row in shown)
    total = len(rows) if total is None else total
    cut = (
        f" {len(shown):,} of {total:,} rows are shown, failures first; the results table has all of them."
        if len(shown) < total
        else ""
    )
    said = " · ".join(f"{escape(label)} {escape(value)}" for label, value in facts.items())
    html = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{escape(title)}</h1><p>{said}.{cut} "
        "Pictures of faces made with AI: label them as such wherever they are shown.</p><table><tr><th>Pair"
        f"<th>Source (face)<th>Reference (target)<th>Result<th>State</tr>{body}</table></body></html>"
    )
    return html.encode()


def _shown(rows: Sequence[SheetRow], most_rows: int) -> list[SheetRow]:
    return sorted(rows, key=lambda row: row.good)[:most_rows]


def _row(row: SheetRow, inputs: Mapping[str, str | None], conn_id: str | None, deadline: float) -> str:
    job = f"<br><small>{escape(row.img_uuid)}</small>" if row.img_uuid else ""
    reason = f"<br>{escape(row.reason)}" if row.reason else ""
    labels = f"<br><small>{escape(row.labels)}</small>" if row.labels else ""
    state = "good" if row.good else "bad"
    return (
        f"<tr><td>{escape(row.pair_id)}{labels}</td><td>{_input(row.source_img, inputs)}</td>"
        f"<td>{_input(row.reference_img, inputs)}</td><td>{_result(row, conn_id, deadline)}</td>"
        f'<td><b class="{state}">{escape(row.status)}</b>{job}{reason}</td></tr>'
    )


def _input(url: str, inputs: Mapping[str, str | None]) -> str:
    name = escape(redact_link(url) or "")
    return f"{inputs.get(url) or ''}<small>{name}</small>"


def _result(row: SheetRow, conn_id: str | None, deadline: float) -> str:
    if not row.result_uri:
        return ""
    if time.monotonic() > deadline:
        return "<small>left out, because the storage is slow</small>"
    try:
        return _tile(read_picture(row.result_uri, conn_id))
    except Exception as error:  # noqa: BLE001  the sheet shows the pictures that can be read
        log.warning("Could not add the result of %s to the contact sheet: %s", row.pair_id, error)
        return "<small>cannot be read</small>"


def _tile(data: bytes) -> str:
    """Return a picture as HTML: its thumbnail, or a tile that says why there is none."""
    try:
        picture = base64.b64encode(thumbnail_of(data)).decode()
    except NoPreviewError as error:
        return f'<div class="tile">{escape(str(error))}</div>'
    return f'<img alt="" src="data:image/jpeg;base64,{picture}">'


async def fetch_inputs(
    rows: Sequence[SheetRow],
    *,
    most_rows: int = MOST_ROWS,
    max_bytes: int = INPUT_BYTES,
    seconds: float = ALL_INPUTS_SECONDS,
) -> dict[str, str | None]:
    """
    Return the inputs of the rows that the sheet shows, as HTML by their URLs.

    An input that cannot be fetched is ``None``; one that is late is left out.

    :param rows: the swaps of the run, or those of them that are worth showing
    :param most_rows: maximum number of rows on the sheet
    :param max_bytes: maximum size of an input
    :param seconds: for the inputs of all rows together
    """
    shown = _shown(rows, most_rows)
    urls = dict.fromkeys(
        url for row in shown if row.with_inputs for url in (row.source_img, row.reference_img)
    )
    found: dict[str, str | None] = {}
    if not urls:
        return found
    from .session import open_session

    slots = asyncio.Semaphore(FETCHES_AT_ONCE)
    with ThreadPoolExecutor(DECODERS) as decoders:
        async with open_session(connect_seconds=CONNECT_SECONDS) as session:
            inputs = _Inputs(session, decoders, max_bytes)

            async def one(url: str) -> None:
                async with slots:
                    found[url] = await inputs.fetch(url)

            fetches = [asyncio.ensure_future(one(url)) for url in urls]
            # Hosts that hang, one after the other, must not delay the report for long.
            _, late = await asyncio.wait(fetches, timeout=seconds)
            for fetch in late:
                fetch.cancel()
            await asyncio.gather(*fetches, return_exceptions=True)
    return found


class _Inputs:
    """
    Fetches input pictures, and asks a host no more that did not answer the first time.

    :param decoders: threads that make the thumbnails
    """

    def __init__(self, session: aiohttp.ClientSession, decoders: ThreadPoolExecutor, max_bytes: int) -> None:
        self._session = session
        self._decoders = decoders
        self._max_bytes = max_bytes
        self._answers: dict[str, bool] = {}

    async def fetch(self, url: str) -> str | None:
        """Return an input as HTML, ``None`` if it cannot be fetched."""
        host = _host_of(url)
        if self._answers.get(host) is False:
            return None
        try:
            data = await fetch_picture(self._session, url, max_bytes=self._max_bytes, timeout=INPUT_SECONDS)
            self._answers[host] = True
            return await asyncio.get_running_loop().run_in_executor(self._decoders, _tile, data)
        except Exception as error:  # noqa: BLE001  a sheet without one input is better than none
            log.info("Could not add an input picture to the contact sheet: %s", error)
            if not self._answers.setdefault(host, not _is_silence(error)):
                log.info("The other inputs of that host are left out.")
            return None


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).netloc
    except ValueError:
        return ""


def _is_silence(error: Exception) -> bool:
    """Return whether a host did not answer at all, as far as can be seen."""
    silent = {ErrorCode.DOWNLOAD_FAILED, ErrorCode.DOWNLOAD_TIMED_OUT}
    return isinstance(error, CollectError) and error.error_code in silent and error.http_status is None
