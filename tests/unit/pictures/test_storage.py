# SPDX-License-Identifier: Apache-2.0
"""Keeping files: whole or not at all, and harmless to repeat."""

from __future__ import annotations

import fcntl
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_goenhance.exceptions import CollectError
from airflow_provider_goenhance.pictures import storage
from airflow_provider_goenhance.pictures.storage import (
    keep_bytes,
    keep_file,
    keep_picture,
    picture_exists,
    read_picture,
    remove_file,
)

DATA = b"\xff\xd8 not looked at here"


def test_a_picture_is_kept_under_its_run_and_pair(tmp_path: Path) -> None:
    kept = keep_picture(DATA, str(tmp_path / "swaps"), "run-1", "pair-1", ".jpg")
    target = tmp_path / "swaps/run-1/pair-1.jpg"
    assert target.read_bytes() == DATA
    assert kept.uri == target.as_uri()
    assert kept.uri.startswith("file:///")
    assert (kept.sha256, kept.size) == (hashlib.sha256(DATA).hexdigest(), len(DATA))
    assert [p.name for p in target.parent.iterdir()] == ["pair-1.jpg"]


@pytest.mark.parametrize("form", ["{}", "{}/", "file://{}", "file://localhost{}"])
def test_a_local_storage_may_be_named_in_several_ways(tmp_path: Path, form: str) -> None:
    folder = tmp_path / "with space #1 ü"
    kept = keep_picture(DATA, form.format(folder), "r", "p", ".jpg")
    assert (folder / "r/p.jpg").read_bytes() == DATA
    for uri in (kept.uri, str(folder / "r/p.jpg"), f"file://{folder}/r/p.jpg"):
        assert picture_exists(uri), uri
        assert read_picture(uri) == DATA


def test_another_picture_of_the_same_run_and_pair_is_left_alone(tmp_path: Path) -> None:
    storage = str(tmp_path / "s")
    first = keep_picture(DATA, storage, "r", "p", ".jpg", img_uuid="job-1")
    other = b"another Dag's run and pair of the same name"
    second = keep_picture(other, storage, "r", "p", ".jpg", img_uuid="job-2")
    again = keep_picture(other, storage, "r", "p", ".jpg", img_uuid="job-2")

    assert first.uri.endswith("/r/p.jpg")
    assert second == again
    assert second.name.startswith("r/p-")
    assert (read_picture(first.uri), read_picture(second.uri)) == (DATA, other)
    assert len(list((tmp_path / "s/r").iterdir())) == 2


def test_where_hard_links_cannot_be_made_another_picture_is_left_alone_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: Any) -> None:
        raise PermissionError("not on this file system")

    monkeypatch.setattr(Path, "hardlink_to", no_links)
    first = keep_picture(DATA, str(tmp_path), "r", "p", ".jpg", img_uuid="job-1")
    second = keep_picture(b"another", str(tmp_path), "r", "p", ".jpg", img_uuid="job-2")
    assert (read_picture(first.uri), read_picture(second.uri)) == (DATA, b"another")


def test_a_collector_killed_after_it_gave_a_picture_its_name_does_not_harm_it(tmp_path: Path) -> None:
    kept = keep_picture(DATA, str(tmp_path), "r", "p", ".jpg", img_uuid="job-1")
    (tmp_path / "r/.p.jpg.part").hardlink_to(tmp_path / "r/p.jpg")
    keep_picture(b"another", str(tmp_path), "r", "p", ".jpg", img_uuid="job-2")
    assert read_picture(kept.uri) == DATA
    assert not (tmp_path / "r/.p.jpg.part").exists()


def test_a_relative_folder_is_kept_with_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert keep_picture(DATA, "swaps", "r", "p", ".jpg").uri == (tmp_path / "swaps/r/p.jpg").as_uri()


