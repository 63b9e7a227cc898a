# SPDX-License-Identifier: Apache-2.0
"""
The pages under the FAB auth manager, whose roles have rights for each Dag: who sees and does what.

`make fab` installs the auth manager into an environment of its own, because it brings many packages.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from include.local import processes
from include.local.environment import load_secrets, stack_environment
from include.local.paths import Paths
from include.local.ports import Ports
from tests.system.real_airflow import ROOT, free_port, wait_until

PYTHON = Path(os.environ.get("GOENHANCE_FAB_PYTHON", ROOT / ".local" / "fab" / "bin" / "python"))
pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="the FAB auth manager is not installed: make fab")

PASSWORD = "a password of this test"
#: Reads `mine`; edits `mine`; reads `other`.
ANNA, EDITH, OTTO = "anna", "edith", "otto"
#: Run in the environment of the auth manager.
MAKE_USERS = """
from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

PARTS = ("Task Instances", "DAG Runs", "HITL Detail")
READ = [("can_read", name) for name in ("Website", *PARTS)]
EDIT = [(action, name) for action in ("can_edit", "can_create") for name in PARTS]
with get_application_builder() as builder:
    manager = builder.sm
    for user, rights in {
        "anna": [*READ, ("can_read", "DAG:mine")],
        "edith": [*READ, *EDIT, ("can_read", "DAG:mine"), ("can_edit", "DAG:mine")],
        "otto": [*READ, *EDIT, ("can_read", "DAG:other"), ("can_edit", "DAG:other")],
    }.items():
        role = manager.add_role(user)
        for action, name in rights:
            manager.add_permission_to_role(role, manager.create_permission(action, name))
        assert manager.add_user(user, user, user, f"{user}@example.org", role, PASSWORD)
"""
#: The same for the rows of two Dags.
WRITE_ROWS = """
from airflow_provider_goenhance.hooks.results import open_results
from airflow_provider_goenhance.results.ledger import Ledger, RunKey
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.swap import Swap

for dag in ("mine", "other"):
    row = Swap(
        swap_id=f"id-{dag}", dag_id=dag, run_id="run", task_id="swap", batch=0, row_number=2, pair_id=f"pair of {dag}",
        source_img="http://h/s.jpg", reference_img="http://h/r.jpg", pair_fingerprint=dag, status=Status.SUCCEEDED,
        result_uri=PICTURE, img_uuid=f"job-{dag}", attempts=1,
    )
    Ledger(open_results()).plan(RunKey(dag, "run"), [row])
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An API server with the FAB auth manager, and rows of two Dags in the results table."""
    folder = tmp_path_factory.mktemp("fab")
    picture = folder / "picture.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n and so on")
    paths, ports = Paths(folder / "airflow"), Ports(airflow=free_port(), sandbox=free_port())
    environment = {
        **stack_environment(paths, ports, load_secrets(paths)),
        "AIRFLOW__CORE__AUTH_MANAGER": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(folder),
        "AIRFLOW_CONN_GOENHANCE_RESULTS": json.dumps(
            {"conn_type": "sqlite", "host": str(folder / "results.db")}
        ),
    }

    def call(*arguments: str) -> None:
        done = subprocess.run(
            [str(PYTHON), *arguments], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{done.stdout[-1500:]}\n{done.stderr[-3000:]}"

    call("-m", "airflow", "db", "migrate")
    call("-c", f"PASSWORD = {PASSWORD!r}\n{textwrap.dedent(MAKE_USERS)}")
    call("-c", f"PICTURE = {picture.as_uri()!r}\n{textwrap.dedent(WRITE_ROWS)}")
    component = processes.start(
        "api-server",
        [str(PYTHON), "-m", "airflow", "api-server"],
        environment=environment,
        cwd=ROOT,
        log=paths.component_logs / "api-server.log",
    )
    try:
        wait_until(lambda: _answers(ports.airflow_url), seconds=240, what="an API server that answers")
        yield ports.airflow_url
    finally:
        processes.stop([component], grace=20)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/api/v2/version", timeout=30, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def client_of(server: str, user: str) -> httpx.Client:
    """Return a client with a user's session."""
    known = {"username": user, "password": PASSWORD}
    answer = httpx.post(f"{server}/auth/token", json=known, timeout=120, trust_env=False)
    assert answer.status_code == 201, answer.text
    headers = {"Accept": "text/html", "Authorization": f"Bearer {answer.json()['access_token']}"}
    return httpx.Client(base_url=server, timeout=120, trust_env=False, headers=headers)


def version_in(page: str) -> str:
    """Return the version of the only row of a page, which an action on it names."""
    (version,) = set(re.findall(r'data-version="([^"]+)"', page))
    return version


@pytest.mark.parametrize(("user", "seen", "hidden"), [(ANNA, "mine", "other"), (OTTO, "other", "mine")])
def test_a_user_sees_the_runs_rows_and_pictures_of_their_dags_alone(
    server: str, user: str, seen: str, hidden: str
) -> None:
    with client_of(server, user) as client:
        runs = client.get("/goenhance/runs").text
        assert f"dag_id={seen}" in runs
        assert hidden not in runs
        pages = {
            "runs": {},
            "swaps": {"run_id": "run"},
            "changes": {"run_id": "run"},
            "swap": {"swap_id": "id-{dag}"},
            "picture": {"swap_id": "id-{dag}"},
            "actions/rows.csv": {"run_id": "run"},
            "actions/failures.csv": {"run_id": "run"},
        }
        for page, query in pages.items():
            for dag, status in ((seen, 200), (hidden, 403)):
                asked = {"dag_id": dag} | {name: value.format(dag=dag) for name, value in query.items()}
                answer = client.get(f"/goenhance/{page}", params=asked)
                assert (page, dag, answer.status_code) == (page, dag, status)
        # A row of the other Dag under the name of the own one.
        for page in ("swap", "picture"):
            asked = {"dag_id": seen, "swap_id": f"id-{hidden}"}
            assert client.get(f"/goenhance/{page}", params=asked).status_code == 404


def test_who_may_only_read_a_dag_can_do_nothing_with_it(server: str) -> None:
    with client_of(server, ANNA) as anna:
        page = anna.get("/goenhance/swaps", params={"dag_id": "mine", "run_id": "run"}).text
        assert 'data-action="reject"' not in page
        answer = anna.post(
            "/goenhance/actions/review",
            params={"dag_id": "mine"},
            json={"rows": {"id-mine": version_in(page)}, "review": "rejected"},
        )
        assert answer.status_code == 403


def test_who_may_edit_a_dag_reviews_its_pictures_and_no_others(server: str) -> None:
    with client_of(server, EDITH) as edith:
        page = edith.get("/goenhance/swaps", params={"dag_id": "mine", "run_id": "run"}).text
        assert 'data-action="reject"' in page
        for dag, swap, status in (("mine", "mine", 200), ("other", "other", 403), ("mine", "other", 404)):
            answer = edith.post(
                "/goenhance/actions/review",
                params={"dag_id": dag},
                json={"rows": {f"id-{swap}": version_in(page)}, "review": "rejected"},
            )
            assert (dag, swap, answer.status_code) == (dag, swap, status), answer.text


def test_who_is_signed_out_goes_to_the_log_in_of_the_auth_manager(server: str) -> None:
    answer = httpx.get(
        f"{server}/goenhance/runs?dag_id=mine", headers={"Accept": "text/html"}, timeout=120, trust_env=False
    )
    assert answer.status_code == 303
    assert "/auth/login" in answer.headers["location"]
    assert "dag_id%3Dmine" in answer.headers["location"]
