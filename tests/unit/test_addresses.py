# SPDX-License-Identifier: Apache-2.0
"""Which redirects are followed."""

from __future__ import annotations

import pytest

from airflow_provider_goenhance.addresses import InternalAddressError, Trail, is_internal

PUBLIC = "https://93.184.215.14/a"
INTERNAL = "https://10.0.0.7/a"


@pytest.mark.parametrize(
    ("origin", "target", "reason"),
    [
        (PUBLIC, "https://1.1.1.1/b", ""),
        (INTERNAL, "https://1.1.1.1/b", ""),
        (INTERNAL, "https://127.0.0.1/b", ""),
        (PUBLIC, "https://93.184.215.14/b", ""),
        ("http://93.184.215.14/", PUBLIC, ""),
        (PUBLIC, INTERNAL, "from a public to an internal address"),
        (PUBLIC, "https://[::1]/", "from a public to an internal address"),
        (PUBLIC, "https://1.1.1.1@127.0.0.1/", "from a public to an internal address"),
        (PUBLIC, "http://1.1.1.1/b", "from https to http"),
        (INTERNAL, "http://10.0.0.7/b", "from https to http"),
        (PUBLIC, "ftp://1.1.1.1/b", "to an address that is not http(s)"),
        (PUBLIC, "file:///etc/passwd", "to an address that is not http(s)"),
        (PUBLIC, "https:///b", "to an address that is not http(s)"),
        (PUBLIC, "https://[::1/b", "to an address that cannot be read"),
    ],
)
def test_a_redirect_is_refused_for_a_reason(origin: str, target: str, reason: str) -> None:
    assert Trail().refused_hop(origin, target) == reason


def test_a_host_that_was_reached_at_a_public_address_is_public_whatever_its_name_resolves_to() -> None:
    trail = Trail()
    trail.connected("93.184.215.14")
    assert trail.refused_hop(INTERNAL, "https://127.0.0.1/b") == "from a public to an internal address"


def test_after_a_public_address_no_connection_to_an_internal_one_is_accepted() -> None:
    trail = Trail()
    trail.connected("10.0.0.7")
    trail.connected("10.0.0.8")
    trail.connected("93.184.215.14")
    with pytest.raises(InternalAddressError):
        trail.connected("10.0.0.7")


def test_a_download_that_came_from_a_public_address_by_a_proxy_stays_at_public_ones() -> None:
    trail = Trail()
    assert trail.refused_hop(PUBLIC, "https://1.1.1.1/b") == ""
    with pytest.raises(InternalAddressError):
        trail.connected("::ffff:127.0.0.1")


@pytest.mark.parametrize(
    ("host", "internal"),
    [
        ("8.8.8.8", False),
        ("2606:4700::1111", False),
        ("64:ff9b::808:808", False),
        ("127.0.0.1", True),
        ("0x7f000001", True),
        ("0177.0.0.1", True),
        ("192.168.0.1", True),
        ("169.254.169.254", True),
        ("100.64.0.1", True),
        ("224.0.0.1", True),
        ("255.255.255.255", True),
        ("0.0.0.0", True),
        ("::", True),
        ("::ffff:127.0.0.1", True),
        ("2002:7f00:1::", True),
        ("fe80::1", True),
        ("fd12::1", True),
        ("ff02::1", True),
        ("LOCALHOST.", True),
        ("app.localhost", True),
        ("metadata.google.internal", True),
    ],
)
def test_an_address_is_public_or_internal(host: str, internal: bool) -> None:
    assert is_internal(host) is internal
