# SPDX-License-Identifier: Apache-2.0
"""The example Dags: each parses, keeps its watcher through serialization, and plans what landed."""

from __future__ import annotations

from pathlib import Path

import airflow_provider_goenhance
from airflow_provider_goenhance.triggers.manifest import GoEnhanceManifestTrigger
from tests.airflow_versions import dag_bag, through_serialization

FOLDER = Path(airflow_provider_goenhance.__file__).parent / "example_dags"


def test_every_example_parses_and_survives_serialization() -> None:
    bag = dag_bag(FOLDER)
    assert bag.import_errors == {}
    assert sorted(bag.dags) == [
        "goenhance_approval",
        "goenhance_collect_hourly",
        "goenhance_done_by_six",
        "goenhance_downstream",
        "goenhance_manifest_lands",
        "goenhance_notify",
        "goenhance_retention",
        "goenhance_taskflow",
    ]
    for dag in bag.dags.values():
        assert through_serialization(dag).task_ids == dag.task_ids


def test_the_manifest_example_is_scheduled_on_a_watched_folder() -> None:
    dag = dag_bag(FOLDER).dags["goenhance_manifest_lands"]
    [asset] = dag.timetable.asset_condition.objects
    [watcher] = asset.watchers
    assert isinstance(watcher.trigger, GoEnhanceManifestTrigger)
    assert dag.get_task("plan").manifest is None
