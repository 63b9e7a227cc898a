# SPDX-License-Identifier: Apache-2.0
"""
Lineage of the operators for OpenLineage: the manifest is read, the results table and the storage are written.

Everything is read from the results table when Airflow asks, never from the operator: after a deferral it is a new
object, in another process. Secrets never get into a name: no user, password or query of any URI does.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import sqlalchemy as sa

    from .results.ledger import Ledger
    from .results.run_rows import RunRows
    from .results.run_summary import RunSummary

log = logging.getLogger(__name__)

#: Key of the package's own facet of a run.
RUN_FACET = "goenhance_run"
#: Datasets of one kind that an event names at most.
MOST_DATASETS = 100


@dataclass(frozen=True, slots=True)
class Dataset:
    """
    A dataset, as OpenLineage names it.

    :param namespace: where it is
    :param name: its name there
    """

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class RunLineage:
    """
    What a task has read and written.

    :param manifests: the manifests of its rows
    :param table: the results table
    :param folders: where its pictures are kept
    :param summary: its rows in figures
    """

    manifests: list[Dataset]
    table: Dataset
    folders: list[Dataset]
    summary: RunSummary


@dataclass(frozen=True, slots=True)
class RowsToTrace:
    """
    The rows that a task's lineage is about.

    :param results_conn_id: connection of the results table
    :param dag_id: their Dag
    :param run_id: their run
    :param role: what the task does with them
    :param selection: further arguments of :class:`.results.run_rows.RunRows`
    """

    results_conn_id: str
    dag_id: str
    run_id: str
    role: Literal["plan", "swap", "report"] = "swap"
    selection: dict[str, Any] = field(default_factory=dict)


class LineageMixin:
    """An operator whose lineage is in the results table. Airflow asks for it where OpenLineage is installed."""

    def rows_to_trace(self, ti: Any) -> RowsToTrace | None:
        """Return the rows of a task instance, ``None`` if they are in no results table."""
        raise NotImplementedError

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Return what a task that has succeeded has read and written."""
        return facets_of(self, task_instance)

    def get_openlineage_facets_on_failure(self, task_instance: Any) -> Any:
        """Return what a task that has failed has read and written: some of its rows may be paid for."""
        return facets_of(self, task_instance)


def facets_of(operator: LineageMixin, ti: Any) -> Any:
    """Return the inputs, outputs and run facets of a task. What prevents that is logged, and never raised."""
    from airflow.providers.openlineage.extractors import OperatorLineage

    try:
        rows = operator.rows_to_trace(ti)
        if rows is None:
            return OperatorLineage()
        lineage = read_lineage(rows)
    except Exception as error:  # noqa: BLE001  lineage must not fail swaps that were paid for
        log.warning("The lineage of the task could not be read: %s", error)
        return OperatorLineage()
    manifests, table = _datasets(lineage.manifests), _datasets([lineage.table])
    return OperatorLineage(
        inputs=table if rows.role == "report" else manifests,
        outputs=[
            *(_stored(lineage) if rows.role != "plan" else []),
            *(table if rows.role != "report" else []),
        ],
        run_facets={RUN_FACET: _run_facet(lineage.summary)},
    )


def read_lineage(rows: RowsToTrace) -> RunLineage:
    """
    Read from the results table what a task has read and written.

    :raises ResultsTableError: when the table cannot be read
    """
    from .hooks.results import open_ledger
    from .results.plan import RunKey
    from .results.run_rows import RunRows
    from .results.run_summary import summarize

    with open_ledger(rows.results_conn_id, must_exist=True) as ledger:
        found = RunRows(ledger.database, RunKey(rows.dag_id, rows.run_id), counted=True, **rows.selection)
        return RunLineage(
            manifests=_named(_manifests(ledger, found)),
            table=table_dataset(ledger.database.url, ledger.swaps.fullname),
            folders=_named(uri.rpartition("/")[0] for uri in found.some_results()),
            summary=summarize(found),
        )


