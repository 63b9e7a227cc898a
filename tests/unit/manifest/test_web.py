# SPDX-License-Identifier: Apache-2.0
"""A web address as manifest: which answers are a CSV file, which faults pass by themselves, which redirects count."""

from __future__ import annotations

import gzip
import pickle
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from airflow_provider_goenhance.exceptions import ManifestError, ManifestUnavailableError
from airflow_provider_goenhance.manifest import web
from airflow_provider_goenhance.manifest.read import read_manifest
from airflow_provider_goenhance.retry_policy import is_final
from tests.unit.api.certificate import self_signed
from tests.unit.manifest.web_server import SILENCE, WebServer, response, web_server

GOOD = "source_img,reference_img,pair_id\nhttps://a.example/1.jpg,https://a.example/2.jpg,p1\n"
SECRET = "s3cret"  # in the page that no reader of a message may see, and in the query of the address


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[WebServer]:
    with web_server() as running:
        yield running


def fault(location: str) -> ManifestError:
    with pytest.raises(ManifestError) as caught:
        read_manifest(location)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert isinstance(caught.value, ManifestUnavailableError) is not is_final(caught.value)
    return caught.value


# -- what is a CSV file --


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        ("/spreadsheets/d/1-Ab_c/export?format=csv&gid=0", {"content_type": "text/csv"}),
        ("/spreadsheets/d/1-Ab_c/export?format=csv&gid=0", {"content_type": "application/octet-stream"}),
        ("/spreadsheets/d/e/2PACX/pub?output=csv", {"content_type": "text/csv; charset=utf-8"}),
        ("/spreadsheets/d/1/gviz/tq?tqx=out:csv", {"content_type": "text/csv"}),
        ("/export", {"content_type": "text/plain"}),
        ("/export", {}),
        ("/", {}),
        ("/export/", {}),
        ("/export.php", {"content_type": "text/csv"}),
        ("/export.aspx", {"content_type": "application/csv"}),
        ("/download.do", {"content_disposition": 'attachment; filename="pairs.csv"'}),
        ("/download.do", {"content_disposition": "attachment; filename*=UTF-8''p%C3%A4irs.CSV"}),
        ("/download.ashx?file=tonight/pairs.csv", {"content_type": "application/octet-stream"}),
        ("/pairs.csv", {"content_type": "application/vnd.ms-excel"}),
        ("/PAIRS.CSV?sig=s3cret", {"content_type": "text/html"}),
        ("/v1.2/pairs", {"content_type": "binary/octet-stream"}),
    ],
)
def test_type_disposition_query_or_no_ending_mean_csv(server, target, headers):
    server.script[target] = response(GOOD, **headers)
    assert [pair.pair_id for pair in read_manifest(server.url + target).pairs] == ["p1"]


@pytest.mark.parametrize("target", ["/pairs.xlsx", "/pairs.json", "/a/pairs.txt?version=2"])
def test_another_ending_without_a_word_of_csv_is_refused(server, target):
    server.script[target] = response(GOOD, content_type="application/octet-stream")
    error = fault(server.url + target)
    assert " has the unknown ending ." in str(error)
    assert is_final(error)


@pytest.mark.parametrize(
    ("page", "kind"),
    [
        (f"<!DOCTYPE html><title>Sign in</title> {SECRET}", "a web page"),
        (f"\n\n  <html lang=en>{SECRET}", "a web page"),
        (f"\ufeff<?xml version='1.0'?><Error>{SECRET}</Error>", "a web page"),
        (f'{{"error": "{SECRET}"}}', "JSON"),
        (f'[{{"source_img": "{SECRET}"}}]', "JSON"),
    ],
)
@pytest.mark.parametrize("target", ["/export?format=csv", "/pairs.csv"])
@pytest.mark.parametrize("content_type", ["text/html; charset=utf-8", "text/csv"])
def test_a_web_page_instead_of_a_csv_file_is_refused_as_one(server, page, kind, target, content_type):
    server.script[target] = response(page, content_type=content_type)
    error = fault(server.url + target)
    assert f": the server sent {kind} ({content_type.partition(';')[0]}) instead of a CSV file" in str(error)
    assert is_final(error)


@pytest.mark.parametrize(
    "page",
    [
        f"{SECRET}\n",
        f"root:x:0:0:{SECRET}\n{SECRET}",
        f"{SECRET},name\n1,2\n",
        f'"{SECRET}\n',
        f"\n{SECRET}\n",
        f"{SECRET},b\n1,\xe9".encode("latin-1"),
        f"{SECRET},b\n1,\0".encode(),
        f"{SECRET}|b|c\n",
        f"http://{SECRET}.example/\n",
        SECRET * 20_000,
    ],
)
def test_a_message_quotes_nothing_of_an_answer_that_is_no_manifest(server, page):
    server.script["/status"] = response(page, content_type="text/plain")
    assert str(fault(f"{server.url}/status")).startswith(f"manifest {server.url}/status")


def test_a_manifest_whose_columns_have_other_names_gets_the_usual_help(server):
    server.script["/pairs.csv"] = response("source,target\na,b\n")
    assert "Rename source -> source_img, target -> reference_img?" in str(fault(f"{server.url}/pairs.csv"))


