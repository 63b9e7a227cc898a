# SPDX-License-Identifier: Apache-2.0
"""A manifest reads local pictures from the folders that the configuration names, and from no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_goenhance.exceptions import ErrorCode, InputError
from airflow_provider_goenhance.inputs.local_files import LocalFiles
from airflow_provider_goenhance.picture_address import PictureAddress, read_address


def address(path: object) -> PictureAddress:
    found = read_address(str(path))
    assert found is not None
    return found


def test_the_version_is_that_of_the_content(tmp_path: Path) -> None:
    store, one, other = LocalFiles([str(tmp_path)]), tmp_path / "1.jpg", tmp_path / "2.jpg"
    one.write_bytes(b"picture")
    other.write_bytes(b"picture")
    assert store.look(address(one)) == store.look(address(other.as_uri()))
    other.write_bytes(b"changed")
    assert store.look(address(one)).version != store.look(address(other)).version


def test_a_file_that_changes_while_it_is_read_is_not_sent(tmp_path: Path) -> None:
    store, file = LocalFiles([str(tmp_path)]), tmp_path / "1.jpg"
    file.write_bytes(b"picture")
    found = store.look(address(file))
    file.write_bytes(b"changed")
    with pytest.raises(InputError, match="overwritten"):
        store.read(address(file), found)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"{tmp_path}/1.jpg is not there") as caught:
        LocalFiles([str(tmp_path)]).look(address(tmp_path / "1.jpg"))
    assert caught.value.error_code == ErrorCode.INPUT_NOT_FOUND


@pytest.mark.parametrize("path", ["/etc/passwd", "{folder}/../secret.jpg", "{folder}/link.jpg"])
def test_no_path_leads_out_of_the_folders(tmp_path: Path, path: str) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (folder / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    with pytest.raises(InputError, match="input_folders") as caught:
        LocalFiles([str(folder)]).look(address(path.format(folder=folder)))
    assert caught.value.error_code == ErrorCode.INPUT_NOT_ALLOWED


def test_no_folder_may_be_read_by_default(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(b"picture")
    with pytest.raises(InputError, match=r"may be read \(none\)"):
        LocalFiles([]).look(address(tmp_path / "1.jpg"))
