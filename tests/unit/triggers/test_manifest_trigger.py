# SPDX-License-Identifier: Apache-2.0
"""The trigger that watches for manifests: each new or changed one fires once, also across restarts."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from airflow_provider_goenhance.manifest import arrivals
from airflow_provider_goenhance.manifest.arrivals import Arrivals, Listed, is_wanted, list_files
from airflow_provider_goenhance.manifest.read import READERS
from airflow_provider_goenhance.triggers import manifest as trigger_module
from airflow_provider_goenhance.triggers.manifest import GoEnhanceManifestTrigger


class AsyncStore:
    """The asset state store of one asset, as Airflow 3.3.2 and later pass it to a trigger."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    async def aget(self, key: str, default: Any = None) -> Any:
        return self.values.get(key, default)

    async def aset(self, key: str, value: Any) -> None:
        assert value is not None
        json.dumps(value)
        self.values[key] = value


class SyncStore:
    """The same of 3.3.0 and 3.3.1, whose calls block."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def get(self, key: str, default: Any = None) -> Any:
        return self.values.get(key, default)

    def set(self, key: str, value: Any) -> None:
        self.values[key] = value


class Watch:
    """A trigger that runs as the triggerer runs it, and what it has fired."""

    def __init__(self, folder: Path | str, store: Any = None, **arguments: Any) -> None:
        first = GoEnhanceManifestTrigger(str(folder), poke_interval=0.01, **arguments)
        _, kwargs = first.serialize()
        self.trigger = GoEnhanceManifestTrigger(**json.loads(json.dumps(kwargs)))
        self.trigger.asset_state_store = store
        self.fired: list[dict[str, Any]] = []

    async def _run(self) -> None:
        async for event in self.trigger.run():
            self.fired.append(json.loads(json.dumps(event.payload)))

    async def __aenter__(self) -> Watch:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    @property
    def names(self) -> list[str]:
        return [Path(event["manifest"]).name for event in self.fired]

    async def until(self, *names: str) -> None:
        async with asyncio.timeout(30):
            while self.names[-len(names) :] != list(names):  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    async def rounds(self, count: int = 5) -> None:
        """Wait until the folder has been listed a few more times."""
        seen = LISTINGS["count"] + count
        async with asyncio.timeout(30):
            while LISTINGS["count"] < seen:  # noqa: ASYNC110
                await asyncio.sleep(0.005)


LISTINGS = {"count": 0}


@pytest.fixture(autouse=True)
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def listed(*args: Any) -> list[Listed]:
        LISTINGS["count"] += 1
        return list_files(*args)

    monkeypatch.setattr(arrivals, "list_files", listed)
    monkeypatch.setattr(trigger_module, "REMEMBER_AFTER", 0.0)


async def test_a_new_and_a_changed_manifest_fire_once_each(tmp_path: Path) -> None:
    async with Watch(tmp_path) as watch:
        await watch.rounds()
        (tmp_path / "a.csv").write_text("one")
        await watch.until("a.csv")
        (tmp_path / "b.jsonl.gz").write_text("two")
        await watch.until("a.csv", "b.jsonl.gz")
        (tmp_path / "a.csv").write_text("changed")
        await watch.until("a.csv", "b.jsonl.gz", "a.csv")
        await watch.rounds()
    assert watch.names == ["a.csv", "b.jsonl.gz", "a.csv"]
    assert watch.fired[0]["manifest"] == str(tmp_path / "a.csv")


@pytest.mark.parametrize("existing", ["skip", "fire"])
async def test_manifests_that_are_there_at_the_first_start(tmp_path: Path, existing: str) -> None:
    (tmp_path / "old.csv").write_text("x")
    async with Watch(tmp_path, existing=existing) as watch:
        await watch.rounds()
        (tmp_path / "new.csv").write_text("y")
        await watch.until("new.csv")
    assert watch.names == (["new.csv"] if existing == "skip" else ["old.csv", "new.csv"])


@pytest.mark.parametrize("make_store", [AsyncStore, SyncStore])
@pytest.mark.parametrize("existing", ["skip", "fire"])
async def test_what_has_fired_is_remembered_across_a_restart(
    tmp_path: Path, make_store: Any, existing: str
) -> None:
    store = make_store()
    async with Watch(tmp_path, store, existing=existing) as watch:
        await watch.rounds()
        (tmp_path / "a.csv").write_text("x")
        await watch.until("a.csv")
        await watch.rounds()
    (tmp_path / "while-it-was-down.csv").write_text("y")
    async with Watch(tmp_path, store, existing=existing) as again:
        await again.until("while-it-was-down.csv")
        await again.rounds()
    assert again.names == ["while-it-was-down.csv"]


async def test_the_memory_fits_the_store_however_many_files_there_are(
    tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(trigger_module, "TOKENS_PER_KEY", 3)
    store = AsyncStore()
    for number in range(8):
        (tmp_path / f"{number}.csv").write_text("x")
    async with Watch(tmp_path, store, existing="fire") as watch:
        await watch.until(*(f"{number}.csv" for number in range(8)))
        await watch.rounds()
    assert len(store.values) == 3
    async with Watch(tmp_path, store, existing="fire") as again:
        await again.rounds()
    assert again.names == []


async def test_a_folder_that_does_not_exist_yet_is_waited_for(tmp_path: Path) -> None:
    async with Watch(tmp_path / "later") as watch:
        await watch.rounds()
        (tmp_path / "later").mkdir()
        (tmp_path / "later" / "a.csv").write_text("x")
        await watch.until("a.csv")


async def test_a_listing_that_fails_ends_nothing(tmp_path: Path, monkeypatch: Any, caplog: Any) -> None:
    failures = iter([PermissionError("https://h/?sig=s3cret"), OSError("stale")])

    def listed(*args: Any) -> list[Listed]:
        LISTINGS["count"] += 1
        if error := next(failures, None):
            raise error
        return list_files(*args)

    monkeypatch.setattr(arrivals, "list_files", listed)
    async with Watch(tmp_path) as watch:
        await watch.rounds(4)
        (tmp_path / "a.csv").write_text("x")
        await watch.until("a.csv")
    assert "cannot be listed; trying again" in caplog.text
    assert "s3cret" not in caplog.text


async def test_without_a_store_it_says_what_a_restart_forgets(tmp_path: Path, caplog: Any) -> None:
    async with Watch(tmp_path) as watch:
        await watch.rounds()
    said = [message for message in caplog.messages if "is forgotten when the triggerer restarts" in message]
    assert len(said) == 1


async def test_the_event_loop_is_not_blocked_by_a_slow_listing(tmp_path: Path, monkeypatch: Any) -> None:
    listing = threading.Event()

    def slow(*args: Any) -> list[Listed]:
        listing.wait(30)
        return []

    monkeypatch.setattr(arrivals, "list_files", slow)
    async with Watch(tmp_path):
        await asyncio.sleep(0.02)  # would not return before the listing
        listing.set()


async def test_watchers_of_one_folder_share_one_listing(tmp_path: Path) -> None:
    csv_only, every = (
        GoEnhanceManifestTrigger(str(tmp_path), pattern=pattern) for pattern in ("*.csv", None)
    )
    assert csv_only.shared_stream_key() == every.shared_stream_key()
    assert GoEnhanceManifestTrigger(f"{tmp_path}/other").shared_stream_key() != every.shared_stream_key()
    files = [Listed("/m/a.csv", "1", 1, whole=True), Listed("/m/b.json", "1", 1, whole=True)]

    async def stream() -> AsyncIterator[list[Listed]]:
        yield []
        yield files

    for trigger, expected in ((csv_only, ["/m/a.csv"]), (every, ["/m/a.csv", "/m/b.json"])):
        fired = [event.payload["manifest"] async for event in trigger.filter_shared_stream(stream())]
        assert fired == expected


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"path": " "}, "path must be the folder to watch"),
        ({"path": "/m", "existing": "all"}, "existing must be 'skip' or 'fire'; got 'all'"),
        ({"path": "/m", "poke_interval": 0}, "poke_interval must be a positive number"),
    ],
)
def test_arguments_that_cannot_be_meant_are_refused_when_the_dag_is_parsed(arguments: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        GoEnhanceManifestTrigger(**arguments)


def test_the_connection_in_the_path_travels_with_the_event() -> None:
    file = Listed("s3://bucket/m/a.csv", "1", 1, whole=True)
    trigger = GoEnhanceManifestTrigger("s3://store_eu@bucket/m")
    assert trigger._payload(file)["conn_id"] == "store_eu"


# -- which files --


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("a.csv", True),
        ("A.XLSX", True),
        ("a.jsonl.zst", True),
        ("a.parquet", True),
        ("a.csv.part", False),
        ("a.csv.tmp", False),
        (".a.csv", False),
        ("_SUCCESS", False),
        ("~$a.xlsx", False),
        ("a.jpg", False),
        ("readme", False),
    ],
)
def test_only_finished_files_of_a_supported_ending_count(name: str, wanted: bool) -> None:
    assert is_wanted(f"s3://bucket/m/{name}", None, READERS) is wanted


def test_a_local_file_counts_when_two_listings_show_it_unchanged() -> None:
    watched = Arrivals([], report_existing=False)
    growing = [Listed("/m/a.csv", str(size), size, whole=False) for size in (1, 2, 2, 2)]
    assert [[f.size for f in watched.update([file])] for file in growing] == [[], [], [2], []]


def test_a_folder_that_is_gone_for_a_moment_fires_nothing_again() -> None:
    watched = Arrivals(None, report_existing=True)
    file = Listed("s3://b/a.csv", "1", 1, whole=True)
    assert [list(watched.update(files)) for files in ([file], [], [file])] == [[file], [], []]


def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "MAX_SEEN", 3)
    watched = Arrivals(None, report_existing=True)
    for number in range(10):
        assert len(list(watched.update([Listed(f"s3://b/{number}.csv", "1", 1, whole=True)]))) == 1
    assert len(watched.tokens()) == 3


def test_an_object_storage_is_listed_afresh_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk.io import attach, store
    from fsspec.implementations.memory import MemoryFileSystem

    class Caching(MemoryFileSystem):
        """Remembers its listings, as the clients of real storages do."""

        cachable = False
        store: ClassVar[dict[str, Any]] = {}
        pseudo_dirs: ClassVar[list[str]] = [""]
        remembered: ClassVar[dict[str, Any]] = {}

        def find(self, path: str, **kwargs: Any) -> Any:
            if path not in self.remembered:
                self.remembered[path] = super().find(path, **kwargs)
            return self.remembered[path]

        def invalidate_cache(self, path: str | None = None) -> None:
            self.remembered.clear()

        def info(self, path: str, **kwargs: Any) -> Any:
            return {**super().info(path, **kwargs), "ETag": "e1"}

    monkeypatch.setattr(store, "_STORE_CACHE", {})
    storage = Caching()
    attach("memory", fs=storage)
    assert list_files("memory://bucket/m") == []
    storage.pipe("/bucket/m/night/a.csv", b"x")
    [file] = list_files("memory://bucket/m")
    assert (file.location, file.size) == ("memory://bucket/m/night/a.csv", 1)


def test_links_and_files_that_vanish_while_listing_do_no_harm(tmp_path: Path) -> None:
    Path(tmp_path / "broken.csv").symlink_to(tmp_path / "nowhere.csv")
    (tmp_path / "a.csv").write_text("x")
    assert [Path(file.location).name for file in list_files(str(tmp_path))] == ["a.csv"]
