# SPDX-License-Identifier: Apache-2.0
"""Each finished picture says what it is."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from include.sandbox.engine import mark
from tests.unit.sandbox.engine.pictures import encoded, opened

DESCRIPTION = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description"
SOURCE_TYPE = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
TOOL = "{http://ns.adobe.com/xap/1.0/}CreatorTool"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_the_result_carries_the_ai_composite_mark_and_says_sandbox(engine, collins, hopper, kind):
    swap = engine.swap(collins, encoded(opened(hopper).convert("RGB"), kind))
    result = opened(swap.data)
    packet = result.info.get("xmp") or result.info["XML:com.adobe.xmp"]
    text = packet.decode() if isinstance(packet, bytes) else packet
    described = next(ET.fromstring(text[text.index("<x:") : text.rindex("<?xpacket")]).iter(DESCRIPTION))
    assert described.get(SOURCE_TYPE) == (
        "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
    )
    assert "sandbox" in described.get(TOOL)
    assert "sandbox" in result.getexif()[0x0131]
    if kind == "PNG":
        assert "sandbox" in result.info["Software"]


def test_the_packet_is_well_formed():
    text = mark.xmp().decode()
    assert ET.fromstring(text[text.index("<x:") : text.rindex("<?xpacket")]).tag.endswith("xmpmeta")
