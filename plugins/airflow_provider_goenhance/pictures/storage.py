# SPDX-License-Identifier: Apache-2.0
"""
Store files in a local folder or an object storage: completely or not at all, and idempotently.

A local file is written beside its final path and moved there atomically. An object storage shows an object only when
its upload is complete. Other remote file systems are treated like local ones: a part file, then a move.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from ..compatibility import storage_path
from ..exceptions import CollectError, ErrorCode
from ..redaction import redact_urls
from .atomic_file import NameTakenError, same_bytes, write_whole
from .names import file_name_for, folder_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow.sdk import ObjectStoragePath

    from .formats.mark import MarkOutcome

_OBJECT_STORES = frozenset(
    {"s3", "s3a", "s3n", "gs", "gcs", "abfs", "abfss", "adl", "az", "wasb", "wasbs", "oss"}
)

_PROVIDERS = {
    "s3": "apache-airflow-providers-amazon[s3fs]",
    "gs": "apache-airflow-providers-google",
    "abfs": "apache-airflow-providers-microsoft-azure",
}


@dataclass(frozen=True)
class KeptPicture:
    """
    One picture in storage.

    :param uri: begins with the storage as it was configured; a local one becomes ``file:///...``
    :param name: its name below the storage
    :param sha256: hex digest of the kept bytes
    :param size: bytes
    :param mark: outcome of marking, ``None`` if marking is switched off
    :param sidecar_uri: URI of its sidecar, if it has one
    :param content: the kept bytes, if they were asked for
    """

    uri: str
    name: str
    sha256: str
    size: int
    mark: MarkOutcome | None = None
    sidecar_uri: str | None = None
    content: bytes | None = field(default=None, repr=False, compare=False)


def keep_picture(
    data: bytes,
    storage: str,
    run_id: str,
    pair_id: str,
    extension: str,
    *,
    index: int = 0,
    conn_id: str | None = None,
    img_uuid: str | None = None,
) -> KeptPicture:
    """
    Store a picture as ``<storage>/<run>/<pair>.<ext>``.

    Two Dags that share a storage may have runs, and pairs, of one name. So a different picture of that name is left
    alone, and this one stored beside it as ``<pair>-<hash of its job>.<ext>``.

    :param data: the complete picture
    :param storage: a local folder or the URL of an object storage (``s3://bucket/folder``), optionally with the name
        of an Airflow connection (``s3://my_conn@bucket/folder``)
    :param run_id: names the folder
    :param pair_id: names the file
    :param extension: with its dot
    :param index: which picture of the job
    :param conn_id: Airflow connection of the storage
    :param img_uuid: the picture's job; without it a picture of the same name is replaced
    :raises CollectError: ``not_kept`` if the storage cannot be used
    """
    folder = folder_for(run_id)
    name = f"{folder}/{file_name_for(pair_id, extension, index)}"
    try:
        uri = keep_bytes(data, storage, name, conn_id=conn_id, replace=img_uuid is None)
    except NameTakenError:
        name = f"{folder}/{file_name_for(pair_id, extension, index, apart=img_uuid)}"
        uri = keep_bytes(data, storage, name, conn_id=conn_id)
    return KeptPicture(uri, name, hashlib.sha256(data).hexdigest(), len(data))


def keep_bytes(
    data: bytes, storage: str, name: str, *, conn_id: str | None = None, replace: bool = True
) -> str:
    """
    Store bytes under a name; identical bytes that are there already are left alone.

    :param data: the content
    :param storage: as in :func:`keep_picture`
    :param name: relative, made of safe names
    :param conn_id: Airflow connection of the storage
    :param replace: whether to replace other bytes of that name
    :return: the URI
    :raises CollectError: ``not_kept`` if the storage cannot be used
    :raises NameTakenError: when there are other bytes of that name and ``replace`` is false
    """
    with _naming_errors("store", f"{storage.rstrip('/')}/{name}"):
        folder = _local_path(storage, quoted=False)
        if folder is not None:
            path = Path(folder.expanduser().absolute(), name)
            if not same_bytes(path, data):
                write_whole(path, data, replace=replace)
            return path.as_uri()
        uri = f"{storage.rstrip('/')}/{name}"
        remote = _remote_path(uri, conn_id)
        same = _same_remote(remote, data)
        if same is False and not replace:
            raise NameTakenError(uri)
        if not same:
            _write_remote(remote, lambda path: remote.fs.pipe_file(path, data))
        return uri


def keep_thumbnail(data: bytes, storage: str, name: str, *, conn_id: str | None = None) -> str:
    """
    Store bytes that can be made again under a name, in place of others, and return the URI.

    :param data: the content
    :param storage: as in :func:`keep_picture`
    :param name: relative, made of safe names
    :param conn_id: Airflow connection of the storage
    :raises CollectError: ``not_kept`` if the storage cannot be used
    """
    uri = f"{storage.rstrip('/')}/{name}"
    with _naming_errors("store", uri):
        folder = _local_path(storage, quoted=False)
        if folder is not None:
            path = Path(folder.expanduser().absolute(), name)
            write_whole(path, data, replace=True, lasting=False)
            return path.as_uri()
        remote = _remote_path(uri, conn_id)
        _write_remote(remote, lambda path: remote.fs.pipe_file(path, data))
        return uri


def uri_of(storage: str, name: str) -> str:
    """
    Return the URI that a file of a name in a storage has, as :func:`keep_picture` returns it.

    :raises CollectError: ``not_kept`` if the storage cannot be used
    """
    folder = _local_path(storage, quoted=False)
    if folder is not None:
        return Path(folder.expanduser().absolute(), name).as_uri()
    return f"{storage.rstrip('/')}/{name}"


def keep_file(file: IO[bytes], storage: str, name: str, *, conn_id: str | None = None) -> str:
    """
    Store a file of any size under a name, in place of another one.

    :param file: a file on a local disk with a ``name``, at its beginning
    :param storage: as in :func:`keep_picture`
    :param name: relative, made of safe names
    :param conn_id: Airflow connection of the storage
    :return: the URI
    :raises CollectError: ``not_kept`` if the storage cannot be used
    """
    uri = f"{storage.rstrip('/')}/{name}"
    with _naming_errors("store", uri):
        folder = _local_path(storage, quoted=False)
        if folder is not None:
            path = Path(folder.expanduser().absolute(), name)
            write_whole(path, file, replace=True)
            return path.as_uri()
        remote = _remote_path(uri, conn_id)
        _write_remote(remote, lambda path: remote.fs.put_file(file.name, path))
        return uri


def remove_file(storage: str, name: str, *, conn_id: str | None = None) -> None:
    """
    Remove the file that :func:`keep_file` stored under a name, if there is one.

    :raises CollectError: ``not_kept`` if the storage cannot be used
    """
    uri = f"{storage.rstrip('/')}/{name}"
    with _naming_errors("remove", uri):
        folder = _local_path(storage, quoted=False)
        if folder is not None:
            Path(folder.expanduser().absolute(), name).unlink(missing_ok=True)
            return
        remote = _remote_path(uri, conn_id)
        remote.fs.invalidate_cache(remote.path)
        if remote.fs.exists(remote.path):
            remote.fs.rm_file(remote.path)


def picture_exists(uri: str, conn_id: str | None = None) -> bool:
    """
    Return whether a file is still in storage.

    :param uri: as :func:`keep_picture` returned it, or a plain local path
    :param conn_id: Airflow connection of the storage
    :raises CollectError: ``not_kept`` if the storage cannot be asked
    """
    with _naming_errors("look for", uri):
        if uri.startswith("file:///") and "%" not in uri:
            # As most of ours are: taking the URI of each of a million apart takes longer than to look for its file.
            try:
                return stat.S_ISREG(os.stat(uri[len("file://") :]).st_mode)  # noqa: PTH116
            except (FileNotFoundError, NotADirectoryError):
                return False
        path = _existing_local_path(uri)
        if path is not None:
            return path.is_file()
        remote = _remote_path(uri, conn_id)
        remote.fs.invalidate_cache(remote.path)
        return bool(remote.fs.exists(remote.path))


def read_picture(uri: str, conn_id: str | None = None) -> bytes:
    """
    Return the content of a file in storage.

    :param uri: as :func:`keep_picture` returned it, or a plain local path
    :param conn_id: Airflow connection of the storage
    :raises CollectError: ``not_kept`` if it is not there or the storage cannot be used
    """
    with _naming_errors("read", uri):
        path = _existing_local_path(uri)
        if path is not None:
            return path.read_bytes()
        remote = _remote_path(uri, conn_id)
        data: bytes = remote.fs.cat_file(remote.path)
        return data


def read_at_most(uri: str, max_bytes: int, conn_id: str | None = None) -> bytes:
    """
    Return the content of a file in storage that is not larger than a number of bytes.

    :param uri: as :func:`keep_picture` returned it, or a plain local path
    :param conn_id: Airflow connection of the storage
    :raises CollectError: ``too_large``; ``not_kept`` if it is not there or the storage cannot be used
    """
    with _naming_errors("read", uri):
        path = _existing_local_path(uri)
        place = _remote_path(uri, conn_id) if path is None else path
        size = place.stat().st_size
        if size > max_bytes:
            raise CollectError(
                f"{uri} is larger than the {max_bytes / 2**20:g} MB allowed.", error_code=ErrorCode.TOO_LARGE
            )
        return read_picture(uri, conn_id)


def folder_and_name(uri: str) -> tuple[str, str]:
    """Return the storage that is the folder of a kept file, and the file's name in it."""
    path = _existing_local_path(uri)
    if path is not None:
        return str(path.parent), path.name
    folder, _, name = uri.rpartition("/")
    return folder, name


def _local_path(storage: str, *, quoted: bool) -> Path | None:
    """Return the path of a local storage, ``None`` for a remote one."""
    if not storage.strip():
        raise CollectError(
            "storage must be a local folder or a URL; it is empty.", error_code=ErrorCode.NOT_KEPT
        )
    if "://" not in storage:
        return Path(storage)
    parts = urlsplit(storage)
    if parts.scheme not in {"file", "local"}:
        return None
    if parts.netloc not in {"", "localhost"}:
        raise CollectError(
            f"storage must be an absolute path; got {storage!r}. Write {parts.scheme}:///folder.",
            error_code=ErrorCode.NOT_KEPT,
        )
    # Not parts.path: a folder may have # and ? in its name.
    path = storage.split("://", 1)[1].removeprefix("localhost")
    return Path(unquote(path) if quoted else path)


def _existing_local_path(uri: str) -> Path | None:
    """Return the path of a local URI. Ours are quoted; those that Airflow writes are not."""
    path = _local_path(uri, quoted=True)
    if path is None or path.exists():
        return path
    return _local_path(uri, quoted=False)


def _remote_path(uri: str, conn_id: str | None) -> ObjectStoragePath:
    from airflow.sdk.io import has_fs

    parts = urlsplit(uri)
    if not has_fs(parts.scheme):
        package = _PROVIDERS.get(parts.scheme, "the Airflow provider package that registers it")
        raise CollectError(
            f"Airflow has no file system for {parts.scheme}://; install {package}.",
            error_code=ErrorCode.NOT_KEPT,
        )
    user, found, _ = parts.netloc.rpartition("@")
    if found and ":" in user:
        raise CollectError(
            "The URL of the storage contains a password: move it to an Airflow connection and set storage_conn_id.",
            error_code=ErrorCode.NOT_KEPT,
        )
    return storage_path(uri, conn_id)


def _same_remote(remote: ObjectStoragePath, data: bytes) -> bool | None:
    """Return whether the object has these bytes; ``None`` if there is no object."""
    remote.fs.invalidate_cache(remote.path)
    try:
        info: dict[str, Any] = remote.fs.info(remote.path)
    except FileNotFoundError:
        return None
    return info.get("size") == len(data) and remote.fs.cat_file(remote.path) == data


def _write_remote(remote: ObjectStoragePath, write: Callable[[str], object]) -> None:
    if remote.protocol in _OBJECT_STORES:
        write(remote.path)
        return
    folder, _, name = remote.path.rpartition("/")
    part = f"{folder}/.{name}.{os.urandom(4).hex()}.part"
    remote.fs.makedirs(folder, exist_ok=True)
    try:
        write(part)
        remote.fs.mv(part, remote.path)
    except BaseException:
        with contextlib.suppress(Exception):
            remote.fs.rm_file(part)
        raise


@contextlib.contextmanager
def _naming_errors(doing: str, uri: str) -> Iterator[None]:
    """Convert any error of a storage into one that names the URI and the cause."""
    try:
        yield
    except (CollectError, NameTakenError):
        raise
    except FileNotFoundError as error:
        raise CollectError(
            f"Could not {doing} {uri}: there is no such file, folder or bucket.",
            error_code=ErrorCode.NOT_KEPT,
        ) from error
    except Exception as error:
        cause = redact_urls(str(error)).strip() or type(error).__name__
        raise CollectError(f"Could not {doing} {uri}: {cause}", error_code=ErrorCode.NOT_KEPT) from error
