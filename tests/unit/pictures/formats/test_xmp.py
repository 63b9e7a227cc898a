# SPDX-License-Identifier: Apache-2.0
"""The XMP packet: what is added, what stays."""

from __future__ import annotations

from xml.dom import minidom

import pytest

from airflow_provider_goenhance.pictures.formats.xmp import (
    DIGITAL_SOURCE_TYPE,
    IPTC_EXT,
    names_remote_claim,
    read_properties,
    with_properties,
)
from tests.unit.pictures.pictures import PHOTO

WANTED = {"DigitalSourceType": DIGITAL_SOURCE_TYPE, "AISystemUsed": "GoEnhance"}


def test_the_value_is_the_whole_address_of_the_registered_term() -> None:
    assert DIGITAL_SOURCE_TYPE == (
        "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
    )
    assert IPTC_EXT == "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"


def test_a_picture_without_a_packet_gets_one() -> None:
    packet = with_properties(None, WANTED)
    assert read_properties(packet) == WANTED
    assert packet.startswith(b'<?xpacket begin="\xef\xbb\xbf"')
    assert packet.endswith(b'<?xpacket end="w"?>')


def test_every_byte_of_a_packet_that_was_there_stays() -> None:
    packet = with_properties(PHOTO, WANTED)
    assert read_properties(packet) == WANTED
    at = packet.index(b"<rdf:Description")
    end = packet.index(b"</rdf:Description>") + len(b"</rdf:Description>")
    assert packet[:at] + packet[end:] == PHOTO


def test_the_addition_speaks_of_the_same_resource() -> None:
    assert b'rdf:about="uuid:1"' in with_properties(PHOTO, WANTED)


OTHER_SOURCE = b"http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"


@pytest.mark.parametrize(
    "claim",
    [
        b'<r:Description r:about="" xmlns:e="%s" e:DigitalSourceType="%s" e:Event="Fair"/>',
        b'<r:Description r:about="" xmlns:e="%s"><e:DigitalSourceType>%s</e:DigitalSourceType>'
        b"<e:Event>Fair</e:Event></r:Description>",
        b'<r:Description r:about="" xmlns:e="%s"><e:DigitalSourceType r:resource="%s"/>'
        b"<e:Event>Fair</e:Event></r:Description>",
    ],
)
def test_another_source_type_is_replaced_and_its_neighbours_stay(claim: bytes) -> None:
    before = PHOTO.replace(b"</r:RDF>", claim % (IPTC_EXT.encode(), OTHER_SOURCE) + b"</r:RDF>")
    assert read_properties(before) == {"DigitalSourceType": OTHER_SOURCE.decode(), "Event": "Fair"}
    packet = with_properties(before, WANTED)
    assert read_properties(packet) == {**WANTED, "Event": "Fair"}
    assert OTHER_SOURCE not in packet
    assert b"<!-- kept -->" in packet
    assert b"Ada &lt;L&gt;" in packet
    assert b'photoshop:Credit="A &amp; B' in packet
    assert packet.count(b"DigitalSourceType>") == 2


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"not xml",
        b"<x:xmpmeta",
        b"<other/>",
        b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><x>&b;</x>',
        "<!DOCTYPE x []><x/>".encode("utf-16"),
        b"\xff\xfe\xfd",
    ],
)
def test_a_packet_that_cannot_be_read_is_replaced(packet: bytes) -> None:
    assert read_properties(packet) == {}
    fresh = with_properties(packet, WANTED)
    assert read_properties(fresh) == WANTED
    assert b"DOCTYPE" not in fresh


@pytest.mark.parametrize(
    "packet",
    [
        b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/>',
        b'<RDF xmlns="http://www.w3.org/1999/02/22-rdf-syntax-ns#"></RDF>',
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"></rdf:RDF ></x:xmpmeta>',
        PHOTO.decode().encode("utf-16"),
    ],
)
def test_unusual_but_lawful_packets_take_the_mark(packet: bytes) -> None:
    marked = with_properties(packet, WANTED)
    assert read_properties(marked).items() >= WANTED.items()
    minidom.parseString(marked)


def test_names_of_systems_are_escaped() -> None:
    packet = with_properties(PHOTO, {"AISystemUsed": 'a <b> & "c"'})
    assert read_properties(packet) == {"AISystemUsed": 'a <b> & "c"'}


@pytest.mark.parametrize(
    "claim",
    [
        b'<r:Description r:about="" xmlns:d="http://purl.org/dc/terms/" d:provenance="https://x.org/m.c2pa"/>',
        b'<r:Description r:about="" xmlns:d="http://purl.org/dc/terms/"><d:provenance>x</d:provenance>'
        b"</r:Description>",
    ],
)
def test_a_manifest_kept_elsewhere_is_noticed(claim: bytes) -> None:
    assert not names_remote_claim(PHOTO)
    assert names_remote_claim(PHOTO.replace(b"</r:RDF>", claim + b"</r:RDF>"))
