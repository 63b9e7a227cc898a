# SPDX-License-Identifier: Apache-2.0
"""
Render a run as one HTML file: source, reference and result side by side, failures first.

The pictures are embedded as thumbnails, so that the file can be mailed and stays readable when all links have expired.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from html import escape

from ..redaction import redact_link
from .input_pictures import INPUT_BYTES, InputPictures, NotAskedError
from .kinds import HEAD, kind_of_bytes
from .limits import ByteBudget
from .storage import read_at_most, read_picture
from .thumbnail import THUMBNAIL_TYPE, NoPreviewError, thumbnail_of

log = logging.getLogger(__name__)

#: Maximum number of rows; the results page has them all.
MOST_ROWS = 100
#: Bytes of all inputs that are being fetched, their copies included.
INPUT_MEMORY = 48 * 2**20
#: Seconds for the connections to all hosts of inputs that do not answer, together, look-ups of their names included.
CONNECT_SECONDS = 2.0
FETCHES_AT_ONCE = 8
#: A stored thumbnail is smaller.
MOST_THUMBNAIL_BYTES = 2**20
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
    "small{color:#5f6368;word-break:break-all} .good{color:#137333} .bad{color:#b3261e} a{color:#1a5fb4}"
    "@media(prefers-color-scheme:dark){body{color:#e8eaed;background:#1c1d1f} p,small,.tile{color:#9aa0a6}"
    "td,th{border-color:#3c4043} img,.tile{background:#2b2c2f} .good{color:#81c995} .bad{color:#f28b82}"
    "a{color:#8ab4f8}}"
    # On a phone each pair is a block, with the three pictures side by side as wide as there is room.
    "@media(max-width:720px){body{margin:1rem} tr{display:grid;grid-template-columns:repeat(3,minmax(0,1fr));gap:.4rem;"
    "padding:.6rem 0;border-bottom:1px solid #8884} tr:first-child{display:none} td{border:0;padding:0}"
    "td:first-child,td:last-child{grid-column:1/-1} img,.tile{max-width:100%;width:auto}}"
)


@dataclass(frozen=True, slots=True)
class SheetRow:
    """
    One swap on the sheet.

    :param good: whether it succeeded; the others are shown first
    :param with_inputs: whether its inputs are fetched; those of a rejected row may not be
    :param labels: what its manifest says about it besides, on one line
    :param thumbnail: where the thumbnail of the result is stored, if it was made; likewise those of the inputs
    :param suspicion: what is suspicious about the result; empty if nothing is
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
    thumbnail: str | None = None
    source_thumbnail: str | None = None
    reference_thumbnail: str | None = None
    suspicion: str = ""


def make_contact_sheet(
    title: str,
    facts: Mapping[str, str],
    rows: Sequence[SheetRow],
    inputs: Mapping[str, str | None],
    *,
    conn_id: str | None = None,
    most_rows: int = MOST_ROWS,
    total: int | None = None,
    page: str | None = None,
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
    :param page: address of the results page of the run
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
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<meta name="color-scheme" content="light dark"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{escape(title)}</h1><p>{said}.{cut}{_link_to(page)} "
        "Pictures of faces made with AI: label them as such wherever they are shown.</p><table><tr><th>Pair"
        f"<th>Source (face)<th>Reference (target)<th>Result<th>State</tr>{body}</table></body></html>"
    )
    return html.encode()


def _link_to(page: str | None) -> str:
    """Return the link to the results page; nothing for an address that leads nowhere once the sheet is mailed."""
    if not (page or "").lower().startswith(("http://", "https://")):
        return ""
    return f' <a href="{escape(str(page))}">All rows, with what can be done about them</a>.'


def _shown(rows: Sequence[SheetRow], most_rows: int) -> list[SheetRow]:
    return sorted(rows, key=lambda row: (row.good, not row.suspicion))[:most_rows]


def _row(row: SheetRow, inputs: Mapping[str, str | None], conn_id: str | None, deadline: float) -> str:
    job = f"<br><small>{escape(row.img_uuid)}</small>" if row.img_uuid else ""
    reason = f"<br>{escape(row.reason)}" if row.reason else ""
    labels = f"<br><small>{escape(row.labels)}</small>" if row.labels else ""
    state = "good" if row.good and not row.suspicion else "bad"
    status = f"{row.status}, suspicious: {row.suspicion}" if row.suspicion else row.status
    return (
        f"<tr><td>{escape(row.pair_id)}{labels}</td><td>{_input(row.source_img, inputs)}</td>"
        f"<td>{_input(row.reference_img, inputs)}</td><td>{_result(row, conn_id, deadline)}</td>"
        f'<td><b class="{state}">{escape(status)}</b>{job}{reason}</td></tr>'
    )


