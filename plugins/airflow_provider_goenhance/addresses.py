# SPDX-License-Identifier: Apache-2.0
"""
Decide which redirects are followed, for everything that this package fetches.

An address that a user has entered may be internal. A redirect may not lead from a public address to an internal one:
a stranger's server could then make this one fetch pages that only it can reach.
"""

from __future__ import annotations

import ipaddress
import socket
from contextvars import ContextVar
from urllib.parse import urlsplit

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
#: Names that are internal although the local resolver may not know them, e.g. behind a proxy.
_INTERNAL_NAMES = ("localhost", "local", "internal", "intranet", "lan", "corp", "home.arpa")

_INWARDS = "from a public to an internal address"


class InternalAddressError(Exception):
    """A connection was made to an internal address, although only a public one is allowed."""


class Trail:
    """
    The way of one download through its redirects: once it has been at a public address, it stays at public ones.

    Whoever owns a name decides what it resolves to, and may answer differently each time it is asked. What counts is
    therefore also to which addresses the connections were made.
    """

    def __init__(self) -> None:
        self.public = False

    def connected(self, address: str) -> None:
        """
        Note the address at the other end of a connection. Call it before anything is sent, but not for a proxy.

        :raises InternalAddressError: if the address is internal, and the download came from a public one
        """
        if not _is_internal_address(address):
            self.public = True
        elif self.public:
            raise InternalAddressError(_INWARDS)

    def refused_hop(self, origin: str, target: str) -> str:
        """
        Return why a redirect is not followed. Resolves both host names, so it may block.

        :param origin: absolute URL that answered with the redirect
        :param target: absolute URL that it names
        :returns: a clause such as ``from a public to an internal address``; empty if the redirect may be followed
        """
        try:
            before, after = urlsplit(origin), urlsplit(target)
            before_host, after_host = before.hostname or "", after.hostname or ""
        except ValueError:
            return "to an address that cannot be read"
        if after.scheme not in {"http", "https"} or not after_host:
            return "to an address that is not http(s)"
        if before.scheme == "https" and after.scheme == "http":
            return "from https to http"
        self.public = self.public or not is_internal(before_host)
        if self.public and before_host != after_host and is_internal(after_host):
            return _INWARDS
        return ""


#: The trail of the download that runs in this context.
current_trail: ContextVar[Trail | None] = ContextVar("current_trail", default=None)


def is_internal(host: str) -> bool:
    """
    Return whether a host is, or resolves to, a private, loopback, link-local or otherwise not public address.

    :param host: a name or an IP address, without port and brackets. A name that cannot be resolved is internal if it
        has no dot or a suffix such as ``.internal``
    """
    name = host.rstrip(".").lower()
    if name.endswith(tuple(f".{suffix}" for suffix in _INTERNAL_NAMES)) or name in _INTERNAL_NAMES:
        return True
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, ValueError):
        return "." not in name and ":" not in name
    return any(_is_internal_address(str(entry[4][0])) for entry in found)


def _is_internal_address(text: str) -> bool:
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        if inner is not None:
            address = inner
    return not address.is_global or address.is_multicast