def note_reads(task: Any, locations: Iterable[str]) -> None:
    """
    Report what a task has read to Airflow's collector of hook lineage, for readers other than OpenLineage's.

    Files in an ``ObjectStoragePath`` report themselves, and so do the pictures that are stored there.

    :param task: the operator
    :param locations: of manifests
    """
    try:
        from airflow.providers.common.compat.sdk import get_hook_lineage_collector

        collector = get_hook_lineage_collector()
        for location in locations:
            found = dataset_of(location)
            if found is not None and (found.namespace == "file" or found.namespace.startswith("http")):
                root = "file://" if found.namespace == "file" else f"{found.namespace}/"
                collector.add_input_asset(context=task, uri=f"{root}{found.name}")
    except Exception:
        log.debug("The manifests could not be reported as hook lineage.", exc_info=True)


def _manifests(ledger: Ledger, rows: RunRows) -> Iterable[str]:
    column = ledger.swaps.c.manifest
    query = rows.select(column).where(column.is_not(None)).distinct().limit(MOST_DATASETS)
    return sorted(str(row["manifest"]) for row in ledger.database.read(query))


def _named(uris: Iterable[str]) -> list[Dataset]:
    found = (dataset_of(uri) for uri in uris)
    return list(dict.fromkeys(dataset for dataset in found if dataset is not None))[:MOST_DATASETS]


def dataset_of(location: str) -> Dataset | None:
    """
    Return the dataset at a location: a local path, or a URI without its user, password, query and fragment.

    :return: ``None`` for what is not at an address, such as the pairs that a task was passed
    """
    from urllib.parse import urlsplit

    if location.startswith("/"):
        return Dataset("file", location)
    if "://" not in location:
        return None
    try:
        parts = urlsplit(location)
    except ValueError:
        return None
    if parts.scheme == "file":
        return Dataset("file", parts.path)
    # In an address of Azure, what stands before the host is the container.
    azure = parts.scheme in {"abfs", "abfss", "wasb", "wasbs"}
    host = parts.netloc if azure and ":" not in parts.netloc else parts.netloc.rpartition("@")[2]
    return Dataset(f"{parts.scheme}://{host}", parts.path.strip("/") or "/")


def table_dataset(url: sa.URL, table: str) -> Dataset:
    """
    Return a table as a dataset.

    :param url: the database; its user and password are left out
    :param table: name of the table, with its schema if it is in another one
    """
    backend = url.get_backend_name()
    if backend == "sqlite":
        return Dataset("file", f"{url.database}:{table}")
    if backend == "postgresql":
        name = table if "." in table else f"public.{table}"
        return Dataset(f"postgres://{url.host}:{url.port or 5432}", f"{url.database}.{name}")
    port = f":{url.port}" if url.port else ""
    return Dataset(f"{backend}://{url.host}{port}", f"{url.database}.{table}")


def _datasets(found: Iterable[Dataset]) -> list[Any]:
    from airflow.providers.common.compat.openlineage import facet

    return [facet.Dataset(namespace=dataset.namespace, name=dataset.name) for dataset in found]


def _stored(lineage: RunLineage) -> list[Any]:
    """Return the storage, with how many pictures the task has there."""
    from airflow.providers.common.compat.openlineage import facet

    from .results.states import Status

    pictures = facet.OutputStatisticsOutputDatasetFacet(rowCount=lineage.summary.counts[Status.SUCCEEDED])
    return [
        facet.OutputDataset(
            namespace=folder.namespace,
            name=folder.name,
            outputFacets={"outputStatistics": pictures} if len(lineage.folders) == 1 else {},
        )
        for folder in lineage.folders
    ]


def _run_facet(summary: RunSummary) -> Any:
    import attr
    from airflow.providers.common.compat.openlineage.facet import RunFacet

    @attr.define
    class GoEnhanceRunFacet(RunFacet):
        """
        The rows of a task in figures.

        :param pairs: all its rows
        :param counts: rows in each status
        :param attempts: submits that may have been accepted, and so paid for
        :param credits: what GoEnhance has charged for them, as far as it has said so
        :param medianSeconds: from the submit to the kept picture
        :param slowestSeconds: the same for the slowest one
        """

        pairs: int
        counts: dict[str, int]
        attempts: int
        credits: int | None
        medianSeconds: int | None  # noqa: N815  as OpenLineage names its fields
        slowestSeconds: int | None  # noqa: N815

    return GoEnhanceRunFacet(
        pairs=summary.rows,
        counts={str(status): number for status, number in summary.counts.items()},
        attempts=summary.attempts,
        credits=summary.cost,
        medianSeconds=summary.median_seconds,
        slowestSeconds=summary.slowest_seconds,
    )
