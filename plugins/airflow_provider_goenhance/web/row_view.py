# SPDX-License-Identifier: Apache-2.0
"""A row as the page shows it: its pictures by addresses of this server, what happened to it, and what can be done."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from ..execution.messages import next_steps, paid_for
from ..links import run_url, task_url
from ..manifest.labels import read_labels
from ..redaction import short_url
from ..results.recovery import Policies
from ..results.row_version import version_of
from ..results.states import TERMINAL, Status
from ..results.swap import Swap
from .pictures_of import INPUTS, MEDIA_TYPES, can_be_fetched, has_thumbnail
from .rendering import address


@dataclass(frozen=True, slots=True)
class Picture:
    """
    A picture of a row, or the text that stands in its place.

    :param of: ``source``, ``reference`` or ``result``
    :param name: what it is called on the page
    :param thumbnail: address of its thumbnail, ``None`` if there is none to show
    :param full: address of the picture itself
    :param text: what is shown without one
    """

    of: str
    name: str
    thumbnail: str | None = None
    full: str | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class RowView:
    """A row in a list."""

    swap: Swap
    source: Picture
    reference: Picture
    result: Picture
    url: str

    @property
    def pictures(self) -> tuple[Picture, Picture, Picture]:
        """Return the three pictures side by side."""
        return self.source, self.reference, self.result

    @property
    def column(self) -> Mapping[str, object]:
        """Return the values of columns; ``None`` for one that there is not."""
        return defaultdict(lambda: None, self.swap.to_row())

    @property
    def version(self) -> str:
        """Return what an action on it sends along, so that it is done to what the person saw."""
        return version_of(self.swap)

    @property
    def reason(self) -> str:
        """Return why it is in its state, in short."""
        return self.swap.error_message or ""


@dataclass(frozen=True, slots=True)
class RowDetail:
    """
    What the larger view says about a row.

    :param paid: one sentence on what was paid
    :param next: what a retry, a clear and a new run do with it
    :param log: address of its task's log
    :param labels: what its manifest says about it besides
    """

    paid: str
    next: str
    log: str
    labels: dict[str, str]
    source_text: str
    reference_text: str


def row_view(swap: Swap) -> RowView:
    """Return a row as a list shows it."""
    source, reference = (_input(swap, of) for of in INPUTS)
    where = address("swap", dag_id=swap.dag_id, swap_id=swap.swap_id)
    return RowView(swap, source, reference, _result(swap), where)


def detail_of(swap: Swap) -> RowDetail:
    """Return what the larger view says about a row."""
    index = swap.batch if swap.map_index is None else swap.map_index
    log = (
        task_url(swap.dag_id, swap.run_id, swap.task_id, index)
        if swap.task_id
        else run_url(swap.dag_id, swap.run_id)
    )
    return RowDetail(
        paid=paid_for(swap),
        # The policies of the task are not in the table; the defaults never pay twice.
        next=next_steps(swap, Policies()),
        log=log,
        labels=read_labels(swap.labels),
        source_text=short_url(swap.source_img),
        reference_text=short_url(swap.reference_img),
    )


def _input(swap: Swap, of: str) -> Picture:
    url = swap.source_img if of == "source" else swap.reference_img
    name = "Source (face)" if of == "source" else "Reference (target)"
    query = {"dag_id": swap.dag_id, "swap_id": swap.swap_id, "of": of}
    if swap.status is Status.REJECTED or not can_be_fetched(url):
        if not has_thumbnail(swap, of):
            return Picture(of, name, text=short_url(url) if url else "none")
        return Picture(of, name, address("thumbnail", **query))
    return Picture(of, name, address("thumbnail", **query), address("input", **query), short_url(url))


def _result(swap: Swap) -> Picture:
    name = "Result"
    if not swap.result_uri:
        return Picture("result", name, text="no picture" if swap.status in TERMINAL else "not yet")
    query = {"dag_id": swap.dag_id, "swap_id": swap.swap_id}
    version = {"v": (swap.result_sha256 or "")[:12]}
    full = address("picture", **query)
    suffix = PurePosixPath(swap.result_uri).suffix.lower()
    text = (
        ""
        if suffix in MEDIA_TYPES
        else f"{suffix.removeprefix('.').upper() or 'A'} file, which browsers do not show"
    )
    return Picture("result", name, address("thumbnail", **query, of="result", **version), full, text)
