# SPDX-License-Identifier: Apache-2.0
"""The names of datasets, which never hold a secret."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from airflow_provider_goenhance.lineage import Dataset, dataset_of, note_reads, table_dataset
from tests.airflow_versions import HookLineageCollector


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
