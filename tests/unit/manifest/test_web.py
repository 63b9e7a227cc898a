# SPDX-License-Identifier: Apache-2.0
"""A web address as manifest: which answers are a CSV file, and which faults pass by themselves."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from airflow_provider_goenhance.manifest import web
from airflow_provider_goenhance.manifest.read import read_manifest
from airflow_provider_goenhance.retry_policy import is_final
from tests.unit.api.certificate import self_signed
from tests.unit.manifest.web_server import GOOD, SECRET, SILENCE, fault, response, web_server

pytestmark = pytest.mark.usefixtures("no_proxy")

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
        ("/api/v1.2", {"content_type": "text/plain"}),
        ("/export.php?id=7", {"content_type": "application/vnd.ms-excel"}),
        ("/Download.ASHX", {"content_type": "application/octet-stream"}),
    ],
)
def test_type_disposition_query_or_no_ending_mean_csv(server, target, headers):
    server.script[target] = response(GOOD, **headers)
    assert [pair.pair_id for pair in read_manifest(server.url + target).pairs] == ["p1"]


def test_the_name_of_the_attachment_comes_before_the_address(server):
    disposition = 'attachment; filename="pairs.xlsx"'
    server.script["/export.php"] = response(GOOD, content_disposition=disposition)
    assert "is not an Excel workbook that can be read" in str(fault(server.url + "/export.php"))


def test_an_object_that_was_stored_packed_is_named_by_what_is_in_it(server):
    packed = gzip.compress(GOOD.encode())
    headers = {"content_encoding": "GZIP", "content_type": "application/octet-stream"}
    server.script["/pairs.csv.gz"] = response(packed, **headers)
    assert [pair.pair_id for pair in read_manifest(server.url + "/pairs.csv.gz").pairs] == ["p1"]


@pytest.mark.parametrize("place", [0, 12, -6])
def test_an_answer_that_was_damaged_when_packed_is_read_again(server, place):
    packed = bytearray(gzip.compress(GOOD.encode()))
    packed[place + 2 if place == 0 else place] ^= 0x55
    server.script["/a.csv"] = response(bytes(packed), content_encoding="gzip")
    error = fault(server.url + "/a.csv")
    assert "cannot be read: the answer is packed with gzip, and damaged. A retry reads it again" in str(error)
    assert not is_final(error)


def test_a_redirect_to_an_address_that_cannot_be_read_is_refused(server):
    server.script["/a.csv"] = response("", 302, location="http://[::1/b.csv")
    assert "it redirects to an address that cannot be read" in str(fault(server.url + "/a.csv"))


def test_an_answer_that_unpacks_to_more_than_the_limit_is_refused(server, monkeypatch):
    monkeypatch.setattr(web, "MAX_BYTES", 1 << 20)
    server.script["/a.csv"] = response(gzip.compress(bytes(3 << 20)), content_encoding="gzip")
    assert "is larger than 1 MB: split it" in str(fault(server.url + "/a.csv"))


@pytest.mark.parametrize("packing", ["br", "Deflate", "zstd"])
def test_an_answer_that_is_packed_in_another_way_says_so(server, packing):
    server.script["/a.csv"] = response(b"\x9c\x00", content_encoding=packing)
    error = fault(server.url + "/a.csv")
    assert f"the server packs it with {packing.lower()}" in str(error)
    assert is_final(error)


def test_the_time_limit_holds_for_a_server_that_sends_byte_after_byte(no_proxy, monkeypatch):
    monkeypatch.setattr(web, "TOTAL_TIMEOUT", 0.0)
    hung_up: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(10)
                connection.recv(65_536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\ns")
                hung_up.append(connection.recv(1))

        thread = threading.Thread(target=serve)
        thread.start()
        error = fault(f"http://127.0.0.1:{listener.getsockname()[1]}/a.csv")
        thread.join()
    assert "the answer timed out" in str(error)
    assert hung_up == [b""]


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("/pairs.xlsx", " is not an Excel workbook that can be read"),
        ("/pairs.json", " is not JSON: it must be"),
        ("/a/pairs.docx?version=2", " has the unknown ending .docx; supported: "),
    ],
)
def test_a_csv_file_with_another_ending_is_refused_as_what_it_claims_to_be(server, target, said):
    server.script[target] = response(GOOD, content_type="application/octet-stream")
    error = fault(server.url + target)
    assert said in str(error)
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


def test_a_manifest_whose_columns_have_similar_names_gets_the_usual_help(server):
    server.script["/pairs.csv"] = response("source_imgs,reference_imgs\na,b\n")
    assert "Rename source_imgs -> source_img, reference_imgs -> reference_img?" in str(
        fault(f"{server.url}/pairs.csv")
    )


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
