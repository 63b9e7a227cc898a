# SPDX-License-Identifier: Apache-2.0
"""Delete files from storage, and find the files that a run keeps beside its pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .names import THUMBNAILS, folder_for
from .storage import _existing_local_path, _local_path, _naming_errors, _remote_path, folder_and_name

#: The files of a run's tasks, each in a folder of its task; the contact sheets are beside the pictures.
OF_TASKS = ("failures.csv", "rejected.csv")
SHEET_PREFIX = "contact-sheet-"


def delete_file(uri: str, conn_id: str | None = None) -> bool:
    """
    Delete a file, and return whether there was one. A bucket that keeps versions keeps those of the file.

    :param uri: as :func:`.storage.keep_picture` returned it, or a plain local path
    :param conn_id: Airflow connection of the storage
    :raises CollectError: ``not_kept`` if the storage cannot be used
    """
    with _naming_errors("delete", uri):
        path = _existing_local_path(uri)
        if path is not None:
            found = path.is_file()
            path.unlink(missing_ok=True)
            return found
        remote = _remote_path(uri, conn_id)
        remote.fs.invalidate_cache(remote.path)
        if not remote.fs.exists(remote.path):
            return False
        remote.fs.rm_file(remote.path)
        return True


def storage_of(uri: str, run_id: str) -> str | None:
    """Return the storage of a picture that a run keeps; ``None`` if the picture is not in the run's folder."""
    folder, _ = folder_and_name(uri)
    storage, _, name = folder.rpartition("/")
    return storage if name == folder_for(run_id) else None


def files_of_tasks(storage: str, run_id: str, conn_id: str | None = None) -> Iterator[tuple[str, str]]:
    """
    Yield the contact sheets, ``failures.csv`` and ``rejected.csv`` of a run, of all Dags with a run of that name.

    :return: the name that tells their Dag, and the URI
    :raises CollectError: ``not_kept`` if the storage cannot be used
    """
    folder = f"{storage.rstrip('/')}/{folder_for(run_id)}"
    with _naming_errors("list", folder):
        names, folders = _list(folder, conn_id)
        for name in names:
            if name.startswith(SHEET_PREFIX) and name.endswith(".html"):
                yield name.removeprefix(SHEET_PREFIX), _uri(folder, name)
        for task in folders:
            # The thumbnails may be many.
            if task == THUMBNAILS:
                continue
            inside, _ = _list(f"{folder}/{task}", conn_id)
            for name in OF_TASKS:
                if name in inside:
                    yield task, _uri(f"{folder}/{task}", name)


def _list(folder: str, conn_id: str | None) -> tuple[list[str], list[str]]:
    """Return the names of the files and folders in a folder; none if it does not exist."""
    path = _local_path(folder, quoted=False)
    if path is not None:
        path = path.expanduser()
        entries = sorted(path.iterdir()) if path.is_dir() else []
        return [e.name for e in entries if e.is_file()], [e.name for e in entries if e.is_dir()]
    remote = _remote_path(folder, conn_id)
    remote.fs.invalidate_cache(remote.path)
    try:
        found = remote.fs.ls(remote.path, detail=True)
    except FileNotFoundError:
        return [], []
    names = [(entry["name"].rstrip("/").rpartition("/")[2], entry["type"]) for entry in found]
    return [n for n, kind in names if kind == "file"], [n for n, kind in names if kind == "directory"]


def _uri(folder: str, name: str) -> str:
    path = _local_path(folder, quoted=False)
    return f"{folder}/{name}" if path is None else Path(path.expanduser().absolute(), name).as_uri()
