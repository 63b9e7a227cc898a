# SPDX-License-Identifier: Apache-2.0
"""The manifests that a plan task reads: those it was given, or those whose arrival started the run."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..exceptions import ManifestError
from .arguments import choice, flag, mapping, text, whole

if TYPE_CHECKING:
    from airflow.sdk import Context

    from ..manifest.read import ManifestStream, Options
    from ..manifest.source import Source
    from .plan import GoEnhancePlanOperator


def open_manifests(operator: GoEnhancePlanOperator, context: Context) -> Iterator[ManifestStream]:
    """
    Open the manifests of a task one after the other; read each before the next one is asked for.

    A pair_id is unique over all of them, and the limit counts over all.

    :raises ManifestError: when there is none, or one of them cannot be found
    :raises ValueError: when arguments contradict each other
    """
    from ..execution.past_runs import names_run
    from ..hooks.manifest_query import query_manifest
    from ..manifest.read import ManifestStream, open_manifest
    from ..manifest.validate import PairIds

    options = _options(operator)
    sql, conn_id = text(operator.manifest_sql), text(operator.manifest_conn_id)
    reference_manifest = text(operator.reference_manifest)
    if reference_manifest and not options.matrix:
        raise ValueError("reference_manifest is for mode='matrix'; set that, or omit it.")
    if sql is not None:
        if text(operator.manifest) or reference_manifest or not conn_id:
            raise ValueError(
                "manifest_sql needs manifest_conn_id, and neither manifest nor reference_manifest."
            )
        yield ManifestStream(query_manifest(sql, conn_id), options)
        return
    ids = PairIds()
    for location, its_conn_id in manifests_of(operator.manifest, conn_id, context):
        if names_run(location):
            yield (stream := ManifestStream(_run(operator, location, options, context), options, ids=ids))
        else:
            stream = open_manifest(
                location, conn_id=its_conn_id, options=options, reference_manifest=reference_manifest, ids=ids
            )
            yield stream
        if options.limit is not None:
            left = options.limit - stream.accepted
            if left <= 0:
                return
            options = dataclasses.replace(options, limit=left)


def _run(operator: GoEnhancePlanOperator, location: str, options: Options, context: Context) -> Source:
    """Return the rows of an earlier run as a manifest."""
    from ..execution.past_runs import open_run, read_statuses
    from ..hooks.results import open_ledger
    from ..results.ledger import RunKey

    if options.matrix:
        raise ValueError(f"manifest {location} has pairs: read it with mode='pairs'.")
    ti = context["ti"]
    with open_ledger(str(operator.results_conn_id)) as ledger:
        return open_run(ledger, location, read_statuses(operator.statuses), RunKey(ti.dag_id, ti.run_id))


def has_several(operator: GoEnhancePlanOperator, context: Context) -> bool:
    """
    Return whether a task may read several manifests.

    :raises ManifestError: when there is none
    """
    return text(operator.manifest_sql) is None and len(manifests_of(operator.manifest, None, context)) > 1


def _options(operator: GoEnhancePlanOperator) -> Options:
    """Return how the manifests are read; strict mode is the task's, which keeps the rejected rows first."""
    from ..manifest.read import Options

    return Options(
        limit=whole(operator.limit, "limit") or None,
        require_consent=flag(operator.require_consent, "require_consent"),
        columns=mapping(operator.columns, "columns"),
        matrix=choice(operator.mode, "mode", ("pairs", "matrix")) == "matrix",
    )


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
