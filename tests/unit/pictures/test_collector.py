# SPDX-License-Identifier: Apache-2.0
"""Collecting the pictures of a job, from link to kept file."""

from __future__ import annotations

import asyncio
import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_provider_goenhance.exceptions import CollectError
from airflow_provider_goenhance.pictures.fetch import DEFAULT_TIMEOUT
from airflow_provider_goenhance.pictures.formats.xmp import read_properties
from airflow_provider_goenhance.pictures.limits import CollectLimits
from airflow_provider_goenhance.pictures.sidecar import SwapFacts
from airflow_provider_goenhance.pictures.storage import read_picture
from tests.unit.clock import Clock, until
from tests.unit.pictures.certificates import signing_credentials
from tests.unit.pictures.claims import read_claim
from tests.unit.pictures.collecting import Links, collect
from tests.unit.pictures.pictures import MARK, READERS, encoded, gif, pixels, with_manifest

if TYPE_CHECKING:
    import aiohttp

    from tests.unit.pictures.picture_server import PictureServer


async def test_a_picture_is_collected_marked_and_kept(
    server: PictureServer, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    [kept] = await collect(session, Links([server.link("/user/a_0.jpg")]), tmp_path / "s")
    assert kept.uri == (tmp_path / "s/run/pair.jpg").as_uri()
    data = read_picture(kept.uri)
    packet = READERS["jpeg"].read_xmp(data)
    assert packet is not None
    assert read_properties(packet) == MARK
    assert pixels(data) == pixels(server.picture)
    assert (kept.mark, kept.sidecar_uri) == ("marked", None)


async def test_the_extension_follows_the_content_and_not_the_link(
    server: PictureServer, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    server.picture = encoded("webp")
    [kept] = await collect(session, Links([server.link("/user/a_0.jpg")]), tmp_path / "s")
    assert kept.uri.endswith("/pair.webp")


async def test_marking_can_be_switched_off(
    server: PictureServer, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    [kept] = await collect(session, Links([server.link("/user/a")]), tmp_path / "s", marking=False)
    assert read_picture(kept.uri) == server.picture
    assert kept.mark is None


async def test_every_picture_of_a_job_is_kept(
    server: PictureServer, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    links = Links([server.link(f"/user/a_{i}.jpg") for i in range(3)])
    kept = await collect(session, links, tmp_path / "s")
    assert [k.uri.rsplit("/", 1)[1] for k in kept] == ["pair.jpg", "pair__1.jpg", "pair__2.jpg"]
    assert server.asked == [f"/user/a_{i}.jpg" for i in range(3)]


async def test_a_download_that_breaks_off_is_tried_again(
    server: PictureServer, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    server.breaks_left = 2
    assert len(await collect(session, Links([server.link("/flaky")]), tmp_path / "s")) == 1
    assert len(server.asked) == 3


async def test_retries_are_limited(
    server: PictureServer, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    server.breaks_left = 9
    with pytest.raises(CollectError, match="ended before"):
        await collect(session, Links([server.link("/flaky")]), tmp_path / "s")
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("path", "error_code"),
    [
        ("/html", "not_an_image"),
        ("/zeros", "too_large"),
        ("/loop", "redirect_loop"),
    ],
)
async def test_a_hostile_answer_is_an_error_and_keeps_nothing(
    server: PictureServer,
    session: aiohttp.ClientSession,
    tmp_path: Path,
    path: str,
    error_code: str,
) -> None:
    with pytest.raises(CollectError) as caught:
        await collect(session, Links([server.link(path)]), tmp_path / "s", max_bytes=2**20)
    assert caught.value.error_code == error_code
    assert not (tmp_path / "s").exists()


async def test_a_server_that_hangs_is_asked_three_times_and_keeps_nothing(
    server: PictureServer, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    clock = Clock()
    task = asyncio.create_task(collect(session, Links([server.link("/hang")]), tmp_path / "s"))
    for _ in range(3):
        await until(lambda: server.hanging.is_set() or task.done())
        assert not task.done()
        server.hanging.clear()
        clock.forward(DEFAULT_TIMEOUT)
    with pytest.raises(CollectError) as caught:
        await task
    assert caught.value.error_code == "download_timed_out"
    assert not server.hanging.is_set()
    assert not (tmp_path / "s").exists()


async def test_a_storage_that_cannot_be_written_to_is_an_error_with_the_uuid(
    server: PictureServer, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    (tmp_path / "s").write_bytes(b"a file where the folder should be")
    facts = SwapFacts(img_uuid="u-1")
    with pytest.raises(CollectError, match=r"Could not store .*/s/run/pair\.jpg: ") as caught:
        await collect(session, Links([server.link("/user/a")]), tmp_path / "s", facts=facts)
    assert (caught.value.error_code, caught.value.img_uuid) == ("not_kept", "u-1")


async def test_a_job_without_a_picture_is_an_error(session: aiohttp.ClientSession, tmp_path: Path) -> None:
    with pytest.raises(CollectError) as caught:
        await collect(session, Links([]), tmp_path / "s", facts=SwapFacts(img_uuid="u-1"))
    assert (caught.value.error_code, caught.value.img_uuid) == ("no_link", "u-1")


async def test_collecting_again_rewrites_nothing(
    server: PictureServer, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    links = Links([server.link("/user/a")])
    first = await collect(session, links, tmp_path / "s")
    before = (tmp_path / "s/run/pair.jpg").stat()
    assert await collect(session, links, tmp_path / "s") == first
    assert (tmp_path / "s/run/pair.jpg").stat().st_ino == before.st_ino


async def test_a_sidecar_is_written_when_asked_for(
    server: PictureServer, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    facts = SwapFacts(img_uuid="u-1", consent_ref="crm/77", source_img=server.link("/user/source.jpg"))
    [kept] = await collect(
        session, Links([server.link("/user/a")]), tmp_path / "s", sidecar=True, facts=facts
    )
    assert kept.sidecar_uri == kept.uri + ".json"
    content = json.loads(read_picture(kept.sidecar_uri))
    assert (content["img_uuid"], content["consent_ref"]) == ("u-1", "crm/77")
    assert content["picture"]["sha256"] == kept.sha256
    assert content["picture"]["sha256_delivered"] != kept.sha256
    assert content["collected_at"] is not None
    assert "q-sign" not in json.dumps(content)


@pytest.mark.parametrize("kind", READERS)
async def test_a_picture_with_a_manifest_is_kept_whole_with_a_sidecar_instead(
    server: PictureServer, session: aiohttp.ClientSession, tmp_path: Path, kind: str
) -> None:
    server.picture = with_manifest(kind)
    [kept] = await collect(session, Links([server.link("/user/a")]), tmp_path / "s")
    assert read_picture(kept.uri) == server.picture
    assert kept.mark == "left_whole"
    assert kept.sidecar_uri is not None
    assert json.loads(read_picture(kept.sidecar_uri))["provenance"]["c2pa"] == "kept"


UNMARKABLE = {
    ".gif": gif(),
    ".avif": encoded("avif"),
    ".tif": encoded("tiff"),
    ".bmp": encoded("bmp"),
    ".jp2": encoded("jp2"),
    ".heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0\0\0\x10mdat12345678",
    ".jxl": b"\xff\x0a\x00\x10",
    ".svg": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
}


@pytest.mark.parametrize("extension", UNMARKABLE)
async def test_a_picture_that_cannot_carry_the_mark_is_kept_with_a_sidecar_instead(
    server: PictureServer, session: aiohttp.ClientSession, tmp_path: Path, extension: str
) -> None:
    server.picture = UNMARKABLE[extension]
    [kept] = await collect(session, Links([server.link("/user/a")]), tmp_path / "s")
    assert (kept.mark, Path(kept.uri).suffix) == ("no_room", extension)
    assert read_picture(kept.uri) == server.picture
    assert kept.sidecar_uri is not None
    assert json.loads(read_picture(kept.sidecar_uri))["provenance"]["xmp"] == "no_room"


@pytest.mark.skipif(find_spec("c2pa") is None, reason="the extra c2pa is not installed")
@pytest.mark.parametrize("extension", UNMARKABLE)
async def test_a_picture_that_cannot_carry_a_claim_is_kept_with_a_sidecar_that_says_so(
    server: PictureServer, session: aiohttp.ClientSession, tmp_path: Path, extension: str
) -> None:
    server.picture = UNMARKABLE[extension]
    [kept] = await collect(
        session,
        Links([server.link("/user/a")]),
        tmp_path / "s",
        credentials=signing_credentials(),
        marking=False,
    )
    claim = "none" if kept.sidecar_uri else "signed"
    assert claim == ("signed" if extension in {".gif", ".avif", ".heic", ".tif"} else "none")
    if kept.sidecar_uri:
        assert json.loads(read_picture(kept.sidecar_uri))["provenance"]["c2pa"] == "none"
        assert read_picture(kept.uri) == server.picture


@pytest.mark.skipif(find_spec("c2pa") is None, reason="the extra c2pa is not installed")
async def test_a_picture_is_marked_first_and_signed_after(
    server: PictureServer, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    [kept] = await collect(
        session,
        Links([server.link("/user/a")]),
        tmp_path / "s",
        credentials=signing_credentials(),
        sidecar=True,
    )
    packet = READERS["jpeg"].read_xmp(read_picture(kept.uri))
    assert packet is not None
    assert read_properties(packet) == MARK
    manifest = read_claim(read_picture(kept.uri))
    assert manifest is not None
    assert manifest["validation_state"] == "Valid"
    assert kept.sidecar_uri is not None
    assert json.loads(read_picture(kept.sidecar_uri))["provenance"]["c2pa"] == "signed"


async def test_a_cancelled_collector_stores_nothing(
    server: PictureServer, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    task = asyncio.create_task(collect(session, Links([server.link("/hang")]), tmp_path / "s"))
    await until(server.hanging.is_set)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not (tmp_path / "s").exists()


async def test_many_pictures_are_collected_side_by_side(
    server: PictureServer, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    jobs = (
        collect(session, Links([server.link(f"/user/{i}")]), tmp_path / "s", pair_id=f"pair_{i}")
        for i in range(40)
    )
    async with asyncio.timeout(60):
        kept = await asyncio.gather(*jobs)
    assert sorted(p.name for p in (tmp_path / "s/run").iterdir()) == sorted(
        f"pair_{i}.jpg" for i in range(40)
    )
    assert len({k.sha256 for [k] in kept}) == 1


async def test_a_host_that_serves_few_downloads_at_once_delivers_every_picture(
    server: PictureServer, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    limits = CollectLimits(16)
    kept = await asyncio.gather(
        *(
            collect(
                session,
                Links([server.link(f"/narrow/{number}")]),
                tmp_path / "s",
                pair_id=f"p{number}",
                limits=limits,
                fetch_attempts=4,
            )
            for number in range(60)
        )
    )
    assert len({picture.uri for [picture] in kept}) == 60
    assert server.most_at_once <= 16
    assert limits.memory.free == limits.memory.most


async def test_a_picture_that_cannot_be_stored_is_not_downloaded_again(
    server: PictureServer, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    (tmp_path / "s").write_bytes(b"a file where the folder should be")
    with pytest.raises(CollectError, match="Could not store"):
        await collect(session, Links([server.link("/user/a")]), tmp_path / "s")
    assert server.asked == ["/user/a"]


async def test_pictures_wait_for_room_in_memory_before_they_are_read(
    server: PictureServer, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    limits = CollectLimits(8)
    limits.memory.most = limits.memory.free = len(server.picture)
    with limits.memory.room() as taken:
        await taken.expect(len(server.picture))
        collecting = [
            asyncio.create_task(
                collect(session, Links([server.link(path)]), tmp_path / "s", pair_id=path[1:], limits=limits)
            )
            for path in ("/user/a", "/chunked")
        ]
        await until(lambda: len(limits.memory._line) == 1)
        assert not list((tmp_path / "s").glob("run/user*"))
    done = await asyncio.wait_for(asyncio.gather(*collecting), 60)
    assert all(len(kept) == 1 for kept in done)
    assert limits.memory.free == limits.memory.most
