# SPDX-License-Identifier: Apache-2.0
"""What an address asks for: which rows, in which order, shown how. Anything may be in an address."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, get_args

from fastapi import Query

from ..results.label_values import can_be_read
from ..results.page_rows import Filter, Order
from ..results.plan import RunKey
from ..results.states import Status
from .figures import COUNTED
from .rendering import address

#: Rows on a page.
TABLE_ROWS, GRID_ROWS = 50, 60
_ORDERS: tuple[Order, ...] = get_args(Order)
_VIEWS = ("table", "grid")


@dataclass(frozen=True, slots=True)
class RowQuery:
    """
    Which rows a page shows.

    :param wanted: the filter
    :param search: a text in pair ids or addresses
    :param view: ``table`` or ``grid``
    :param after: where the page begins
    """

    key: RunKey
    wanted: Filter
    search: str = ""
    order: Order = "manifest"
    view: str = "table"
    after: str | None = None

    @property
    def limit(self) -> int:
        """Return how many rows a page has."""
        return GRID_ROWS if self.view == "grid" else TABLE_ROWS

    @property
    def status(self) -> Status | None:
        """Return the state that is chosen."""
        return self.wanted.statuses[0] if self.wanted.statuses else None

    def chosen(self, column: str) -> str | None:
        """Return the value of a column that is chosen."""
        return dict(self.wanted.columns).get(column)

    def url(self, page: str = "swaps", /, **changes: Any) -> str:
        """Return the address of the same rows with some changes; it begins at the first page unless it says where."""
        return address(page, **(self._query() | changes))

    @property
    def plain_url(self) -> str:
        """Return the address of all rows of the run or task."""
        kept = {"dag_id", "run_id", "task_id", "map_index", "view"}
        return address("swaps", **{name: value for name, value in self._query().items() if name in kept})

    @property
    def fields(self) -> list[tuple[str, Any]]:
        """Return what a form that searches or sorts has to send along."""
        own = {"q", "order"}
        return [
            (name, value) for name, value in self._query().items() if name not in own and value is not None
        ]

    def _query(self) -> dict[str, Any]:
        wanted = self.wanted
        given: dict[str, Any] = {
            "dag_id": self.key.dag_id,
            "run_id": self.key.run_id,
            "task_id": wanted.task_id,
            "map_index": wanted.map_index,
            "status": self.status,
            "reason": wanted.error_code,
            "label": "=".join(wanted.label) if wanted.label else None,
            "q": self.search,
            "order": self.order if self.order != "manifest" else None,
            "view": self.view if self.view != "table" else None,
        }
        return given | dict(wanted.columns)

    @property
    def filtered(self) -> bool:
        """Return whether fewer rows than those of the run or task are shown."""
        plain = Filter(task_id=self.wanted.task_id, map_index=self.wanted.map_index)
        return self.wanted != plain or bool(self.search)


def row_query(
    dag_id: str,
    run_id: str,
    task_id: str | None = None,
    map_index: str | None = None,
    status: str | None = None,
    reason: Annotated[str | None, Query(max_length=64)] = None,
    quality: Annotated[str | None, Query(max_length=32)] = None,
    review: Annotated[str | None, Query(max_length=32)] = None,
    label: Annotated[str | None, Query(max_length=600)] = None,
    q: Annotated[str, Query(max_length=2000)] = "",
    order: str = "manifest",
    view: str = "table",
    after: Annotated[str | None, Query(max_length=8000)] = None,
) -> RowQuery:
    """Return what an address asks for; what it does not know is left out, so that old addresses still work."""
    search = _text(q).strip()
    named = {"quality": quality, "review": review}
    wanted = Filter(
        statuses=(Status(status),) if status in set(Status) else (),
        error_code=_text(reason) or None if reason else None,
        columns=tuple((name, _text(named[name] or "")) for name in COUNTED if named[name]),
        label=_label(label),
        task_id=_text(task_id) if task_id else None,
        map_index=_map_index(map_index),
        starts=search,
    )
    return RowQuery(
        key=RunKey(_text(dag_id), _text(run_id)),
        wanted=wanted,
        search=search,
        order=next((known for known in _ORDERS if known == order), "manifest"),
        view=view if view in _VIEWS else "table",
        after=after,
    )


def without_search(query: RowQuery) -> Filter:
    """Return the filter without the text that is searched."""
    return replace(query.wanted, starts="")


def _map_index(text: str | None) -> int | None:
    """Return the index of a mapped task; on a task that is not mapped, Airflow leaves ``{MAP_INDEX}`` as it is."""
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 9:
        return None
    return int(text)


def _label(text: str | None) -> tuple[str, str] | None:
    name, equals, value = _text(text or "").partition("=")
    return (name, value) if equals and can_be_read(name) else None


def _text(text: str) -> str:
    """Return a text that a database takes."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()
