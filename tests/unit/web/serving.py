# SPDX-License-Identifier: Apache-2.0
"""Helpers of the tests of the page: users, rows, and what is in an answer."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

from airflow.api_fastapi import app as airflow_app
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

from airflow_provider_goenhance.hooks.results import open_results
from airflow_provider_goenhance.results.ledger import Ledger, RunKey
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.swap import Swap

PNG = b"\x89PNG\r\n\x1a\n and so on"
PAGE = {"Accept": "text/html"}


def token(role: str | None, username: str = "somebody") -> dict[str, str]:
    user = SimpleAuthManagerUser(username=username, role=role)
    return {"Authorization": f"Bearer {airflow_app.get_auth_manager().generate_jwt(user)}"}


def row(number: int = 1, **values: Any) -> Swap:
    """A row of the Dag `mine` that has succeeded."""
    fields: dict[str, Any] = {
        "swap_id": f"id-{number}",
        "dag_id": "mine",
        "run_id": "run",
        "task_id": "swap",
        "batch": 0,
        "row_number": number + 1,
        "pair_id": f"p{number:03}",
        "source_img": f"http://h/s{number}.jpg",
        "reference_img": "http://h/r.jpg",
        "pair_fingerprint": f"f{number}",
        "status": Status.SUCCEEDED,
    }
    return Swap(**{**fields, **values})


def write(*rows: Swap) -> None:
    ledger = Ledger(open_results())
    for swap in rows:
        ledger.plan(RunKey(swap.dag_id, swap.run_id), [swap])


class Tags(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str, attribute: str) -> list[str]:
        return [
            str(attributes[attribute])
            for name, attributes in self.found
            if name == tag and attribute in attributes
        ]

    def addresses(self) -> list[str]:
        """Whatever a browser loads or follows."""
        names = ("src", "href", "action", "data", "srcset", "poster", "formaction", "data-url")
        return [
            str(attributes[name]) for _, attributes in self.found for name in names if attributes.get(name)
        ]

    def pairs(self) -> list[str]:
        """The ids of the rows, in their order."""
        return [str(attributes["data-row"]) for _, attributes in self.found if "data-row" in attributes]

    def link(self, text: str, html: str) -> str | None:
        """The address of the link with a text."""
        import re

        found = re.search(rf'<a[^>]*href="([^"]*)"[^>]*>{re.escape(text)}', html)
        return found.group(1).replace("&amp;", "&") if found else None
