# SPDX-License-Identifier: Apache-2.0
"""
The XMP packet that says how a picture was made.

Own code, and small: the permissive libraries for XMP either need a system library (Exempi) or know one format
only. The DOM of the standard library keeps prefixes, comments and processing instructions, so that what others
wrote into a packet stays as they wrote it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from xml.dom import minidom
from xml.parsers.expat import ExpatError
from xml.sax.saxutils import escape, quoteattr

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

IPTC_EXT = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
DCTERMS = "http://purl.org/dc/terms/"

# The IPTC term for an existing photograph that a trained model has altered.
# Vocabulary: http://cv.iptc.org/newscodes/digitalsourcetype/
DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"

_PREFIX = "Iptc4xmpExt"
_END_OF_RDF = re.compile(rb"</([A-Za-z_][\w.-]*:)?RDF\s*>")
_EMPTY_PACKET = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="' + RDF + '"></rdf:RDF></x:xmpmeta>'
    '<?xpacket end="w"?>'
)


def read_properties(packet: bytes) -> dict[str, str]:
    """Return the plain IPTC Extension properties of a packet, by their local names; empty if it cannot be read."""
    document = _parse(packet)
    if document is None:
        return {}
    found: dict[str, str] = {}
    for description in _descriptions(document):
        for attribute in description.attributes.values():
            if attribute.namespaceURI == IPTC_EXT:
                found[attribute.localName] = attribute.value
        for element in _children(description):
            if element.namespaceURI == IPTC_EXT:
                found[element.localName] = _text_of(element)
    return found


def names_remote_claim(packet: bytes) -> bool:
    """Return whether the packet names a C2PA manifest kept elsewhere (``dcterms:provenance``)."""
    document = _parse(packet)
    return document is not None and any(
        description.hasAttributeNS(DCTERMS, "provenance")
        or any(e.namespaceURI == DCTERMS and e.localName == "provenance" for e in _children(description))
        for description in _descriptions(document)
    )


@lru_cache(maxsize=16)
def _new_packet(properties: tuple[tuple[str, str], ...]) -> bytes:
    """Return the packet of a picture that had none: the same for all pictures of a task."""
    return _with_properties(None, dict(properties))


def with_properties(packet: bytes | None, properties: Mapping[str, str]) -> bytes:
    """
    Return a packet that holds these IPTC Extension properties beside all else that it held.

    Where the packet says nothing of these properties yet, its own bytes stay and the new ones are put between
    them; only a packet with other values is rewritten from its DOM.

    :param packet: the packet to extend; one that is missing or no longer readable is replaced by a new one
    :param properties: local name -> text
    """
    return _with_properties(packet, properties) if packet else _new_packet(tuple(properties.items()))


def _with_properties(packet: bytes | None, properties: Mapping[str, str]) -> bytes:
    document = _parse(packet) if packet else None
    if packet is None or document is None or not document.getElementsByTagNameNS(RDF, "RDF"):
        packet = _EMPTY_PACKET.encode()
        document = minidom.parseString(packet)  # noqa: S318 - our own text
    present = list(_descriptions(document))
    about = present[0].getAttributeNS(RDF, "about") if present else ""
    addition = _description(about, properties)
    if properties.keys().isdisjoint(read_properties(packet)):
        head, closing, tail = _split_before_end(packet)
        extended = head + addition.encode() + closing + tail
        if closing and properties.items() <= read_properties(extended).items():
            return extended
    return _rewrite(document, properties, addition)


def _split_before_end(packet: bytes) -> tuple[bytes, bytes, bytes]:
    """Cut the packet in front of the closing tag of rdf:RDF; an empty middle if there is none to be seen."""
    ends = list(_END_OF_RDF.finditer(packet))
    if not ends:
        return packet, b"", b""
    return packet[: ends[-1].start()], ends[-1].group(), packet[ends[-1].end() :]


def _rewrite(document: Any, properties: Mapping[str, str], addition: str) -> bytes:
    rdf = document.getElementsByTagNameNS(RDF, "RDF")[0]
    for description in _descriptions(document):
        _drop(description, properties)
    new = minidom.parseString(addition)  # noqa: S318 - our own text
    rdf.appendChild(document.importNode(new.documentElement, deep=True))
    # Node by node, because a packet has no XML declaration.
    return "".join(node.toxml() for node in document.childNodes).encode()


def _description(about: str, properties: Mapping[str, str]) -> str:
    """Write a description that declares its own namespaces, and so fits into any packet."""
    lines = "".join(
        f"<{_PREFIX}:{name}>{escape(value)}</{_PREFIX}:{name}>" for name, value in properties.items()
    )
    return (
        f'<rdf:Description xmlns:rdf="{RDF}" rdf:about={quoteattr(about)} xmlns:{_PREFIX}="{IPTC_EXT}">'
        f"{lines}</rdf:Description>"
    )


def _parse(packet: bytes) -> Any | None:
    """Read a packet; nothing if it is not well-formed, or has a DTD, which no XMP packet has."""
    text = packet.rstrip(b"\x00 \t\r\n")
    if b"<!DOCTYPE" in text or b"<\x00!\x00D\x00" in text or b"\x00<\x00!\x00D" in text:
        return None
    try:
        return minidom.parseString(text)  # noqa: S318 - without a DTD there are no entities to expand
    except (ExpatError, ValueError):
        return None


def _children(node: Any) -> Iterator[Any]:
    return (child for child in list(node.childNodes) if child.nodeType == child.ELEMENT_NODE)


def _descriptions(document: Any) -> Iterator[Any]:
    """Return the top-level descriptions; nested ones belong to structures of other properties."""
    for rdf in document.getElementsByTagNameNS(RDF, "RDF")[:1]:
        for child in _children(rdf):
            if child.namespaceURI == RDF and child.localName == "Description":
                yield child


def _text_of(element: Any) -> str:
    resource: str = element.getAttributeNS(RDF, "resource")
    return resource or "".join(n.data for n in element.childNodes if n.nodeType in {3, 4}).strip()


def _drop(description: Any, properties: Mapping[str, str]) -> None:
    """Remove properties that are about to be rewritten: two values of one property make a packet invalid."""
    for name in properties:
        if description.hasAttributeNS(IPTC_EXT, name):
            description.removeAttributeNS(IPTC_EXT, name)
    for element in _children(description):
        if element.namespaceURI == IPTC_EXT and element.localName in properties:
            description.removeChild(element)
