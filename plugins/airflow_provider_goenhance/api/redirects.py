# SPDX-License-Identifier: Apache-2.0
"""Read a redirect. None is followed: that would send a submit again."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from ..exceptions import UnexpectedResponseError

if TYPE_CHECKING:
    from .responses import RawAnswer

#: Statuses that ask for the same request at another address.
_SAME_REQUEST = frozenset({301, 307, 308})


def redirect_error(answer: RawAnswer) -> UnexpectedResponseError:
    """
    Return the error for a redirect.

    It may come after the request was carried out, whichever status it has: a proxy may answer for another server. Only
    one is certain not to: the same address with https instead of http.
    """
    if answer.status in _SAME_REQUEST and _is_upgrade_to_https(answer):
        return UnexpectedResponseError(
            f"The host of {answer.account} only accepts https (HTTP {answer.status}): write https:// in the "
            f"connection's host. This {answer.what} was not carried out.",
            http_status=answer.status,
            maybe_accepted=False,
        )
    return UnexpectedResponseError(
        f"The response to the {answer.what} of {answer.account} redirects to {_host_of(answer.location)} (HTTP "
        f"{answer.status}) and was not followed. If GoEnhance has moved, correct the connection's host; otherwise "
        "check any proxy.",
        http_status=answer.status,
    )


def _is_upgrade_to_https(answer: RawAnswer) -> bool:
    try:
        asked, target = urlsplit(answer.url), urlsplit(urljoin(answer.url, answer.location or ""))
        same_host = asked.hostname == target.hostname
    except ValueError:
        return False
    return (
        (asked.scheme, target.scheme) == ("http", "https")
        and same_host
        and (asked.path, asked.query) == (target.path, target.query)
    )


def _host_of(location: str | None) -> str:
    """Return the host of a link, the only part of it that is shown."""
    try:
        host = urlsplit(location or "").hostname
    except ValueError:
        host = None
    return host if host and host.isprintable() else "another address"
