# SPDX-License-Identifier: Apache-2.0
"""A web address that redirects: which redirects are followed, and which are not."""

from __future__ import annotations

import socket

import pytest

from airflow_provider_goenhance.manifest.read import read_manifest
from airflow_provider_goenhance.retry_policy import is_final
from tests.unit.manifest.web_server import GOOD, SECRET, fault, response


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["{url}/b", "/b", "b", "?x=1", "//{host}/b", "b#fragment"])
def test_redirects_between_local_addresses_are_followed(server, status, location):
    host = server.url.removeprefix("http://")
    server.script["/a"] = response("", status, location=location.format(url=server.url, host=host))
    server.script["/b"] = server.script["/a?x=1"] = response(GOOD)
    manifest = read_manifest(f"{server.url}/a")
    assert (len(manifest.pairs), manifest.location) == (1, f"{server.url}/a")


def test_a_redirect_to_a_name_in_latin_1_is_followed_byte_for_byte(server):
    server.script["/a"] = response("", 302, location="/s\xf8.csv?sig=%2F")
    server.script["/s%F8.csv?sig=%2F"] = response(GOOD)
    assert len(read_manifest(f"{server.url}/a").pairs) == 1


def test_a_loop_of_redirects_is_named_and_ends(server):
    server.script["/a"] = response("", 302, location="/b")
    server.script["/b"] = response("", 302, location="/a")
    error = fault(f"{server.url}/a")
    assert "it redirects more than 10 times, in a loop" in str(error)
    assert len(server.targets) == 11
    assert not is_final(error)


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "ftp://a.example/m.csv", "http:///x", "http://[::1/", ""]
)
def test_a_redirect_to_no_web_address_is_final(server, location):
    server.script["/a"] = response("", 302, location=location)
    assert is_final(fault(f"{server.url}/a"))


@pytest.fixture
def internet(server, monkeypatch):
    """Let the server answer for every host, as a proxy, and resolve names of our own only."""
    resolve = socket.getaddrinfo
    made_up = {
        "resolves-inwards.example.com": ["10.0.0.7"],
        "both-ways.example.com": ["93.184.215.14", "10.0.0.7"],
        "public.example.com": ["93.184.215.14"],
    }

    def getaddrinfo(host, port, *args, **kwargs):
        addresses = made_up.get(host, [host])
        return [
            entry
            for address in addresses
            for entry in resolve(address, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setenv("http_proxy", server.url)


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1/status",
        "http://127.1/status",
        "http://2130706433/status",
        "http://localhost:8793/status",
        "http://10.0.0.7/status",
        "http://172.16.3.4/status",
        "http://192.168.1.1/status",
        "http://100.64.0.1/status",
        "http://169.254.169.254/latest/meta-data/",
        "http://0.0.0.0/status",
        "http://[::1]/status",
        "http://[fe80::1]/status",
        "http://[fd00::1]/status",
        "http://[::ffff:10.0.0.7]/status",
        "http://[64:ff9b::a00:7]/status",
        "http://[2002:a00:7::]/status",
        "http://metadata.google.internal/",
        "http://fileserver/status",
        "http://resolves-inwards.example.com/status",
        "http://both-ways.example.com/status",
    ],
)
@pytest.mark.usefixtures("internet")
def test_a_redirect_from_a_public_to_an_internal_address_is_not_followed(server, target):
    server.script["http://public.example.com/m.csv"] = response(
        "", 302, location="http://next.example.com/m.csv"
    )
    server.script["http://next.example.com/m.csv"] = response("", 302, location=target)
    server.script[target] = response(f"{SECRET}\n")
    error = fault("http://public.example.com/m.csv")
    assert "it redirects from a public to an internal address, which is not followed" in str(error)
    assert server.targets == ["http://public.example.com/m.csv", "http://next.example.com/m.csv"]


@pytest.mark.usefixtures("internet")
def test_a_name_that_resolves_inwards_only_when_the_connection_is_made_gets_no_request(server, monkeypatch):
    resolve = socket.getaddrinfo
    answers = ["93.184.215.14"]  # and from the second time on 127.0.0.1

    def getaddrinfo(host, port, *args, **kwargs):
        if host == "rebinds.example.com":
            host = answers.pop() if answers else "127.0.0.1"
        return resolve(host, port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setenv("no_proxy", "rebinds.example.com")
    target = server.url.replace("127.0.0.1", "rebinds.example.com") + "/status"
    server.script["http://public.example.com/m.csv"] = response("", 302, location=target)
    server.script["/status"] = response(GOOD)
    assert "it redirects from a public to an internal address" in str(
        fault("http://public.example.com/m.csv")
    )
    assert server.targets == ["http://public.example.com/m.csv"]


@pytest.mark.usefixtures("internet")
def test_a_redirect_from_one_public_address_to_another_is_followed(server):
    server.script["http://docs.example.com/export"] = response("", 307, location="http://files.example.com/x")
    server.script["http://files.example.com/x"] = response(GOOD)
    assert len(read_manifest("http://docs.example.com/export").pairs) == 1


def test_an_internal_address_that_a_user_entered_may_redirect_to_another(server):
    server.script["/a"] = response("", 302, location=server.url.replace("127.0.0.1", "localhost") + "/b")
    server.script["/b"] = response(GOOD)
    assert len(read_manifest(f"{server.url}/a").pairs) == 1
