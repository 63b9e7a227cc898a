# SPDX-License-Identifier: Apache-2.0
"""What may be shown of a text that came over the wire: no token, no signed link, nothing that breaks a log line."""

from __future__ import annotations

import re

#: Shorter tokens are not cut out of answers: they would take innocent text with them.
SHORTEST_TOKEN = 6
#: The longest piece of the vendor's words that a message or a row takes over, characters.
LONGEST_EXCERPT = 300

# JSON may write the slashes of a link escaped, and a page may show it cut: everything after the `?` goes.
_LINK = re.compile(r"([a-z][a-z0-9+.-]{0,15}:(?:\\?/){2}[^\s?#\"'<>]*)[?#][^\s\"'<>]*", re.IGNORECASE)
_USER = re.compile(r"([a-z][a-z0-9+.-]{0,15}:(?:\\?/){2})[^\s/?#\"'<>@]+@", re.IGNORECASE)


def without_query(text: str) -> str:
    """
    Return the text with the query, and the user and password, of every URL in it removed.

    A signed link's query is a secret, and so is what stands before the ``@`` of a proxy's address.
    """
    return _USER.sub(r"\1", _LINK.sub(r"\1?...", text))


def without_token(text: str, token: str) -> str:
    """Return the text with the token cut out: a debugging page may show the request back to us."""
    return text.replace(token, "***") if len(token) >= SHORTEST_TOKEN else text


def excerpt(text: str, longest: int = LONGEST_EXCERPT) -> str:
    """Return the text as one printable line without secrets, cut to so many characters."""
    # Cut before as well: a hostile text must not keep the event loop busy.
    shown = without_query(text[: 4 * longest])
    flat = " ".join("".join(char if char.isprintable() else " " for char in shown).split())
    return flat if len(flat) <= longest else flat[: longest - 3] + "..."
