# SPDX-License-Identifier: Apache-2.0
"""Which format a web server's answer has, and the address of a Google sheet's content."""

from __future__ import annotations

import re
from http.client import HTTPMessage
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from ..exceptions import ManifestError
from .formats import ending_of, looks_like_json

_TYPES = {
    "text/csv": ".csv",
    "application/csv": ".csv",
    "application/x-csv": ".csv",
    "text/x-csv": ".csv",
    "text/comma-separated-values": ".csv",
    "text/tab-separated-values": ".tsv",
    "application/json": ".json",
    "application/jsonl": ".jsonl",
    "application/x-jsonlines": ".jsonl",
    "application/x-ndjson": ".jsonl",
    "application/ndjson": ".jsonl",
    "application/vnd.apache.parquet": ".parquet",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": ".xlsx",
}
_FORMATS = ("csv", "tsv", "json", "jsonl", "ndjson", "parquet", "xlsx")
# The ending of a file, such as `.xlsx`; `.2` in `/v1.2` is none.
_FILE_ENDING = re.compile(r"\.[a-z][a-z0-9]{0,7}")
# These name the program that made the answer, and say nothing about its format.
_PROGRAMS = frozenset(
    {".php", ".asp", ".aspx", ".ashx", ".axd", ".cgi", ".pl", ".py", ".jsp", ".do", ".action", ".dll", ".exe"}
)
_SHEET = re.compile(r"(?P<sheet>/spreadsheets/(?:u/\d+/)?d/(?P<published>e/)?[\w-]+)(?:/(?P<action>\w*))?/?")
# The last part of the path of a link that shows a sheet.
_SHOWN = frozenset({"", "edit", "view", "preview", "htmlview", "copy"})
_PUBLISHED = frozenset({"pub", "pubhtml"})
_GID = re.compile(r"(?:^|[&#?])gid=(\d+)")


def sheet_export(url: str) -> str:
    """
    Return the address of the content, as CSV, of the Google sheet that a link shows; any other URL as it is.

    The link may be one to edit or view the sheet, or that of a sheet published to the web. Its ``gid`` selects the
    sheet of the spreadsheet.
    """
    parts = urlsplit(url)
    link = _SHEET.fullmatch(parts.path)
    query = dict(parse_qsl(parts.query))
    if link is None or (parts.hostname or "").lower() != "docs.google.com" or "output" in query:
        return url
    action = link["action"] or ""
    if action not in _SHOWN | _PUBLISHED:
        return url  # an export already
    published = action in _PUBLISHED or bool(link["published"])
    wanted = {"output" if published else "format": "csv"}
    if gid := _GID.search(parts.fragment) or _GID.search(parts.query):
        wanted |= {"gid": gid[1], **({"single": "true"} if published else {})}
    if "resourcekey" in query:
        wanted["resourcekey"] = query["resourcekey"]
    path = f"{link['sheet']}/{'pub' if published else 'export'}"
    return urlunsplit((parts.scheme, parts.netloc, path, urlencode(wanted), ""))


def suffix_of(url: str, headers: HTTPMessage) -> str:
    """
    Return the extension that stands for the format of an answer; no extension at all means CSV.

    Its type is asked first, then the name that the server gives it, the query, and the path.
    """
    parts = urlsplit(url)
    named = (headers.get_filename() or "").lower()
    stated = _TYPES.get(headers.get_content_type())
    endings = (ending_of(named), *(_of_value(value) for _, value in parse_qsl(parts.query)))
    found = stated or next((f".{name}" for name in _FORMATS if f".{name}" in endings), None)
    if found:
        return found
    for name in (named, unquote(parts.path).lower()):
        ending = ending_of(name)
        if _FILE_ENDING.fullmatch(ending) and ending not in _PROGRAMS:
            return ending
    return ".csv"


def _of_value(value: str) -> str:
    return f".{value.lower()}" if value.lower() in _FORMATS else ending_of(value)


def refuse_other_content(start: bytes, suffix: str, headers: HTTPMessage, location: str) -> None:
    """
    Refuse an answer that is a page or an error message.

    :param start: its first bytes
    :param suffix: its format, see :func:`suffix_of`
    :raises ManifestError: in that case
    """
    page = start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<")
    if page or (suffix == ".csv" and looks_like_json(start)):
        raise ManifestError(
            f"manifest {location}: the server sent {'a web page' if page else 'JSON'} ({headers.get_content_type()}) "
            f"instead of a {_called(suffix)} file. It may be a login page or an error: use the address of the file "
            "itself, readable without a login (a Google sheet must be shared with anyone who has the link)"
        )


def _called(suffix: str) -> str:
    return {".csv": "CSV", ".tsv": "TSV", ".xlsx": "Excel", ".parquet": "Parquet"}.get(suffix, "JSON")
