# SPDX-License-Identifier: Apache-2.0
"""
Which picture a URL names, whatever signs it tonight.

A signed link has a new query every night, and it is the same picture: its identity leaves out what signs. Only complete
families of parameters are taken for a signature, because a lone ``token``, ``sig`` or ``Expires`` may name the picture.
In doubt two links are two pictures: then a pair is paid for once more, while the reverse delivers a wrong picture.

The families are the vendors' own: Signature Versions 2 and 4 of AWS (also MinIO, R2, B2, Spaces), Google Cloud
Storage V2 and V4, Azure shared access signatures, CloudFront, Akamai, Tencent COS, Alibaba OSS V1 and V4, Volcengine
TOS, Huawei OBS, Discord, and the pair ``Expires`` and ``Signature`` that others use.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
#: A URL that is its own identity: lower-case scheme and host, no port, query, user part or fragment.
_PLAIN = re.compile(r"https?://[a-z0-9.-]+/[^?#]*")


@dataclass(frozen=True, slots=True)
class Family:
    """
    The parameters of one way to sign a URL, in lower case: vendors do not agree on the case.

    :param complete: the sets of parameters of which one must be there for the query to be signed in this way
    :param names: all parameters that belong to the signature
    :param prefix: start of further parameters that belong to it
    """

    complete: tuple[frozenset[str], ...]
    names: frozenset[str] = frozenset()
    prefix: str | None = None

    def signs(self, present: set[str]) -> bool:
        """Return whether a query with these parameters is signed in this way."""
        return any(needed <= present for needed in self.complete)

    def holds(self, name: str) -> bool:
        """Return whether a parameter belongs to the signature."""
        return name in self.names or (self.prefix is not None and name.startswith(self.prefix))


def _family(*complete: str, also: str = "", prefix: str | None = None) -> Family:
    needed = tuple(frozenset(words.split()) for words in complete)
    return Family(needed, frozenset(also.split()).union(*needed), prefix)


_AZURE = (
    "sv ss srt sr st se sp si sip spr sig skoid sktid skt ske sks skv skdutid sduoid saoid suoid scid sdd ses "
    "srh srq"
)

FAMILIES = (
    # `X-Amz-` and `X-Goog-` have no parameter that names the object; the version is `versionId`, `generation`.
    _family("x-amz-signature", also="x-id", prefix="x-amz-"),
    _family("x-goog-signature", prefix="x-goog-"),
    _family(
        "x-tos-signature",
        also="x-tos-algorithm x-tos-credential x-tos-date x-tos-expires "
        "x-tos-signedheaders x-tos-security-token x-tos-policy",
    ),
    # Not all of `x-oss-`: `x-oss-process` makes another picture.
    _family(
        "x-oss-signature",
        also="x-oss-signature-version x-oss-credential x-oss-date x-oss-expires "
        "x-oss-additional-headers x-oss-security-token",
    ),
    _family("awsaccesskeyid expires signature", also="x-amz-security-token"),
    _family("googleaccessid expires signature"),
    _family("ossaccesskeyid expires signature", also="security-token"),
    _family("accesskeyid expires signature", also="x-obs-security-token"),
    _family("signature key-pair-id expires", "signature key-pair-id policy", also="hash-algorithm"),
    _family("sig sv se", "sig sv si", "sig se sp sr", also=_AZURE),
    _family(
        "q-signature",
        also="q-sign-algorithm q-ak q-sign-time q-key-time q-header-list q-url-param-list "
        "x-cos-security-token",
    ),
    _family("hdnts"),
    _family("hdnea"),
    _family("hdntl"),
    _family("__token__"),
    _family("ex is hm"),
    _family("expires signature"),
)


def url_identity(url: str) -> str:
    """
    Return the URL without what signs it and without its fragment; scheme and host in lower case, no default port.

    Everything else stays byte for byte, the order of the parameters and their percent-encoding included. A URL that is
    neither signed nor unusual is its own identity.
    """
    if _PLAIN.fullmatch(url):
        return url
    location, _, _ = url.partition("#")
    address, _, query = location.partition("?")
    address = _address(address)
    kept = unsigned(query)
    return f"{address}?{kept}" if kept else address


def identity_of(url: str, key: str | None = None) -> str:
    """
    Return what a picture is recognized by: its key where it has one, else :func:`url_identity`.

    :param key: a name that the author of the manifest gave the picture
    """
    # No URL begins like this, so that a key never equals one.
    return f"key:{key}" if key else url_identity(url)


def same_but_for_query(url: str, other: str) -> bool:
    """Return whether two URLs differ in their queries only."""
    return url_identity(url).partition("?")[0] == url_identity(other).partition("?")[0]


def differing_parameters(url: str, other: str) -> list[str]:
    """Return the names of the parameters that make two URLs two pictures, in the order of the first URL."""
    ours, theirs = (list(_parameters(url_identity(one).partition("?")[2])) for one in (url, other))
    changed = [part for part in [*ours, *theirs] if (part in ours) is not (part in theirs)]
    return list(dict.fromkeys(part.partition("=")[0] for part in changed))


def unsigned(query: str) -> str:
    """Return a query without the parameters that sign it; unchanged if there are none."""
    families = _signing(query)
    if not families:
        return query
    kept = (part for part in _parameters(query) if not any(family.holds(_name(part)) for family in families))
    return "&".join(kept)


def is_signed(query: str) -> bool:
    """Return whether a query has the parameters of a signature."""
    return bool(_signing(query))


def _signing(query: str) -> list[Family]:
    present = set(map(_name, _parameters(query)))
    return [family for family in FAMILIES if family.signs(present)]


def _parameters(query: str) -> Iterable[str]:
    return query.split("&") if query else ()


def _name(part: str) -> str:
    return part.partition("=")[0].lower()


def _address(address: str) -> str:
    scheme, mark, rest = address.partition("://")
    if not mark:
        return address
    authority, slash, path = rest.partition("/")
    scheme = scheme.lower()
    user, at, host = authority.rpartition("@")
    host = host.lower().removesuffix(_DEFAULT_PORTS.get(scheme, "\0"))
    return f"{scheme}://{user}{at}{host}{slash}{path}"