def test_a_packed_answer_is_unpacked_where_it_is_packed(server):
    server.script["/packed"] = response(gzip.compress(GOOD.encode()), content_encoding="gzip")
    server.script["/plain"] = response(GOOD, content_encoding="gzip")
    for target in server.script:
        assert len(read_manifest(server.url + target).pairs) == 1


# -- faults --

FINAL = [400, 401, 403, 404, 405, 410, 451]
PASSING = [202, 204, 408, 425, 429, 500, 502, 503, 504, 599]


@pytest.mark.parametrize("status", [*FINAL, *PASSING])
def test_a_status_is_named_and_says_whether_a_retry_can_help(server, status):
    server.script[f"/m.csv?sig={SECRET}"] = response("" if status == 204 else f"<p>{SECRET}", status)
    error = fault(f"{server.url}/m.csv?sig={SECRET}")
    assert str(error).startswith(f"manifest {server.url}/m.csv cannot be read: HTTP status {status}, ")
    assert is_final(error) is (status in FINAL)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", "the connection was cut"),
        (response(GOOD)[:-10], "the connection was cut"),
        (response(GOOD, content_length="100000"), "the connection was cut"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nsource_img,", "the connection was cut"),
        (response(gzip.compress(GOOD.encode())[:-9], content_encoding="gzip"), "the connection was cut"),
        (b"SSH-2.0-OpenSSH_9.6 s3cret\r\n", "the server's answer is not HTTP"),
    ],
)
def test_a_connection_that_breaks_is_named_and_retried(server, answer, said):
    server.script["/m.csv"] = answer
    error = fault(f"{server.url}/m.csv")
    assert f"cannot be read: {said}" in str(error)
    assert str(error).endswith(". A retry reads it again.")
    assert not is_final(error)


@pytest.mark.parametrize("limit", ["SILENCE_TIMEOUT", "TOTAL_TIMEOUT"])
def test_an_answer_that_does_not_come_is_named_and_retried(server, monkeypatch, limit):
    server.script["/m.csv"] = SILENCE if limit == "SILENCE_TIMEOUT" else response(GOOD)
    monkeypatch.setattr(web, limit, 0.05 if limit == "SILENCE_TIMEOUT" else -1.0)
    error = fault(f"{server.url}/m.csv")
    assert "cannot be read: the answer timed out" in str(error)
    assert not is_final(error)


def test_a_refused_connection_and_an_unknown_host_are_named_and_retried(monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        error = fault(f"http://127.0.0.1:{closed.getsockname()[1]}/m.csv?sig={SECRET}")
    assert "cannot be read: the connection was refused" in str(error)
    assert not is_final(error)

    error = fault(f"http://nowhere.invalid/m.csv?sig={SECRET}")
    assert "cannot be read: the host is unknown" in str(error)
    assert not is_final(error)


@contextmanager
def one_connection(answer: Callable[[socket.socket], object]) -> Iterator[str]:
    """Pass the first connection to ``answer``, and yield the https address."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            answer(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}/m.csv"
        thread.join()


def test_a_server_without_tls_is_named_and_retried():
    with one_connection(
        lambda connection: (connection.recv(9), connection.sendall(b"HTTP/1.1 400 x\r\n"))
    ) as url:
        error = fault(url)
    assert "cannot be read: TLS: the handshake failed" in str(error)
    assert not is_final(error)


def test_a_certificate_that_is_not_trusted_is_named_and_retried(tmp_path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*self_signed(tmp_path))

    def shake_hands(connection: socket.socket) -> None:
        with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
            context.wrap_socket(connection, server_side=True)

    with one_connection(shake_hands) as url:
        error = fault(url)
    assert "cannot be read: TLS: the server's certificate is not accepted" in str(error)
    assert not is_final(error)


@pytest.mark.parametrize(
    "location", ["http://", "http:///m.csv", "http://a b/m.csv", "http://h:port/m.csv", "http://h:/"]
)
def test_an_address_that_cannot_be_used_is_an_error_of_the_manifest(location):
    assert "cannot be read" in str(fault(location))


# -- the address --


def test_the_address_is_requested_as_it_was_entered(server):
    target = "/a%2Fb%2fc,d;e~%7E//x'(1)!*.csv?sig=a%2Bb+c%3D&x=[1]|2"
    server.script[target] = response(GOOD)
    assert len(read_manifest(f"{server.url}{target}#fragment").pairs) == 1
    assert server.targets == [target]


def test_only_what_cannot_be_sent_is_quoted(server):
    server.script["/gr%C3%B6%C3%9Fe%20%2F.csv"] = response(GOOD)
    assert len(read_manifest(f"{server.url}/größe %2F.csv").pairs) == 1


def test_a_user_in_the_address_is_sent_as_a_login_and_shown_to_no_one_else(server):
    with web_server() as other:
        server.script["/m.csv"] = response("", 302, location=f"{other.url}/m.csv")
        other.script["/m.csv"] = response(GOOD)
        manifest = read_manifest(server.url.replace("//", f"//me:{SECRET}@") + "/m.csv")
    assert SECRET not in manifest.location
    assert "Authorization: Basic bWU6czNjcmV0" in server.heads[0]
    assert "Authorization" not in other.heads[0]


# -- redirects --


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
