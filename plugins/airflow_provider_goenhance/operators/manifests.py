# SPDX-License-Identifier: Apache-2.0
"""The manifests that a plan task reads: those it was given, or those whose arrival started the run."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..exceptions import ManifestError
from .arguments import text

if TYPE_CHECKING:
    from airflow.sdk import Context

    from ..manifest.model import Manifest
    from ..manifest.read import Options


def read_manifests(
    locations: Sequence[tuple[str, str | None]],
    options: Options,
    *,
    sql: str | None = None,
    sql_conn_id: str | None = None,
    reference_manifest: str | None = None,
) -> Iterator[Manifest]:
    """
    Read manifests one after the other. A pair_id is unique over all of them, and so is the limit.

    :param locations: each with the Airflow connection of its storage
    :param options: how they are read
    :param sql: the query whose rows are the manifest, instead of locations
    :param sql_conn_id: its connection
    :param reference_manifest: location of the reference images of a matrix
    :raises ManifestError: when one of them cannot be used
    """
    from ..hooks.manifest_query import query_manifest
    from ..manifest.read import ManifestStream, open_manifest
    from ..manifest.validate import PairIds

    if sql is not None:
        yield ManifestStream(query_manifest(sql, str(sql_conn_id)), options).collect()
        return
    ids = PairIds()
    for location, conn_id in locations:
        stream = open_manifest(
            location, conn_id=conn_id, options=options, reference_manifest=reference_manifest, ids=ids
        )
        manifest = stream.collect()
        yield manifest
        if options.limit is not None:
            left = options.limit - len(manifest.pairs)
            if left <= 0:
                return
            options = dataclasses.replace(options, limit=left)


def manifests_of(argument: Any, conn_id: str | None, context: Context) -> list[tuple[str, str | None]]:
    """
    Return the manifests of a task, each with the connection of its storage.

    :param argument: the operator's argument: a location, several, or a JSON list of them; blank for those of the
        asset events that started the run
    :param conn_id: the operator's connection
    :raises ManifestError: when there is none
    """
    if isinstance(argument, list | tuple):
        given = [location for one in argument if (location := text(one))]
    else:
        given = _several(text(argument) or "")
    if given:
        return [(location, conn_id) for location in dict.fromkeys(given)]
    found = dict(_of_events(context, conn_id))
    if not found:
        raise ManifestError(
            "manifest must be a path or URI; it is empty, and the run was not started by the arrival of a manifest."
        )
    return list(found.items())


def _several(location: str) -> list[str]:
    if location.startswith("["):
        try:
            read = json.loads(location)
        except ValueError:
            return [location]
        if isinstance(read, list):
            return [one for item in read if (one := text(item))]
    return [location] if location else []


def _of_events(context: Context, conn_id: str | None) -> Iterator[tuple[str, str | None]]:
    """Yield the manifests in the asset events of the run: those of a watcher, and those in ``extra["manifest"]``."""
    events: Any = context.get("triggering_asset_events") or {}
    for of_asset in events.values():
        for event in of_asset:
            extra = event.extra if isinstance(event.extra, Mapping) else {}
            payload = extra.get("payload")
            facts = payload if isinstance(payload, Mapping) else extra
            if location := text(facts.get("manifest")):
                yield location, conn_id or text(facts.get("conn_id"))
