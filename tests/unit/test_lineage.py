# SPDX-License-Identifier: Apache-2.0
"""What a task has read and written, and the names of datasets, which never hold a secret."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_provider_goenhance.hooks.results import open_ledger
from airflow_provider_goenhance.lineage import (
    RUN_FACET,
    Dataset,
    LineageMixin,
    RowsToTrace,
    dataset_of,
    note_reads,
    table_dataset,
)
from airflow_provider_goenhance.results.ledger import RunKey
from airflow_provider_goenhance.results.states import Status
from tests.airflow_versions import HookLineageCollector
from tests.swaps import planned


@pytest.mark.parametrize(
    ("location", "namespace", "name"),
    [
        ("/data/pairs.csv", "file", "/data/pairs.csv"),
        ("file:///data/pairs.csv", "file", "/data/pairs.csv"),
        ("s3://bucket/in/pairs.csv", "s3://bucket", "in/pairs.csv"),
        ("s3://my_conn@bucket/in/pairs.csv", "s3://bucket", "in/pairs.csv"),
        ("gs://bucket", "gs://bucket", "/"),
        (
            "abfss://box@account.dfs.core.windows.net/a.csv",
            "abfss://box@account.dfs.core.windows.net",
            "a.csv",
        ),
        ("abfss://user:secret@account/a.csv", "abfss://account", "a.csv"),
        ("https://host:8443/pairs.csv?X-Amz-Signature=secret", "https://host:8443", "pairs.csv"),
        ("https://user:secret@host/pairs.csv#secret", "https://host", "pairs.csv"),
    ],
)
def test_a_location_is_a_dataset_without_its_secrets(location: str, namespace: str, name: str) -> None:
    assert dataset_of(location) == Dataset(namespace, name)


@pytest.mark.parametrize(
    "location", ["pairs of task swap", "run:nightly/manual", "query of connection db", "http://["]
)
def test_what_has_no_address_is_no_dataset(location: str) -> None:
    assert dataset_of(location) is None


@pytest.mark.parametrize(
    ("url", "table", "namespace", "name"),
    [
        ("sqlite:////data/results.db", "goenhance_swaps", "file", "/data/results.db:goenhance_swaps"),
        ("postgresql+psycopg2://u:secret@db/swaps", "t", "postgres://db:5432", "swaps.public.t"),
        ("postgresql://u:secret@db:6000/swaps", "studio.t", "postgres://db:6000", "swaps.studio.t"),
        ("mysql+pymysql://u:secret@db:3306/swaps", "t", "mysql://db:3306", "swaps.t"),
    ],
)
def test_the_results_table_is_a_dataset_without_user_and_password(
    url: str, table: str, namespace: str, name: str
) -> None:
    assert table_dataset(sa.make_url(url), table) == Dataset(namespace, name)


def test_manifests_that_no_storage_path_has_read_are_reported_as_hook_lineage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    collector = HookLineageCollector()
    monkeypatch.setattr(
        "airflow.providers.common.compat.sdk.get_hook_lineage_collector", lambda: collector, raising=False
    )

    note_reads(
        object(),
        [
            "/data/a.csv",
            "https://user:secret@host/b.csv?sig=secret",
            "s3://bucket/c.csv",
            "pairs of task swap",
        ],
    )

    assert [info.asset.uri for info in collector.collected_assets.inputs] == [
        "file:///data/a.csv",
        "https://host/b.csv",
    ]


def test_a_collector_that_fails_does_not_fail_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("no collector")

    monkeypatch.setattr("airflow.providers.common.compat.sdk.get_hook_lineage_collector", fail, raising=False)
    note_reads(object(), ["/data/a.csv"])


# -- facets ------------------------------------------------------------------------------------------------------------


class Traced(LineageMixin):
    """An operator whose rows are those of a run, or cannot be said."""

    def __init__(self, rows: RowsToTrace | Exception | None) -> None:
        self.rows = rows

    def rows_to_trace(self, ti: Any) -> RowsToTrace | None:
        if isinstance(self.rows, Exception):
            raise self.rows
        return self.rows


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Plan a run whose rows are in two folders, and return its table as OpenLineage names it."""
    pytest.importorskip("airflow.providers.openlineage", reason="OpenLineage is not installed")
    path = tmp_path / "results.db"
    monkeypatch.setenv("AIRFLOW_CONN_RESULTS_TEST", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    manifest = "https://user:secret@host/pairs.csv?sig=secret"
    done: dict[str, Any] = {"status": Status.SUCCEEDED, "attempts": 1, "cost": 2, "manifest": manifest}
    with open_ledger("results_test") as ledger:
        ledger.plan(
            RunKey("dag", "run"),
            [
                planned(1, **done, result_uri="s3://kept/run/1.jpg"),
                planned(2, **done, result_uri="s3://kept/run/2.jpg"),
                planned(3, status=Status.FAILED, attempts=1, manifest=manifest),
                planned(4, status=Status.PLANNED, manifest="pairs of task swap", task_id="other"),
            ],
        )
    return ("file", f"{path}:goenhance_swaps")


def rows_of(role: Any, **selection: Any) -> RowsToTrace:
    return RowsToTrace("results_test", "dag", "run", role, selection)


def names(datasets: Any) -> list[tuple[str, str]]:
    return [(dataset.namespace, dataset.name) for dataset in datasets]


MANIFEST = ("https://host", "pairs.csv")
KEPT = ("s3://kept", "run")


def test_a_plan_reads_the_manifest_and_writes_the_table(table: tuple[str, str]) -> None:
    found = Traced(rows_of("plan")).get_openlineage_facets_on_complete(None)
    assert (names(found.inputs), names(found.outputs)) == ([MANIFEST], [table])


@pytest.mark.parametrize("event", ["complete", "failure"])
def test_a_swap_task_writes_pictures_too_whether_it_succeeds_or_fails(
    table: tuple[str, str], event: str
) -> None:
    operator = Traced(rows_of("swap", task_id="swap"))
    found = getattr(operator, f"get_openlineage_facets_on_{event}")(None)

    assert (names(found.inputs), names(found.outputs)) == ([MANIFEST], [KEPT, table])
    assert found.outputs[0].outputFacets["outputStatistics"].rowCount == 2
    facet = found.run_facets[RUN_FACET]
    counts = {status: number for status, number in facet.counts.items() if number}
    assert (facet.pairs, counts) == (3, {"succeeded": 2, "failed": 1})
    assert (facet.attempts, facet.credits) == (3, 4)


def test_a_report_reads_the_table_and_writes_pictures_only(table: tuple[str, str]) -> None:
    found = Traced(rows_of("report")).get_openlineage_facets_on_complete(None)

    assert (names(found.inputs), names(found.outputs)) == ([table], [KEPT])
    assert found.run_facets[RUN_FACET].pairs == 4


def test_pictures_in_several_folders_are_not_counted_for_each_of_them(table: tuple[str, str]) -> None:
    with open_ledger("results_test") as ledger:
        row = planned(9, run_id="two", status=Status.SUCCEEDED, result_uri="s3://kept/two/9.jpg")
        other = planned(
            8, run_id="two", task_id="b", status=Status.SUCCEEDED, result_uri="file:///kept/two/8.jpg"
        )
        ledger.plan(RunKey("dag", "two"), [row, other])
    found = Traced(RowsToTrace("results_test", "dag", "two")).get_openlineage_facets_on_complete(None)

    assert names(found.outputs) == [("file", "/kept/two"), ("s3://kept", "two"), table]
    assert [output.outputFacets for output in found.outputs[:2]] == [{}, {}]


@pytest.mark.parametrize(
    ("rows", "logged"),
    [
        (None, ""),
        (ValueError("no such Dag"), "The lineage of the task could not be read: no such Dag"),
        (
            RowsToTrace("no_such_connection", "dag", "run"),
            "could not be read: The connection 'no_such_connection'",
        ),
    ],
)
def test_without_rows_or_a_table_there_is_no_lineage_and_no_error(
    rows: Any, logged: str, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("airflow.providers.openlineage", reason="OpenLineage is not installed")
    found = Traced(rows).get_openlineage_facets_on_failure(None)

    assert (list(found.inputs), list(found.outputs), dict(found.run_facets)) == ([], [], {})
    assert logged in caplog.text
    assert bool(caplog.records) == bool(logged)