def _input(url: str, inputs: Mapping[str, str | None]) -> str:
    name = escape(redact_link(url) or "")
    return f"{inputs.get(url) or ''}<small>{name}</small>"


def _result(row: SheetRow, conn_id: str | None, deadline: float) -> str:
    if not row.result_uri:
        return ""
    if time.monotonic() > deadline:
        return "<small>left out, because the storage is slow</small>"
    if row.thumbnail:
        with contextlib.suppress(Exception):
            return _kept_tile(row.thumbnail, conn_id)
    try:
        return _tile(read_picture(row.result_uri, conn_id))
    except Exception as error:  # noqa: BLE001  the sheet shows the pictures that can be read
        log.warning("Could not add the result of %s to the contact sheet: %s", row.pair_id, error)
        return "<small>cannot be read</small>"


def _tile(data: bytes) -> str:
    """Return a picture as HTML: its thumbnail, or a tile that says why there is none."""
    try:
        return _image(thumbnail_of(data))
    except NoPreviewError as error:
        return f'<div class="tile">{escape(str(error))}</div>'


def _kept_tile(uri: str, conn_id: str | None) -> str:
    """Return a stored thumbnail as HTML."""
    thumbnail = read_at_most(uri, MOST_THUMBNAIL_BYTES, conn_id)
    if kind_of_bytes(thumbnail[:HEAD]) != "webp":
        raise ValueError("it is no thumbnail")
    return _image(thumbnail)


def _image(thumbnail: bytes) -> str:
    picture = base64.b64encode(thumbnail).decode()
    return f'<img alt="" src="data:{THUMBNAIL_TYPE};base64,{picture}">'


async def fetch_inputs(
    rows: Sequence[SheetRow],
    *,
    most_rows: int = MOST_ROWS,
    max_bytes: int = INPUT_BYTES,
    seconds: float = ALL_INPUTS_SECONDS,
    conn_id: str | None = None,
) -> dict[str, str | None]:
    """
    Return the inputs of the rows that the sheet shows, as HTML by their URLs.

    An input whose thumbnail was made when its result was collected is not fetched again. One that cannot be fetched is
    ``None``; one that is late is left out.

    :param rows: the swaps of the run, or those of them that are worth showing
    :param most_rows: maximum number of rows on the sheet
    :param max_bytes: maximum size of an input
    :param seconds: for the inputs of all rows together
    :param conn_id: Airflow connection of the storage that holds the thumbnails
    """
    shown = [row for row in _shown(rows, most_rows) if row.with_inputs]
    kept: dict[str, str | None] = {}
    for row in shown:
        for url, uri in (
            (row.source_img, row.source_thumbnail),
            (row.reference_img, row.reference_thumbnail),
        ):
            kept[url] = kept.get(url) or uri
    found: dict[str, str | None] = {}
    if not kept:
        return found
    from .session import open_session

    slots = asyncio.Semaphore(FETCHES_AT_ONCE)
    with ThreadPoolExecutor(DECODERS) as decoders:
        async with open_session() as session:
            fetcher = InputPictures(
                session, max_bytes=max_bytes, memory=ByteBudget(INPUT_MEMORY), patience=CONNECT_SECONDS
            )
            inputs = _Inputs(fetcher, decoders, conn_id)

            async def one(url: str, thumbnail: str | None) -> None:
                async with slots:
                    found[url] = await inputs.html(url, thumbnail)

            fetches = [asyncio.ensure_future(one(url, uri)) for url, uri in kept.items()]
            # Hosts that hang, one after the other, must not delay the report for long.
            _, late = await asyncio.wait(fetches, timeout=seconds)
            for fetch in late:
                fetch.cancel()
            await asyncio.gather(*fetches, return_exceptions=True)
    return found


class _Inputs:
    """
    Makes the tiles of inputs.

    :param decoders: threads that read and make the thumbnails
    :param conn_id: Airflow connection of the storage that holds the thumbnails
    """

    def __init__(self, fetcher: InputPictures, decoders: ThreadPoolExecutor, conn_id: str | None) -> None:
        self._fetcher = fetcher
        self._decoders = decoders
        self._conn_id = conn_id

    async def html(self, url: str, thumbnail: str | None) -> str | None:
        """Return an input as HTML, ``None`` if there is no picture of it."""
        loop = asyncio.get_running_loop()
        if thumbnail:
            with contextlib.suppress(Exception):
                return await loop.run_in_executor(self._decoders, _kept_tile, thumbnail, self._conn_id)
        try:
            return await loop.run_in_executor(self._decoders, _tile, await self._fetcher.fetch(url))
        except NotAskedError:
            return None
        except Exception as error:  # noqa: BLE001  a sheet without one input is better than none
            log.info("Could not add an input picture to the contact sheet: %s", error)
            return None
