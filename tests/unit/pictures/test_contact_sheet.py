# SPDX-License-Identifier: Apache-2.0
"""The contact sheet as a file that is mailed, and read when every link is dead."""

from __future__ import annotations

import asyncio
import base64
import io
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from airflow_provider_goenhance.pictures import contact_sheet
from airflow_provider_goenhance.pictures.contact_sheet import (
    MOST_ROWS,
    SheetRow,
    fetch_inputs,
    make_contact_sheet,
)
from airflow_provider_goenhance.pictures.thumbnail import THUMBNAIL
from tests.unit.pictures.picture_server import PictureServer
from tests.unit.pictures.pictures import encoded

SIGNED = "?q-signature=SECRET&q-ak=AK"


class Server:
    """The picture server in a thread of its own: the sheet is made by plain code."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self.pictures = PictureServer(encoded("jpeg", size=(400, 300)))

    def run(self, step: Any) -> None:
        asyncio.run_coroutine_threadsafe(step, self._loop).result(10)

    def __enter__(self) -> PictureServer:
        import threading

        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.run(self.pictures.__aenter__())
        return self.pictures

    def __exit__(self, *_: object) -> None:
        self.run(self.pictures.__aexit__())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def pictures() -> Iterator[PictureServer]:
    with Server() as running:
        yield running


def test_the_labels_of_a_row_stand_beside_its_pair_id() -> None:
    rows = [SheetRow("anna", "failed", False, "http://h/a.jpg", "http://h/b.jpg", labels="client: <Acme>")]
    html = make_contact_sheet("Run", {}, rows, {}).decode()
    assert "<td>anna<br><small>client: &lt;Acme&gt;</small></td>" in html


class _Seen(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [str(value) for name, value in attrs if name in {"src", "href", "srcset", "action"}]


def row(name: str = "p", **fields: Any) -> SheetRow:
    fields = {
        "status": "succeeded",
        "good": True,
        "source_img": "http://127.0.0.1:9/s.jpg",
        "reference_img": "http://127.0.0.1:9/r.jpg",
        **fields,
    }
    return SheetRow(pair_id=name, **fields)


def sheet(*rows: SheetRow, most_rows: int = MOST_ROWS, **options: Any) -> str:
    inputs = asyncio.run(fetch_inputs(rows, most_rows=most_rows, **options))
    facts = {"succeeded": "1"}
    return make_contact_sheet("Face swaps of run", facts, rows, inputs, most_rows=most_rows).decode()


def thumbnails(html: str) -> list[Image.Image]:
    found = re.findall(r'src="data:image/webp;base64,([^"]+)"', html)
    return [Image.open(io.BytesIO(base64.b64decode(data))) for data in found]


def test_source_reference_and_result_are_in_the_file_itself_and_small(
    pictures: PictureServer, tmp_path: Path
) -> None:
    result = tmp_path / "p.png"
    result.write_bytes(encoded("png", "RGBA", size=(500, 900)))

    html = sheet(
        row(
            source_img=pictures.link("/user/s.jpg"),
            reference_img=pictures.link("/user/r.jpg"),
            result_uri=result.as_uri(),
        )
    )

    seen = _Seen(html)
    assert [address[:5] for address in seen.addresses] == ["data:"] * 3
    assert {"script", "link", "iframe", "form"}.isdisjoint(seen.tags)
    assert [max(picture.size) for picture in thumbnails(html)] == [THUMBNAIL] * 3
    assert "url(" not in html
    assert len(html) < 60_000


def test_a_link_is_named_without_its_signature(pictures: PictureServer) -> None:
    html = sheet(
        row(source_img=pictures.link("/user/s.jpg"), reference_img="https://host.invalid/r.jpg" + SIGNED)
    )

    assert "q-signature" not in html
    assert "SECRET" not in html
    assert "https://host.invalid/r.jpg" in html


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        *(("jpeg", mode) for mode in ("RGB", "L", "CMYK")),
        *((kind, mode) for kind in ("png", "webp") for mode in ("RGB", "RGBA", "L", "P")),
    ],
)
def test_every_kind_of_picture_gets_a_thumbnail(tmp_path: Path, kind: str, mode: str) -> None:
    result = tmp_path / "picture"
    result.write_bytes(encoded(kind, mode))

    assert len(thumbnails(sheet(row(result_uri=result.as_uri())))) == 1


def test_what_went_wrong_comes_first_with_its_reason() -> None:
    html = sheet(
        row("good-1"),
        row("bad", status="failed", good=False, reason="no face was found", img_uuid="uuid-of-bad"),
        row("good-2"),
    )

    assert html.index(">bad<") < html.index(">good-1<") < html.index(">good-2<")
    assert "no face was found" in html
    assert "uuid-of-bad" in html


def test_everything_that_a_manifest_brings_is_escaped() -> None:
    evil = '<script>alert(1)</script>"><img src=x onerror=alert(1)>'

    html = make_contact_sheet(
        evil,
        {evil: evil},
        [
            row(
                evil,
                status=evil,
                source_img=evil,
                reference_img="javascript:" + evil,
                reason=evil,
                img_uuid=evil,
            )
        ],
        {},
    ).decode()

    seen = _Seen(html)
    assert "script" not in seen.tags
    assert seen.addresses == []
    assert html.count("&lt;script&gt;") >= 8


@pytest.mark.parametrize("path", ["/html", "/status/403", "/zeros", "/loop", "/cut", "/to-file"])
def test_an_input_that_cannot_be_fetched_is_left_blank(pictures: PictureServer, path: str) -> None:
    pair = row(source_img=pictures.link(path), reference_img=pictures.link("/user/r.jpg"))

    html = sheet(pair, max_bytes=2**20)

    assert len(thumbnails(html)) == 1
    assert path in html


def test_inputs_that_hang_do_not_delay_the_report(pictures: PictureServer) -> None:
    pair = row(source_img=pictures.link("/hang"), reference_img=pictures.link("/user/r.jpg"))

    html = sheet(pair, seconds=1.0)

    assert len(thumbnails(html)) == 1


def test_a_host_whose_name_is_not_found_is_asked_only_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def look_up(_self: object, host: str, port: int = 0, **_: object) -> list[Any]:
        asked.append(host)
        await asyncio.Event().wait()  # a resolver that nobody answers
        return []

    monkeypatch.setattr("aiohttp.resolver.DefaultResolver.resolve", look_up)
    monkeypatch.setattr(contact_sheet, "CONNECT_SECONDS", 0.2)
    rows = [
        row(
            str(number),
            source_img=f"http://faces.example/{number}",
            reference_img=f"http://faces.example/r{number}",
        )
        for number in range(100)
    ]

    inputs = asyncio.run(fetch_inputs(rows))

    assert set(inputs.values()) == {None}
    assert len(inputs) == 200  # none was late: those that were not asked for cost nothing
    assert len(asked) <= contact_sheet.FETCHES_AT_ONCE


def test_a_host_that_answers_is_asked_for_all_its_pictures(pictures: PictureServer) -> None:
    rows = [
        row(
            str(number),
            source_img=pictures.link(f"/status/500?{number}"),
            reference_img=pictures.link(f"/user/{number}.jpg"),
        )
        for number in range(20)
    ]

    assert len(thumbnails(sheet(*rows))) == 20


def test_the_inputs_of_a_row_that_was_never_sent_are_not_fetched(pictures: PictureServer) -> None:
    rejected = row(
        status="rejected", good=False, with_inputs=False, source_img=pictures.link("/user/secret.jpg")
    )

    assert thumbnails(sheet(rejected)) == []
    assert pictures.asked == []


def test_an_input_of_many_rows_is_fetched_once(pictures: PictureServer) -> None:
    same = pictures.link("/user/s.jpg")

    html = sheet(*(row(str(number), source_img=same, reference_img=same) for number in range(5)))

    assert pictures.asked == ["/user/s.jpg"]
    assert len(thumbnails(html)) == 10


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no picture",
        encoded("png")[:60],
        b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + b"\x00\x01\x86\xa0" * 2 + b"\x08\x02\x00\x00\x00",
    ],
)
def test_a_result_that_cannot_be_read_is_said_to_be_so(tmp_path: Path, data: bytes) -> None:
    broken = tmp_path / "p.png"
    broken.write_bytes(data)

    html = sheet(row(result_uri=broken.as_uri()), row(result_uri=(tmp_path / "gone.png").as_uri()))

    assert html.count("cannot be read") == 2


def test_a_storage_that_is_slow_does_not_delay_the_report_for_long(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    result = tmp_path / "p.png"
    result.write_bytes(encoded("png"))
    monkeypatch.setattr(contact_sheet, "RESULTS_SECONDS", -1.0)

    html = sheet(row(result_uri=result.as_uri()))

    assert thumbnails(html) == []
    assert "left out, because the storage is slow" in html


def test_a_picture_that_is_too_large_has_a_tile_that_says_so(tmp_path: Path) -> None:
    large = tmp_path / "p.png"
    Image.new("L", (9000, 8800)).save(large)

    html = sheet(row(result_uri=large.as_uri()))

    assert thumbnails(html) == []
    assert "too large to preview (9000 x 8800 pixels)" in html
    assert "cannot be read" not in html


def test_a_long_run_shows_what_went_wrong_and_says_how_many_rows_are_left_out() -> None:
    rows = [row(f"good-{number}") for number in range(5)] + [row("bad", status="failed", good=False)]

    html = sheet(*rows, most_rows=2)

    assert "2 of 6 rows are shown, failures first; the results table has all of them." in html
    assert html.count("<tr><td>") == 2
    assert ">bad<" in html


def test_the_sheet_says_that_its_pictures_are_made_with_ai() -> None:
    assert "made with AI: label them as such" in sheet(row())
