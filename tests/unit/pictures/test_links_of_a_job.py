# SPDX-License-Identifier: Apache-2.0
"""The links of a job: refused, late, dead, to a video, to more than one picture."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_provider_goenhance.exceptions import CollectError, LinkExpiredError
from airflow_provider_goenhance.pictures.sidecar import SwapFacts
from airflow_provider_goenhance.pictures.storage import read_picture
from tests.unit.pictures.collecting import Links, collect
from tests.unit.pictures.pictures import READERS, encoded, gif

if TYPE_CHECKING:
    import aiohttp

    from tests.unit.pictures.picture_server import PictureServer


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
