# SPDX-License-Identifier: Apache-2.0
"""Kept pictures are looked at after their outcome is recorded, and whatever goes wrong there changes no outcome."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import pytest_asyncio
from PIL import Image, ImageDraw

from airflow_provider_goenhance.api.account import Account
from airflow_provider_goenhance.api.models import Job
from airflow_provider_goenhance.execution import input_looks, inspecting
from airflow_provider_goenhance.execution.collecting import open_collecting
from airflow_provider_goenhance.pictures.collector import StorageOptions
from airflow_provider_goenhance.results.database import ResultsDatabase
from airflow_provider_goenhance.results.ledger import Ledger, RunKey
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.stores import TableStore
from airflow_provider_goenhance.results.swap import Swap
from tests.swaps import planned
from tests.unit.clock import until
from tests.unit.pictures.picture_server import PictureServer

KEY = RunKey("dag", "run")
ACCOUNT = Account(conn_id="c", token="a-token")


def drawn() -> bytes:
    picture = Image.effect_noise((320, 240), 60).convert("RGB")
    ImageDraw.Draw(picture).rectangle((0, 0, 120, 239), fill=(40, 60, 90))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=90)
    return out.getvalue()


SCENE = drawn()


class Setting:
    """A results table with submitted rows, a server with their pictures, and a storage."""

    def __init__(self, folder: Path, server: PictureServer, rows: int = 3, **options: Any) -> None:
        self.folder = folder
        self.server = server
        self.ledger = Ledger(
            ResultsDatabase(f"sqlite:///{folder / 'results.db'}", name="the test's database")
        )
        swaps = [
            planned(
                number,
                status=Status.SUBMITTED,
                img_uuid=f"job-{number}",
                source_img=server.link(f"/user/source-{number % 2}.jpg"),
                reference_img=server.link(f"/user/reference-{number}.jpg"),
            )
            for number in range(rows)
        ]
        self.ledger.plan(KEY, swaps, task_id="swap")
        self.store = TableStore(self.ledger, lambda: self.ledger.of_run(KEY))
        self.options = StorageOptions(
            str(folder / "kept"),
            "run",
            **{"thumbnails": True, "quality": True, "retry_pause": 0.0, **options},
        )

    async def get_job(self, img_uuid: str) -> Job:
        return Job(img_uuid, "success", links=(self.server.link(f"/user/result-{img_uuid}.jpg"),))

    async def collect(self, rows: list[Swap] | None = None) -> list[Swap]:
        async with open_collecting(ACCOUNT, self.store, self.options, client=self) as collecting:  # type: ignore[arg-type]
            for row in rows or self.rows:
                collecting.add(row)
        return self.rows

    @property
    def rows(self) -> list[Swap]:
        return self.ledger.of_run(KEY)


@pytest_asyncio.fixture
async def server() -> AsyncIterator[PictureServer]:
    async with PictureServer(SCENE) as running:
        yield running


@pytest.fixture
def setting(tmp_path: Path, server: PictureServer) -> Setting:
    return Setting(tmp_path, server)


def path_of(uri: str | None) -> Path:
    return Path(unquote(urlsplit(str(uri)).path))


async def test_a_collected_picture_has_its_quality_and_three_thumbnails(setting: Setting) -> None:
    rows = await setting.collect()

    assert {row.status for row in rows} == {Status.SUCCEEDED}
    assert {row.quality for row in rows} == {"unchanged"}
    for row in rows:
        assert 0 <= float(row.quality_score or 0) < 1
        assert json.loads(str(row.quality_figures))["similarity"] == pytest.approx(1, abs=0.01)
        for uri in (row.thumbnail_uri, row.source_thumbnail_uri, row.reference_thumbnail_uri):
            with Image.open(path_of(uri)) as picture:
                assert (picture.format, max(picture.size)) == ("WEBP", 256)
    assert path_of(rows[0].thumbnail_uri) == setting.folder / "kept/run/thumbnails/p0.jpg.webp"
    assert rows[0].source_thumbnail_uri == rows[2].source_thumbnail_uri


async def test_each_distinct_input_is_fetched_once_in_a_run_even_by_two_tasks(setting: Setting) -> None:
    rows = setting.rows
    await setting.collect(rows[:2])
    await setting.collect(rows[2:])

    inputs = [path for path in setting.server.asked if "result" not in path]
    assert sorted(inputs) == sorted(
        [
            "/user/source-0.jpg",
            "/user/source-1.jpg",
            *(f"/user/reference-{number}.jpg" for number in range(3)),
        ]
    )
    assert {row.quality for row in setting.rows} == {"unchanged"}


async def test_an_outcome_is_recorded_while_the_input_of_its_picture_hangs(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = asyncio.Event()

    async def hang(*_: Any) -> bytes:
        await fetched.wait()
        return SCENE

    monkeypatch.setattr(inspecting.InputPictures, "fetch", hang)
    task = asyncio.ensure_future(setting.collect())
    await until(lambda: {row.status for row in setting.rows} == {Status.SUCCEEDED})
    assert {row.quality for row in setting.rows} == {None}
    fetched.set()
    await task
    assert {row.quality for row in setting.rows} == {"unchanged"}


async def test_looks_that_get_stuck_are_left_out_and_the_pictures_stay_kept(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: Any) -> bytes:
        await asyncio.Event().wait()
        return b""

    monkeypatch.setattr(inspecting.InputPictures, "fetch", hang)
    monkeypatch.setattr(inspecting, "STALLED_SECONDS", 0.1)

    rows = await setting.collect()

    assert {(row.status, row.quality) for row in rows} == {(Status.SUCCEEDED, None)}


@pytest.mark.parametrize(
    ("module", "function"),
    [
        (input_looks, "look_at"),
        (input_looks, "keep_thumbnail"),
        (inspecting, "look_at"),
        (inspecting, "keep_thumbnail"),
        (inspecting, "judge"),
    ],
)
@pytest.mark.parametrize("error", [OSError("disk full"), MemoryError(), RecursionError("surprise")])
async def test_a_failure_of_a_look_changes_no_outcome(
    setting: Setting, monkeypatch: pytest.MonkeyPatch, module: Any, function: str, error: Exception
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(module, function, broken)

    rows = await setting.collect()

    assert {row.status for row in rows} == {Status.SUCCEEDED}
    assert all(path_of(row.result_uri).read_bytes() for row in rows)


async def test_a_table_that_refuses_what_was_found_has_the_outcomes_nevertheless(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise RuntimeError("refused")

    monkeypatch.setattr(setting.store, "record_inspections", refuse)
    assert {row.status for row in await setting.collect()} == {Status.SUCCEEDED}


async def test_without_its_reference_a_picture_is_unchecked_and_has_a_thumbnail(setting: Setting) -> None:
    lost = [
        dataclasses.replace(row, reference_img=setting.server.link("/status/404")) for row in setting.rows
    ]

    rows = await setting.collect(lost)

    assert {row.quality for row in rows} == {"unchecked"}
    assert {row.reference_thumbnail_uri for row in rows} == {None}
    assert all(row.thumbnail_uri and row.source_thumbnail_uri for row in rows)


async def test_nothing_is_fetched_or_stored_when_both_are_switched_off(
    tmp_path: Path, server: PictureServer
) -> None:
    setting = Setting(tmp_path, server, thumbnails=False, quality=False)

    rows = await setting.collect()

    assert {row.quality for row in rows} == {None}
    assert [path for path in server.asked if "result" not in path] == []
    assert not (tmp_path / "kept/run/thumbnails").exists()


async def test_the_quality_alone_fetches_no_sources_and_stores_nothing(
    tmp_path: Path, server: PictureServer
) -> None:
    setting = Setting(tmp_path, server, thumbnails=False)

    rows = await setting.collect()

    assert {row.quality for row in rows} == {"unchanged"}
    assert {path.partition("-")[0] for path in server.asked} == {"/user/result", "/user/reference"}
    assert not (tmp_path / "kept/run/thumbnails").exists()


async def test_pictures_that_do_not_fit_into_memory_while_they_wait_are_read_again(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspecting, "MOST_WAITING_BYTES", 0)
    assert {row.quality for row in await setting.collect()} == {"unchanged"}


async def test_a_check_of_the_team_s_own_gets_the_files_of_all_three_pictures(
    tmp_path: Path, server: PictureServer
) -> None:
    seen: list[tuple[bytes, bytes, bytes]] = []

    def check(source: Path, reference: Path, result: Path) -> list[str]:
        seen.append((source.read_bytes(), reference.read_bytes(), result.read_bytes()))
        return ["wrong_person"]

    setting = Setting(tmp_path, server, quality=False, quality_check=check)

    rows = await setting.collect()

    assert {row.quality for row in rows} == {"flagged"}
    assert [found[:2] for found in seen] == [(SCENE, SCENE)] * 3
    assert {result for *_, result in seen} == {path_of(row.result_uri).read_bytes() for row in rows}
    assert json.loads(str(rows[0].quality_figures))["findings"][0]["code"] == "wrong_person"


async def test_a_row_that_was_sent_again_meanwhile_keeps_nothing_of_the_earlier_picture(
    setting: Setting,
) -> None:
    (first, *_) = await setting.collect()
    stale = inspecting.Inspected(first.swap_id, "job-before", first.result_sha256, quality="blank")
    setting.store.record_inspections([stale])
    assert setting.rows[0].quality == "unchanged"
