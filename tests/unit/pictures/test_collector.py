# SPDX-License-Identifier: Apache-2.0
"""Collecting the pictures of a job, from link to kept file."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_provider_goenhance.exceptions import CollectError, LinkExpiredError
from airflow_provider_goenhance.pictures.collector import StorageOptions, collect_picture
from airflow_provider_goenhance.pictures.fetch import DEFAULT_TIMEOUT
from airflow_provider_goenhance.pictures.formats.xmp import read_properties
from airflow_provider_goenhance.pictures.sidecar import SwapFacts
from airflow_provider_goenhance.pictures.storage import KeptPicture, read_picture
from tests.unit.clock import Clock, until
from tests.unit.pictures.certificates import signing_credentials
from tests.unit.pictures.claims import read_claim
from tests.unit.pictures.pictures import MARK, READERS, encoded, gif, pixels, with_manifest

if TYPE_CHECKING:
    from typing import Any

    import aiohttp

    from tests.unit.pictures.picture_server import PictureServer


class Links:
    """Returns links as GoEnhance would, and records how it was called."""

    def __init__(self, first: list[str], renewed: list[str] | None = None) -> None:
        self.first, self.renewed = first, renewed
        self.asked: list[bool] = []

    async def __call__(self, refresh: bool) -> list[str]:
        self.asked.append(refresh)
        return (self.renewed if refresh else self.first) or []


async def collect(
    session: aiohttp.ClientSession,
    links: Links,
    storage: Path,
    *,
    pair_id: str = "pair",
    facts: SwapFacts | None = None,
    **options: Any,
) -> list[KeptPicture]:
    how = StorageOptions(str(storage), "run", **({"retry_pause": 0.0} | options))
    return await collect_picture(session, links, how, pair_id=pair_id, facts=facts)


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


async def test_an_expired_link_is_replaced_once(
    server: PictureServer, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    links = Links([server.link("/status/403")], [server.link("/user/fresh.jpg")])
    assert len(await collect(session, links, tmp_path / "s")) == 1
    assert links.asked == [False, True]


async def test_links_that_expire_half_way_do_not_fetch_the_first_picture_again(
    server: PictureServer, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    links = Links(
        [server.link("/user/a_0.jpg"), server.link("/status/403")],
        [server.link("/user/b_0.jpg"), server.link("/user/b_1.jpg")],
    )
    assert len(await collect(session, links, tmp_path / "s")) == 2
    assert server.asked == ["/user/a_0.jpg", "/user/b_1.jpg"]


@pytest.mark.parametrize("renewed", [[], ["/status/404"]])
async def test_a_link_refused_again_is_a_lost_picture_with_its_uuid(
    server: PictureServer, session: aiohttp.ClientSession, tmp_path: Path, renewed: list[str]
) -> None:
    links = Links([server.link("/status/403")], [server.link(path) for path in renewed])
    with pytest.raises(
        LinkExpiredError, match="issued a new link to the picture, which was refused as well"
    ) as caught:
        await collect(session, links, tmp_path / "s", facts=SwapFacts(img_uuid="u-1"))
    assert caught.value.img_uuid == "u-1"
    assert "q-sign" not in str(caught.value)
    assert links.asked == [False, True]
    assert not (tmp_path / "s").exists()


async def test_a_dead_link_beside_a_good_one_does_not_lose_the_good_one(
    server: PictureServer, session: aiohttp.ClientSession, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    refused = server.link("/status/403")
    links = Links([refused, refused], [server.link("/user/a_0.jpg"), refused])
    [kept] = await collect(session, links, tmp_path / "s")
    assert kept.uri.endswith("/pair.jpg")
    assert links.asked == [False, True]
    assert "collected 1 of 2 links of the job; left out: " in caplog.text
    assert "q-sign" not in "".join(r.getMessage() for r in caplog.records if r.name != "aiohttp.access")


BAD_PATHS = [
    "/video",
    "/html",
    "/status/404",
    "/status/500",
    "/cut",
    "/loop",
    "/nowhere",
    "/to-file",
    "/zeros",
]


@pytest.mark.parametrize("bad", BAD_PATHS)
@pytest.mark.parametrize("place", [0, 1, 2])
async def test_every_picture_among_other_links_is_kept(
    server: PictureServer, session: aiohttp.ClientSession, tmp_path: Path, bad: str, place: int
) -> None:
    links = [server.link("/user/a_0.jpg"), server.link("/user/a_1.jpg")]
    links.insert(place, server.link(bad))
    kept = await collect(session, Links(links), tmp_path / "s", max_bytes=2**20)
    assert [k.uri.rsplit("/", 1)[1] for k in kept] == ["pair.jpg", "pair__1.jpg"]


async def test_a_job_with_nothing_but_a_video_says_so(
    server: PictureServer, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    with pytest.raises(CollectError, match="it is an MP4 video") as caught:
        await collect(session, Links([server.link("/video")]), tmp_path / "s")
    assert caught.value.error_code == "not_an_image"


class Pauses:
    """Records the pauses that a collector makes, and makes none."""

    def __init__(self) -> None:
        self.made: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.made.append(seconds)


@pytest.mark.parametrize("status", [403, 404])
async def test_a_picture_that_is_announced_before_it_is_served_is_waited_for(
    server: PictureServer, session: aiohttp.ClientSession, tmp_path: Path, status: int
) -> None:
    server.refusals_left, pauses = 5, Pauses()
    facts = SwapFacts(img_uuid="u-1", finished_at=datetime.now(UTC))
    links = Links([server.link(f"/late/{status}")], [server.link(f"/late/{status}")])
    kept = await collect(session, links, tmp_path / "s", facts=facts, sleep=pauses, retry_pause=1.0)
    assert len(kept) == 1
    assert pauses.made == [1.0, 2.0, 4.0, 8.0]
    assert links.asked == [False, True]


async def test_a_link_that_stays_refused_is_lost_after_the_pauses(
    server: PictureServer, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    server.refusals_left, pauses = 99, Pauses()
    with pytest.raises(LinkExpiredError):
        await collect(
            session, Links([server.link("/late/404")]), tmp_path / "s", sleep=pauses, retry_pause=1.0
        )
    assert (len(server.asked), pauses.made) == (6, [1.0, 2.0, 4.0, 8.0])


async def test_the_picture_of_a_job_that_finished_long_ago_is_not_waited_for_long(
    server: PictureServer, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    server.refusals_left, pauses = 99, Pauses()
    facts = SwapFacts(finished_at=datetime.now(UTC) - timedelta(hours=2))
    with pytest.raises(LinkExpiredError):
        await collect(
            session,
            Links([server.link("/late/404")]),
            tmp_path / "s",
            facts=facts,
            sleep=pauses,
            retry_pause=1.0,
        )
    assert pauses.made == [1.0]


@pytest.mark.parametrize(
    "junk", [b"\n", b"\xef\xbb\xbf", b"<br />\n<b>Warning</b>: Undefined variable in x.php\n"]
)
@pytest.mark.parametrize("kind", [*READERS, "gif"])
async def test_what_a_script_prints_in_front_of_a_picture_is_cut_off(
    server: PictureServer, session: aiohttp.ClientSession, tmp_path: Path, kind: str, junk: bytes
) -> None:
    picture = gif() if kind == "gif" else encoded(kind)
    server.picture = junk + picture
    [kept] = await collect(session, Links([server.link("/user/a")]), tmp_path / "s", marking=False)
    assert read_picture(kept.uri) == picture


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
