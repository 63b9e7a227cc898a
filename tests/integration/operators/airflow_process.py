# SPDX-License-Identifier: Apache-2.0
"""A process with its own Airflow, in which tests run any number of Dags as `airflow dags test` does."""

from __future__ import annotations

import copy
import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any


def main(folders: list[str]) -> None:
    """Create a metadata database, then read requests from stdin, one JSON object a line."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # all that Airflow prints goes to the log
    caught: list[str] = []
    warnings.showwarning = lambda message, category, *rest, **more: caught.append(
        f"{category.__name__}: {message}"
    )

    from airflow.utils.db import initdb

    initdb()
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # Airflow 3.1
        from airflow.models.dagbag import DagBag

    dags: dict[str, Any] = {}
    for folder in folders:
        bag = DagBag(folder)
        if bag.import_errors:
            raise SystemExit(str(bag.import_errors))
        dags |= bag.dags
    _say(answers, {"ready": True, "dags": sorted(dags), "warnings": caught})
    for line in sys.stdin:
        request = json.loads(line)
        os.environ.update(request["environment"])
        _say(answers, _run(_unused(dags[request["dag_id"]]), request.get("conf") or {}))


def _unused(dag: Any) -> Any:
    """Copy a Dag: a task that runs in this process leaves its run's conf in the params, for all later runs."""
    dag = copy.deepcopy(dag)
    dag.deadline = None  # `dag.test` looks its deadlines up in the database, where it has not stored them
    for task in dag.tasks:
        if not task.is_mapped:  # Airflow's copy of a plain task shares the params with the original
            task.params = copy.deepcopy(task.params)
    return dag


def _say(answers: Any, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer, default=str) + "\n")
    answers.flush()


def _run(dag: Any, conf: dict[str, Any]) -> dict[str, Any]:
    from airflow.models.xcom import XComModel
    from airflow.sdk.execution_time import supervisor
    from airflow.utils.session import create_session
    from sqlalchemy import select

    errors: list[str] = []
    in_process = supervisor.run_task_in_process

    def noted(*args: Any, **kwargs: Any) -> Any:
        result = in_process(*args, **kwargs)
        if result.error is not None:
            errors.append(f"{result.ti.task_id}: {type(result.error).__name__}: {result.error}")
        return result

    supervisor.run_task_in_process = noted
    try:
        run = dag.test(run_conf=conf)
    finally:
        supervisor.run_task_in_process = in_process
    with create_session() as session:
        instances = run.get_task_instances(session=session)
        xcoms = session.scalars(select(XComModel).where(XComModel.run_id == run.run_id)).all()
        return {
            "run_id": run.run_id,
            "state": str(run.state),
            "tasks": [
                {
                    "task_id": ti.task_id,
                    "map_index": ti.map_index,
                    "state": str(ti.state),
                    "try_number": ti.try_number,
                    "name": ti.rendered_map_index,
                }
                for ti in instances
            ],
            "xcoms": [
                {
                    "task_id": x.task_id,
                    "map_index": x.map_index,
                    "key": x.key,
                    "value": XComModel.deserialize_value(x),
                }
                for x in xcoms
            ],
            "errors": errors,
        }


if __name__ == "__main__":
    sys.path[:0] = [str(Path(folder)) for folder in os.environ["TEST_AIRFLOW_PATH"].split(os.pathsep)]
    main(sys.argv[1:])
