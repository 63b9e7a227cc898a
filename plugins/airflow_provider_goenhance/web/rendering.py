# SPDX-License-Identifier: Apache-2.0
"""Render the page's templates. Every value is escaped; templates hold no script and no style."""

from __future__ import annotations

import datetime as dt
import hashlib
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from ..execution.messages import pluralize
from ..execution.progress import duration
from ..links import run_url, ui_url
from ..redaction import redact_location, short_url

_FOLDER = Path(__file__).parent
STATIC = _FOLDER / "static"


def render(name: str, **values: Any) -> str:
    """Return a template's HTML."""
    return _environment().get_template(name).render(**values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": "{:,}".format,
        "duration": duration,
        "moment": _moment,
        "short_url": short_url,
        "pluralize": pluralize,
        "location": redact_location,
    }
    environment.globals |= {"address": address, "run_url": run_url, "ui_url": ui_url, "static": _static}
    return environment


def address(page: str, /, **query: Any) -> str:
    """Return the address of one of our pages, relative to another one; ``None`` and empty values are left out."""
    given = {name: value for name, value in query.items() if value not in {None, ""}}
    return f"{page}?{urlencode(given, quote_via=quote)}" if given else page


def _static(name: str) -> str:
    """Return the address of a static file; it changes with the file, so that browsers may keep it for good."""
    return f"static/{_version(name)}/{name}"


@cache
def _version(name: str) -> str:
    return hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]


def _moment(time: dt.datetime | None) -> str:
    """Return a time in UTC as ISO text; the script shows it in the viewer's time zone."""
    return time.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if time else ""
