# SPDX-License-Identifier: Apache-2.0
"""Read C2PA claims with the c2pa library itself."""

from __future__ import annotations

import io
import json
from typing import Any

from airflow_provider_goenhance.pictures.kinds import HEAD, kind_of_bytes

_SETTINGS = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}


def read_claim(data: bytes) -> dict[str, Any] | None:
    """Return the active manifest of a picture with its ``validation_state``, ``None`` if it has none."""
    import c2pa

    mime_type = f"image/{kind_of_bytes(data[:HEAD])}"
    with c2pa.Context.from_dict(_SETTINGS) as context:
        reader = c2pa.Reader.try_create(mime_type, io.BytesIO(data), context=context)
        if reader is None:
            return None
        with reader:
            store = json.loads(reader.json())
            active: dict[str, Any] = store["manifests"][store["active_manifest"]]
            return {**active, "validation_state": store.get("validation_state")}
