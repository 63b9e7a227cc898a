# SPDX-License-Identifier: Apache-2.0
"""
Which picture a URL names, whatever signs it tonight.

A signed link has a new query every night, and it is the same picture: its identity leaves out what signs. Only complete
families of parameters are taken for a signature, because a lone ``token``, ``sig`` or ``Expires`` may name the picture.
In doubt two links are two pictures: then a pair is paid for once more, while the reverse delivers a wrong picture.

The families are the vendors' own: Signature Versions 2 and 4 of AWS (also MinIO, R2, B2, Spaces), Google Cloud
Storage V2 and V4, Azure shared access signatures, CloudFront, Akamai, Tencent COS, Alibaba OSS V1 and V4, Volcengine
TOS, Huawei OBS, OpenStack Swift, Google Cloud CDN, ImageKit, Cloudinary, Backblaze, SharePoint, Dropbox, Google Drive,
Discord, TikTok, Instagram, and the pair ``Expires`` and ``Signature`` that others use.

Some vendors use names that mean something else elsewhere, as Bunny does with ``token`` and ``expires``. Those sign a
URL only if its path names a picture, one value is a time and the other may be a signature. A JSON Web Token, as in
Supabase's links, is taken for the claims in it that do not differ from night to night.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from .picture_address import read_address

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
    _family("expires keyname signature", also="urlprefix"),
    _family("kssaccesskeyid expires signature"),
    _family("policy signature"),
    _family("temp_url_sig temp_url_expires", also="temp_url_prefix temp_url_ip_range"),
    _family("x-expires x-signature", also="refresh_token"),
    _family("ik-s", also="ik-t"),
    _family("__cld_token__"),
    _family("api_key signature timestamp", also="expires_at"),
    _family("authorization"),
    _family("tempauth"),
    _family("oh oe _nc_ohc", prefix="_nc_"),
    # The first names are those of the file.
    Family((frozenset({"rlkey", "st"}),), frozenset({"st"})),
    Family(
        (frozenset({"id", "export", "confirm"}), frozenset({"id", "export", "uuid"})),
        frozenset({"confirm", "uuid", "at", "authuser"}),
    ),
)


def _by_first_name(families: Iterable[Family]) -> dict[str, tuple[tuple[frozenset[str], Family], ...]]:
    """Return the complete sets with their families, by one name of the set: most queries have none of these names."""
    found: dict[str, tuple[tuple[frozenset[str], Family], ...]] = {}
    for family in families:
        for needed in family.complete:
            # The longest name is the least common one: `x-amz-signature` and not `expires`.
            name = max(sorted(needed), key=len)
            found[name] = (*found.get(name, ()), (needed, family))
    return found


_COMPLETE_SETS = _by_first_name(FAMILIES)

#: Families that sign only a URL whose path names a picture: the parameter with the time, the one with the signature,
#: and others. Bunny and KeyCDN, Cloudflare Images, Qiniu, imgix, Tencent CDN, Wangsu, nginx in two ways, Edgio, Notion.
_OF_PATH = (
    ("expires", "token", frozenset({"token_path", "token_countries", "token_countries_blocked", "limit"})),
    ("expire", "token", frozenset[str]()),
    ("exp", "sig", frozenset[str]()),
    ("e", "token", frozenset[str]()),
    ("expires", "s", frozenset[str]()),
    ("t", "sign", frozenset[str]()),
    ("wstime", "wssecret", frozenset[str]()),
    ("expires", "md5", frozenset[str]()),
    ("e", "st", frozenset[str]()),
    ("e", "h", frozenset[str]()),
    ("expirationtimestamp", "signature", frozenset[str]()),
)
_PICTURE_PATH = re.compile(r"/[^/]+\.(jpe?g|jfif|png|webp|gif|avif|hei[cf]|bmp|tiff?)", re.IGNORECASE)
_TIME = re.compile(r"\d{10}|\d{13}|[0-9a-f]{8}", re.IGNORECASE)
_SIGNATURE = re.compile(r"[\w:.~%+/=-]{16,}", re.ASCII)
#: Single parameters that do the same, by their whole value: Alibaba CDN, Cloudflare, Tencent CDN and COS, Fastly,
#: CDN77, UpYun.
_VALUES_OF_PATH = {
    "auth_key": re.compile(r"\d{10}-\w{1,64}-\w{1,32}-[0-9a-f]{32}", re.IGNORECASE | re.ASCII),
    "verify": re.compile(r"\d{10}-[\w%+/=-]{40,}", re.ASCII),
    "sign": re.compile(
        r"\d{10}-\w{1,64}-\w{1,32}-[0-9a-f]{32}|q-sign-algorithm(=|%3D).+", re.IGNORECASE | re.ASCII
    ),
    "token": re.compile(r"\d{10}_[0-9a-f]{40,64}", re.IGNORECASE | re.ASCII),
    "secure": re.compile(r"[\w%+/=-]{22,},\d{10}", re.ASCII),
    "_upt": re.compile(r"[0-9a-f]{8}\d{10}", re.IGNORECASE | re.ASCII),
}
_NAMES_OF_PATH = frozenset(signature for _, signature, _ in _OF_PATH) | _VALUES_OF_PATH.keys()
#: Akamai's token, whose parameter may have any name.
_AKAMAI = re.compile(
    r"(?=(.*~|.*%7E)?exp(=|%3D)\d{10})(.*~|.*%7E)hmac(=|%3D)[0-9a-f]{32,}", re.IGNORECASE | re.ASCII
)
_WEB_TOKEN = re.compile(r"eyJ[\w-]+\.(eyJ[\w-]+)\.[\w-]*", re.ASCII)
#: Claims that differ from one token to the next, of the same picture.
_NIGHTLY_CLAIMS = frozenset({"exp", "iat", "nbf", "jti"})


def url_identity(url: str) -> str:
    """
    Return the URL without what signs it and without its fragment; scheme and host in lower case, no default port.

    Everything else stays byte for byte, the order of the parameters and their percent-encoding included. A URL that is
    neither signed nor unusual is its own identity. The identity of an object in a private store leaves out the
    connection that reads it; in its name, ``?`` and ``#`` mean nothing.
    """
    if _PLAIN.fullmatch(url):
        return url
    if (private := read_address(url)) is not None:
        return private.identity
    location, _, _ = url.partition("#")
    address, _, query = location.partition("?")
    kept = _unsigned(query, address) if query else ""
    address = _address(address)
    return f"{address}?{kept}" if kept else address


def identity_of(url: str, key: str | None = None, version: str | None = None) -> str:
    """
    Return what a picture is recognized by: its key where it has one, else :func:`url_identity` and the version.

    :param key: a name that the author of the manifest gave the picture
    :param version: which content an object has: one that was overwritten is another picture
    """
    if key:
        # No URL begins like this, so that a key never equals one.
        return f"key:{key}"
    # A tab is in no usable address.
    return f"{url_identity(url)}\t{version}" if version else url_identity(url)


def same_but_for_query(url: str, other: str) -> bool:
    """Return whether two URLs differ in their queries only."""
    return url_identity(url).partition("?")[0] == url_identity(other).partition("?")[0]


def differing_parameters(url: str, other: str) -> list[str]:
    """Return the names of the parameters that make two URLs two pictures, in the order of the first URL."""
    ours, theirs = (list(_parameters(url_identity(one).partition("?")[2])) for one in (url, other))
    changed = [part for part in [*ours, *theirs] if (part in ours) is not (part in theirs)]
    return list(dict.fromkeys(part.partition("=")[0] for part in changed))


def is_signed(query: str) -> bool:
    """Return whether a query has the parameters of a signature."""
    parts = list(_parameters(query))
    return bool(_signing(parts) or _signing_of_path(parts) or any(map(_is_akamai_token, parts)))


def _unsigned(query: str, address: str) -> str:
    """Return the query of an address without what signs it; unchanged if nothing does."""
    parts = list(_parameters(query))
    families, names = _signing(parts), frozenset[str]()
    if _PICTURE_PATH.fullmatch(address[address.rfind("/") :]):
        names = _signing_of_path(parts)

    def signs(part: str) -> bool:
        name = _name(part)
        return name in names or _is_akamai_token(part) or any(family.holds(name) for family in families)

    return "&".join(_without_nightly_claims(part) for part in parts if not signs(part))


def _signing(parts: Iterable[str]) -> set[Family]:
    present = set(map(_name, parts))
    return {
        family
        for name in present & _COMPLETE_SETS.keys()
        for needed, family in _COMPLETE_SETS[name]
        if needed <= present
    }


def _signing_of_path(parts: Iterable[str]) -> frozenset[str]:
    """Return the names of the parameters that sign the query of a path which names a picture."""
    values = {_name(part): part.partition("=")[2] for part in parts}
    found = frozenset[str]()
    if values.keys().isdisjoint(_NAMES_OF_PATH):
        return found
    for time, signature, others in _OF_PATH:
        if _TIME.fullmatch(values.get(time, "")) and _SIGNATURE.fullmatch(values.get(signature, "")):
            found |= {time, signature} | others
    return found | {name for name, form in _VALUES_OF_PATH.items() if form.fullmatch(values.get(name, ""))}


def _is_akamai_token(part: str) -> bool:
    return "hmac" in part.lower() and _AKAMAI.fullmatch(part.partition("=")[2]) is not None


def _without_nightly_claims(part: str) -> str:
    """Return a parameter whose value is a JSON Web Token as the claims in it that name the picture."""
    name, _, value = part.partition("=")
    if not value.startswith("eyJ"):
        return part
    token = _WEB_TOKEN.fullmatch(value)
    if token is None:
        return part
    try:
        claims = json.loads(base64.urlsafe_b64decode(token[1] + "=" * (-len(token[1]) % 4)))
    except (ValueError, RecursionError):
        return part
    if not isinstance(claims, dict) or not claims.keys() & _NIGHTLY_CLAIMS:
        return part
    lasting = {key: claim for key, claim in claims.items() if key not in _NIGHTLY_CLAIMS}
    return f"{name}={json.dumps(lasting, sort_keys=True)}"


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