def test_keeping_the_same_bytes_again_rewrites_nothing(tmp_path: Path) -> None:
    first = keep_picture(DATA, str(tmp_path / "s"), "r", "p", ".jpg")
    target = tmp_path / "s/r/p.jpg"
    before = target.stat()
    assert keep_picture(DATA, str(tmp_path / "s"), "r", "p", ".jpg") == first
    assert (target.stat().st_ino, target.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_other_bytes_replace_the_file_in_one_step(tmp_path: Path) -> None:
    keep_picture(DATA, str(tmp_path / "s"), "r", "p", ".jpg")
    target = tmp_path / "s/r/p.jpg"
    with target.open("rb") as reader:
        keep_picture(b"new and longer" * 9, str(tmp_path / "s"), "r", "p", ".jpg")
        assert reader.read() == DATA, "a reader of the old file saw the new one"
    assert target.read_bytes() == b"new and longer" * 9


def test_a_disk_that_fails_leaves_neither_half_nor_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage.os, "fsync", full)
    with pytest.raises(CollectError, match="No space left on device") as caught:
        keep_picture(DATA, str(tmp_path / "s"), "r", "p", ".jpg")
    assert caught.value.error_code == "not_kept"
    assert "p.jpg" in caught.value.message
    assert list((tmp_path / "s/r").iterdir()) == []


def test_what_a_killed_collector_left_is_adopted(tmp_path: Path) -> None:
    left = tmp_path / "s/r/.p.jpg.part"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half a picture, and longer than the whole one will be" * 9)
    keep_picture(DATA, str(tmp_path / "s"), "r", "p", ".jpg")
    assert [p.name for p in left.parent.iterdir()] == ["p.jpg"]
    assert (tmp_path / "s/r/p.jpg").read_bytes() == DATA


def test_the_part_file_of_a_living_collector_is_not_touched(tmp_path: Path) -> None:
    part = tmp_path / "s/r/.p.jpg.part"
    part.parent.mkdir(parents=True)
    with part.open("wb") as living:
        fcntl.flock(living, fcntl.LOCK_EX)
        living.write(b"being written")
        living.flush()
        keep_picture(DATA, str(tmp_path / "s"), "r", "p", ".jpg")
        assert part.read_bytes() == b"being written"
    assert (tmp_path / "s/r/p.jpg").read_bytes() == DATA
    assert sorted(p.name for p in part.parent.iterdir()) == [".p.jpg.part", "p.jpg"]


def test_a_kept_file_gets_the_rights_of_any_new_file(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        keep_picture(DATA, str(tmp_path / "s"), "r", "p", ".jpg")
    finally:
        os.umask(old)
    assert (tmp_path / "s/r/p.jpg").stat().st_mode & 0o777 == 0o640


def test_a_pair_id_with_dots_and_slashes_stays_below_the_storage(tmp_path: Path) -> None:
    kept = keep_picture(DATA, str(tmp_path / "s"), "../../run", "../../../p", ".jpg")
    path = Path(kept.uri.removeprefix("file://"))
    assert path.resolve().is_relative_to(tmp_path / "s")
    assert len(path.relative_to(tmp_path / "s").parts) == 2


def test_a_folder_that_cannot_be_made_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CollectError, match="file/r/p") as caught:
        keep_picture(DATA, str(tmp_path / "file"), "r", "p", ".jpg")
    assert caught.value.error_code == "not_kept"


@pytest.mark.parametrize("storage", ["", "  ", "file://relative/folder", "nosuch://bucket/x"])
def test_a_storage_that_cannot_be_one_is_an_error(storage: str) -> None:
    with pytest.raises(CollectError) as caught:
        keep_picture(DATA, storage, "r", "p", ".jpg")
    assert caught.value.error_code == "not_kept"


def test_a_scheme_without_its_provider_says_what_to_install() -> None:
    with pytest.raises(CollectError, match=r"no file system for abfs://; install apache-airflow-providers-"):
        keep_picture(DATA, "abfs://container/x", "r", "p", ".jpg")


