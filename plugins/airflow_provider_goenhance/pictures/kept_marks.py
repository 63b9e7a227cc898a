# SPDX-License-Identifier: Apache-2.0
"""Mark a picture that is in storage already, in a copy beside it."""

from __future__ import annotations

import hashlib
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from .formats.mark import NEEDS_SIDECAR, mark_picture
from .sidecar import sidecar_for
from .storage import KeptPicture, folder_and_name, keep_bytes, picture_exists, read_picture
from .verify import identify_picture

if TYPE_CHECKING:
    from .sidecar import SwapFacts


def mark_kept_picture(
    uri: str,
    *,
    facts: SwapFacts,
    run_id: str,
    pair_id: str,
    conn_id: str | None = None,
    system: str = "GoEnhance",
) -> KeptPicture:
    """
    Return a kept picture that discloses its origin: itself if it does, or else a marked copy.

    The copy is stored as ``<name>-<hash>.<ext>`` in the same folder; the picture itself is not changed. A picture that
    cannot carry the mark gets a sidecar.

    :param uri: URI of the picture
    :param facts: content of the sidecar
    :param run_id: run that the sidecar names
    :param pair_id: pair that the sidecar names
    :param conn_id: Airflow connection of the storage
    :param system: name of the AI system in the mark
    :raises CollectError: ``not_kept`` if the storage cannot be used, ``truncated_image`` if the picture is damaged
    """
    data = read_picture(uri, conn_id)
    folder, name = folder_and_name(uri)
    mark, marked = mark_picture(data, system=system)
    sha256 = hashlib.sha256(marked).hexdigest()
    if mark == "marked":
        path = PurePosixPath(name)
        # No pair's own file has a name of this shape: see names.file_name_for.
        copy = f"{path.stem}-{sha256[:12]}{path.suffix}"
        return KeptPicture(
            keep_bytes(marked, folder, copy, conn_id=conn_id), copy, sha256, len(marked), mark=mark
        )
    kept = KeptPicture(uri, name, sha256, len(data), mark=mark)
    if mark in NEEDS_SIDECAR and not picture_exists(f"{uri}.json", conn_id):
        content = sidecar_for(
            facts,
            identify_picture(data),
            run_id=run_id,
            pair_id=pair_id,
            sha256=sha256,
            size=len(data),
            delivered_sha256=sha256,
            mark=mark,
            claim=False,
            system=system,
        )
        keep_bytes(content, folder, f"{name}.json", conn_id=conn_id)
    return kept
