# SPDX-License-Identifier: Apache-2.0
"""Pictures, thumbnails and inputs of a row: under its permission, within limits, and only pictures."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from airflow_provider_goenhance.pictures.thumbnail import THUMBNAIL
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.web import pictures_of
from tests.unit.web.serving import row, token, write

ROW = {"dag_id": "mine", "swap_id": "id-1"}
HTML = b"<html><script>alert(1)</script></html>"


def jpeg(size: int = 600) -> bytes:
    out = io.BytesIO()
    Image.linear_gradient("L").resize((size, size)).convert("RGB").save(out, "JPEG")
    return out.getvalue()


class Host(ThreadingHTTPServer):
    """A host of pictures, which notes what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.files = {
            "/face.jpg": jpeg(),
            "/page.html": HTML,
            "/face.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        }
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                host.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
                data = host.files.get(self.path.partition("?")[0])
                self.send_response(200 if data is not None else 404)
                self.send_header("Content-Length", str(len(data or b"")))
                self.end_headers()
                self.wfile.write(data or b"")

            def log_message(self, *args: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@pytest.fixture
def host() -> Iterator[Host]:
    server = Host()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def nothing_remembered() -> None:
    pictures_of.forget()


def get(server: TestClient, path: str, **more: str):  # type: ignore[no-untyped-def]
    headers = {**token("viewer"), **({"If-None-Match": more.pop("tag")} if "tag" in more else {})}
    return server.get(f"/goenhance/{path}", params={**ROW, **more}, headers=headers)


def test_an_input_is_fetched_by_the_server_without_the_user(server: TestClient, host: Host) -> None:
    write(row(source_img=f"{host.url}/face.jpg?sig=1"))

    answer = get(server, "input", of="source")

    assert (answer.status_code, answer.content) == (200, host.files["/face.jpg"])
    assert answer.headers["Content-Type"] == "image/jpeg"
    ((path, headers),) = host.asked
    assert path == "/face.jpg?sig=1"
    assert not {"cookie", "authorization", "referer"} & headers.keys()


def test_a_thumbnail_is_small_and_made_once(server: TestClient, host: Host) -> None:
    write(row(source_img=f"{host.url}/face.jpg"))

    first = get(server, "thumbnail", of="source")
    second = get(server, "thumbnail", of="source")

    assert max(Image.open(io.BytesIO(first.content)).size) <= THUMBNAIL
    assert first.content == second.content
    assert len(host.asked) == 1


@pytest.mark.parametrize("path", ["thumbnail", "picture"])
def test_a_picture_that_has_not_changed_is_not_sent_again(
    server: TestClient, tmp_path: Path, path: str
) -> None:
    kept = tmp_path / "kept.jpg"
    kept.write_bytes(jpeg())
    write(row(result_uri=kept.as_uri()))

    first = get(server, path)
    again = get(server, path, tag=first.headers["ETag"])

    assert first.headers["Cache-Control"].startswith("private")
    assert (again.status_code, again.content) == (304, b"")
    assert (
        server.get(
            f"/goenhance/{path}", params=ROW, headers={"If-None-Match": first.headers["ETag"]}
        ).status_code
        == 401
    )


@pytest.mark.parametrize("name", ["page.html", "missing.jpg", "face.svg"])
@pytest.mark.parametrize("path", ["input", "thumbnail"])
def test_what_is_not_a_picture_that_browsers_show_is_not_passed_on(
    server: TestClient, host: Host, name: str, path: str
) -> None:
    write(row(source_img=f"{host.url}/{name}"))

    answer = get(server, path, of="source")

    assert answer.status_code == 404
    assert "alert" not in answer.text


def test_an_input_that_is_too_large_is_not_passed_on(
    server: TestClient, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures_of, "INPUT_BYTES", 1000)
    write(row(source_img=f"{host.url}/face.jpg"))

    assert get(server, "input", of="source").status_code == 404


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "/etc/passwd",
        "javascript:alert(1)",
        "../../etc/passwd",
        "ftp://127.0.0.1/a.jpg",
        "//127.0.0.1/a.jpg",
        "http://169.254.169.254/latest/meta-data/iam",
        "http://[fe80::1]/a.jpg",
        "http://nowhere.invalid/a.jpg",
    ],
)
@pytest.mark.parametrize("path", ["input", "thumbnail"])
def test_the_server_reads_no_address_that_is_none_of_a_picture(
    server: TestClient, url: str, path: str
) -> None:
    write(row(source_img=url))

    answer = get(server, path, of="source")

    assert answer.status_code == 404
    assert "root:" not in answer.text


def test_the_server_does_not_ask_itself(
    server: TestClient, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", host.url)
    write(row(source_img=f"{host.url}/face.jpg"))

    assert get(server, "input", of="source").status_code == 404
    assert host.asked == []


def test_only_pictures_that_a_row_names_can_be_asked_for(server: TestClient, host: Host) -> None:
    write(row())

    get(server, "input", of="source", url=f"{host.url}/face.jpg", source_img=f"{host.url}/face.jpg")
    assert get(server, "input", of=f"{host.url}/face.jpg").status_code == 422
    assert get(server, "thumbnail", of="../source").status_code == 422

    assert host.asked == []


def test_the_inputs_of_a_rejected_row_are_not_on_its_page(server: TestClient, host: Host) -> None:
    write(row(source_img=f"{host.url}/face.jpg", status=Status.REJECTED))

    html = server.get(
        "/goenhance/swaps", params={"dag_id": "mine", "run_id": "run"}, headers=token("viewer")
    ).text

    assert "<img" not in html


def test_a_host_that_does_not_answer_is_not_asked_for_each_row(
    server: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(row(1, source_img="http://127.0.0.1:9/1.jpg"), row(2, source_img="http://127.0.0.1:9/2.jpg"))
    fetched: list[str] = []
    fetch = pictures_of.fetch

    async def note(url: str) -> bytes:
        fetched.append(url)
        return await fetch(url)

    monkeypatch.setattr(pictures_of, "fetch", note)

    assert get(server, "thumbnail", of="source").status_code == 404
    assert get(server, "thumbnail", of="source", swap_id="id-2").status_code == 404

    assert fetched == ["http://127.0.0.1:9/1.jpg"]


@pytest.mark.parametrize(
    "swap_id", ["\0", "x" * 64, "' OR 1=1", "\ud800".encode("utf-8", "surrogatepass").decode("latin1")]
)
def test_a_row_that_is_not_there_has_no_pictures(server: TestClient, swap_id: str) -> None:
    for path in ("picture", "thumbnail", "swap"):
        assert get(server, path, swap_id=swap_id).status_code == 404


@pytest.mark.parametrize("name", ["page.css", "page.js", "light.svg", "dark.svg"])
def test_our_files_may_be_kept_for_good(server: TestClient, name: str) -> None:
    answer = server.get(f"/goenhance/static/1/{name}")

    assert answer.status_code == 200
    assert "immutable" in answer.headers["Cache-Control"]


@pytest.mark.parametrize("name", ["app.py", "..%2Fapp.py", "%2Fetc%2Fpasswd", "page.css%00"])
def test_no_other_file_is_served(server: TestClient, name: str) -> None:
    assert server.get(f"/goenhance/static/1/{name}").status_code == 404