def test_what_is_not_there_is_not_there(tmp_path: Path) -> None:
    assert not picture_exists(str(tmp_path / "no.jpg"))
    assert not picture_exists(tmp_path.as_uri()), "a folder is no picture"
    with pytest.raises(CollectError, match="no such file"):
        read_picture(str(tmp_path / "no.jpg"))


class _Recorder(MemoryFileSystem):  # type: ignore[misc]
    """A store in memory that writes down what it is asked to do."""

    cachable = False

    def __init__(self) -> None:
        super().__init__()
        self.store, self.pseudo_dirs = {}, [""]
        self.calls: list[tuple[str, str]] = []
        self.break_on = ""

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        self.calls.append(("put", path))
        super().pipe_file(path, value, mode=mode, **kwargs)
        if self.break_on == "put":
            raise OSError("the line went dead")

    def mv(self, path1: str, path2: str, **kwargs: Any) -> None:
        self.calls.append(("move", path2))
        super().mv(path1, path2, **kwargs)


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> _Recorder:
    from airflow.sdk.io import fs as airflow_fs
    from airflow.sdk.io import store as airflow_store

    recorder = _Recorder()
    known = {"memory": lambda _conn, _options: recorder, "gs": lambda _conn, _options: recorder}
    monkeypatch.setattr(airflow_fs, "_register_filesystems", lambda: known)
    monkeypatch.setattr(airflow_store, "_STORE_CACHE", {})
    return recorder


def test_a_remote_file_system_is_written_aside_and_moved(remote: _Recorder) -> None:
    kept = keep_picture(DATA, "memory://folder", "r", "p", ".jpg")
    assert [what for what, _ in remote.calls] == ["put", "move"]
    assert remote.calls[0][1] != remote.calls[1][1]
    assert remote.find("/") == ["/folder/r/p.jpg"]
    assert picture_exists(kept.uri)
    assert read_picture(kept.uri) == DATA


def test_a_remote_write_that_breaks_off_leaves_nothing(remote: _Recorder) -> None:
    remote.break_on = "put"
    with pytest.raises(CollectError, match="the line went dead"):
        keep_picture(DATA, "memory://folder", "r", "p", ".jpg")
    assert remote.find("/") == []


def test_keeping_the_same_bytes_remotely_again_sends_nothing(remote: _Recorder) -> None:
    keep_picture(DATA, "memory://folder", "r", "p", ".jpg")
    remote.calls.clear()
    keep_picture(DATA, "memory://folder", "r", "p", ".jpg")
    assert remote.calls == []
    keep_picture(DATA[::-1], "memory://folder", "r", "p", ".jpg")
    assert [what for what, _ in remote.calls] == ["put", "move"]


def test_a_password_in_the_storage_is_refused(remote: _Recorder) -> None:
    with pytest.raises(CollectError, match="Airflow connection") as caught:
        keep_picture(DATA, "gs://key:SECRET@bucket/x", "r", "p", ".jpg")
    assert "SECRET" not in caught.value.message
    assert remote.calls == []


def test_bytes_may_be_kept_beside_the_pictures(tmp_path: Path) -> None:
    uri = keep_bytes(b"<html>", str(tmp_path), "run-1/report.html")
    assert read_picture(uri) == b"<html>"


def test_a_file_of_any_size_is_kept_in_place_of_another_and_removed(
    tmp_path: Path, remote: _Recorder
) -> None:
    path = tmp_path / "rows.csv"
    for storage_url in (str(tmp_path / "kept"), "memory://folder"):
        for content in (b"first", b"second"):
            path.write_bytes(content)
            with path.open("rb") as file:
                uri = keep_file(file, storage_url, "run-1/failures.csv")
            assert read_picture(uri) == content
        for _ in range(2):
            remove_file(storage_url, "run-1/failures.csv")
            assert not picture_exists(uri)
    assert [what for what, _ in remote.calls] == ["move", "move"]
    assert remote.find("/") == []
