# SPDX-License-Identifier: Apache-2.0
"""Pictures are checked once each, in bounded time, and what was found is remembered in the results database."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Iterable

import pytest
import sqlalchemy as sa

from airflow_provider_goenhance.detection import RULES
from airflow_provider_goenhance.inputs import face_check
from airflow_provider_goenhance.inputs.checked import CheckedPictures
from airflow_provider_goenhance.inputs.look import Look, LookError
from airflow_provider_goenhance.inputs.preflight import Checks, PictureCheck
from tests.integration.results.databases import TestDatabase
from tests.unit.inputs.file_server import FileServer
from tests.unit.inputs.photos import sample
from tests.unit.raw_server import RawServer, dribbles

DRIBBLE = dribbles(b"HTTP/1.1 200 OK\r\n", drop=b"X: y\r\n")


def check(
    database: TestDatabase,
    addresses: Iterable[str],
    *,
    faces: bool = False,
    most_seconds: float | None = None,
) -> Checks:
    async def run() -> Checks:
        cache = CheckedPictures(database, RULES)
        return await PictureCheck(cache, faces=faces, most_seconds=most_seconds).check(addresses)

    return asyncio.run(run())


def age(database: TestDatabase, hours: float) -> None:
    """Make everything that is remembered older."""
    table = database.shared.input_checks
    then = dt.datetime.now(dt.UTC) - dt.timedelta(hours=hours)
    database.run(lambda connection: connection.execute(sa.update(table).values(checked_at=then)))


def faces_of(checks: Checks, link: str) -> int | None:
    seen = checks.of(link)
    assert isinstance(seen, Look)
    return seen.faces


def test_each_picture_is_looked_at_once_whatever_signs_its_link(
    database: TestDatabase, files: FileServer
) -> None:
    link = files.add("/anna.jpg", sample("collins.jpg"))
    signed = [f"{link}?X-Amz-Signature={number}&X-Amz-Date={number}" for number in range(5)]

    checks = check(database, [*signed, *signed])

    assert len(files.asked) == 1
    assert all(isinstance(checks.of(one), Look) for one in signed)


def test_a_retry_asks_for_nothing_that_was_seen_within_the_hour(
    database: TestDatabase, files: FileServer
) -> None:
    good, gone = files.add("/good.jpg", sample("collins.jpg")), files.link("/gone.jpg")
    check(database, [good, gone])
    files.asked.clear()
    files.add("/gone.jpg", sample("hopper.jpg"))

    checks = check(database, [good, gone])

    assert [path for path, _ in files.asked] == ["/gone.jpg"], "what was wrong may have been corrected"
    assert checks.known == 1
    assert isinstance(checks.of(gone), Look)


def test_the_next_night_asks_again(database: TestDatabase, files: FileServer) -> None:
    link = files.add("/good.jpg", sample("collins.jpg"))
    check(database, [link])
    age(database, 20)
    files.add("/good.jpg", b"<html>Gone</html>")

    assert isinstance(check(database, [link]).of(link), LookError)


def test_a_face_is_looked_for_once_over_the_nights(
    database: TestDatabase, files: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = files.add("/anna.jpg", sample("collins.jpg"), ETag='"1"')
    assert faces_of(check(database, [link], faces=True), link) == 1
    age(database, 20)
    monkeypatch.setattr(face_check, "faces_in", None)
    files.asked.clear()

    assert faces_of(check(database, [link], faces=True), link) == 1
    assert len(files.asked) == 1, "a look, and no download"


def test_the_same_content_at_another_address_is_not_searched_again(
    database: TestDatabase, files: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(database, [files.add("/anna.jpg", sample("collins.jpg"))], faces=True)
    monkeypatch.setattr(face_check, "faces_in", None)
    copy = files.add("/copy.jpg", sample("collins.jpg"))

    assert faces_of(check(database, [copy], faces=True), copy) == 1


def test_an_overwritten_picture_is_searched_again(database: TestDatabase, files: FileServer) -> None:
    link = files.add("/anna.jpg", sample("collins.jpg"), ETag='"1"')
    check(database, [link], faces=True)
    age(database, 20)
    files.add("/anna.jpg", sample("coffee.jpg"), ETag='"2"')

    assert faces_of(check(database, [link], faces=True), link) == 0


def test_a_check_without_faces_does_not_forget_them(database: TestDatabase, files: FileServer) -> None:
    link = files.add("/anna.jpg", sample("collins.jpg"), ETag='"1"')
    check(database, [link], faces=True)
    age(database, 20)
    check(database, [link])
    files.asked.clear()

    assert faces_of(check(database, [link], faces=True), link) == 1
    assert files.asked == []


def test_no_address_is_kept(database: TestDatabase, files: FileServer) -> None:
    check(database, [files.add("/anna-secret-name.jpg", sample("collins.jpg"))], faces=True)

    rows = database.read(sa.select(database.shared.input_checks))
    assert rows
    assert "anna-secret-name" not in str(rows)


def test_what_is_old_is_forgotten(database: TestDatabase, files: FileServer) -> None:
    check(database, [files.add("/old.jpg", sample("collins.jpg"))])
    age(database, 24 * 91)
    check(database, [files.add("/new.jpg", sample("hopper.jpg"))])

    assert len(database.read(sa.select(database.shared.input_checks))) == 1


def test_a_host_that_does_not_answer_takes_no_longer_than_the_limit(
    database: TestDatabase, files: FileServer
) -> None:
    good = files.add("/good.jpg", sample("collins.jpg"))
    with RawServer(DRIBBLE) as silent:
        links = [f"http://127.0.0.1:{silent.port}/{number}.jpg" for number in range(200)]
        since = time.monotonic()
        checks = check(database, [good, *links], most_seconds=1.0)

    assert time.monotonic() - since < 8
    assert isinstance(checks.of(good), Look)
    assert checks.unchecked == 200


def test_a_host_that_keeps_failing_is_not_asked_for_everything(
    database: TestDatabase, files: FileServer
) -> None:
    links = [files.add(f"/{number}.jpg", b"", 503) for number in range(300)]

    checks = check(database, links)

    assert len(files.asked) < 100
    assert checks.unchecked > 200
    assert all(not error.lasting for error in checks.seen.values() if isinstance(error, LookError))
