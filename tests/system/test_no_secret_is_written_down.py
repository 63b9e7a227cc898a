# SPDX-License-Identifier: Apache-2.0
"""Token, keys and signatures of a full run are in none of the places that it writes to."""

from __future__ import annotations

import json
import re
import sqlite3
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from include.sandbox.process import SandboxProcess
from tests.integration.operators.udp_statsd import UdpStatsd
from tests.system.real_airflow import RealAirflow, wait_until

boto3 = pytest.importorskip("boto3", reason="the extra s3 is not installed")
moto_server = pytest.importorskip("moto.server", reason="moto, an S3 server for tests, is not installed")
pytest.importorskip("s3fs", reason="the extra s3 is not installed")
pytest.importorskip("statsd", reason="the StatsD client is not installed")
pytest.importorskip("airflow.providers.openlineage", reason="OpenLineage is not installed")

IMAGES = Path(__file__).resolve().parents[2] / "include" / "images"
DAG = "secret_swaps"
TOKEN = "the-token-of-the-account-51f0c2a7"
KEYS = {"aws_access_key_id": "key-id-of-the-bucket", "aws_secret_access_key": "secret-key-of-the-bucket"}
#: How the manifest's own links are signed, the values that nobody else may see, and what the vendor quotes.
SIGNED_AWS = "X-Amz-Signature=f1e2d3c4b5a6978899aabbccddeeff00"
SIGNED_AZURE = "sv=2024-11-04&sr=b&sp=r&sig=aB3dE5gH7jK9mN1pQ3sT"
SIGNED_REJECTED = "X-Amz-Signature=00ffeeddccbbaa998877665544332211"
QUOTED_BY_THE_VENDOR = "X-Amz-Signature=99887766554433221100aabbccddeeff"
PASSWORD = "password-in-a-link-of-the-manifest"
IN_THE_MANIFEST = {
    "the signature of a link in the manifest": SIGNED_AWS.partition("=")[2],
    "the shared access signature of a link in the manifest": SIGNED_AZURE.rpartition("=")[2],
    "the signature of a link in a rejected row": SIGNED_REJECTED.partition("=")[2],
}


@dataclass(frozen=True)
class Run:
    """What a run has left behind, by the place, and the secrets that it used, by what they are."""

    places: Mapping[str, bytes] = field(repr=False)
    secrets: Mapping[str, str] = field(repr=False)
    rows: list[dict[str, Any]]
    triggers: list[str]


def query(database: Path, text: str) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(database)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(text)]


def tables(database: Path) -> Iterator[tuple[str, bytes]]:
    """Read every table of a database, and its files as they are: a row that was deleted may still be in them."""
    for found in query(database, "SELECT name FROM sqlite_master WHERE type = 'table'"):
        yield (
            found["name"],
            json.dumps(query(database, f'SELECT * FROM "{found["name"]}"'), default=str).encode(),
        )
    for file in database.parent.glob(f"{database.name}*"):
        yield file.name, file.read_bytes()


def files(folder: Path) -> bytes:
    return b"\n".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def result_links(sandbox: SandboxProcess) -> Iterator[str]:
    """Ask for the links to the finished pictures, as the tasks did."""
    for job in sandbox.submissions():
        request = urllib.request.Request(
            f"{sandbox.url}/api/v1/jobs/detail?img_uuid={job['img_uuid']}",
            headers={"Authorization": f"Bearer {sandbox.token}"},
        )
        with urllib.request.urlopen(request) as answer:
            yield answer.read().decode()


def write_manifest(path: Path, sandbox: SandboxProcess) -> None:
    image = sandbox.image
    pairs = [
        ("private", "s3://pictures@bucket/collins.jpg", "s3://pictures@bucket/hopper.jpg"),
        ("signed-aws", f"{image('collins.jpg')}?{SIGNED_AWS}", f"{image('crew.jpg')}?{SIGNED_AWS}"),
        ("signed-azure", f"{image('hopper.jpg')}?{SIGNED_AZURE}", image("crew.jpg")),
        ("has-no-face", "s3://pictures@bucket/coffee.jpg", f"{image('hopper.jpg')}?{SIGNED_AWS}"),
        ("not-there", "s3://pictures@bucket/missing.jpg", image("hopper.jpg")),
        ("no-scheme", f"example.com/face.jpg?{SIGNED_REJECTED}", image("hopper.jpg")),
        ("password", f"https://anna:{PASSWORD}@example.com/face.jpg", image("hopper.jpg")),
    ]
    path.write_text(
        "\n".join(",".join(pair) for pair in [("pair_id", "source_img", "reference_img"), *pairs])
    )


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """Serve a private bucket with pictures; return the address of its server."""
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1", **KEYS)
    client.create_bucket(Bucket="bucket")
    for name in ("collins", "hopper", "coffee"):
        client.put_object(Bucket="bucket", Key=f"{name}.jpg", Body=(IMAGES / f"{name}.jpg").read_bytes())
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, bucket: str) -> Run:
    """Run the Dag once, and read all that it left behind."""
    home = tmp_path_factory.mktemp("secrets")
    manifest, results, swaps = home / "manifest.csv", home / "results.db", home / "swaps"
    aws = {
        "conn_type": "aws",
        "login": KEYS["aws_access_key_id"],
        "password": KEYS["aws_secret_access_key"],
        "extra": {"endpoint_url": bucket, "region_name": "us-east-1"},
    }
    with (
        UdpStatsd() as statsd,
        SandboxProcess(engine="mesh", job_seconds=3, token=TOKEN, state_dir=home / "sandbox") as sandbox,
        RealAirflow(
            home / "airflow",
            Path(__file__).parent / "dags",
            {
                "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
                "AIRFLOW__METRICS__STATSD_ON": "True",
                "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
                "AIRFLOW__METRICS__STATSD_PORT": str(statsd.port),
                "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(
                    {"type": "file", "log_file_path": str(home / "lineage"), "append": True}
                ),
                "AIRFLOW__GOENHANCE__STORAGE": str(swaps),
                "AIRFLOW_VAR_GOENHANCE_MANIFEST": str(manifest),
                "AIRFLOW_CONN_PICTURES": json.dumps(aws),
                "AIRFLOW_CONN_GOENHANCE_RESULTS": json.dumps({"conn_type": "sqlite", "host": str(results)}),
                "AIRFLOW_CONN_GOENHANCE_DEFAULT": json.dumps(
                    {"conn_type": "goenhance", "host": sandbox.url, "password": sandbox.token}
                ),
            },
        ) as airflow,
    ):
        write_manifest(manifest, sandbox)
        # The first job that fails quotes a link in its error, as the vendor may.
        error = f"cannot fetch https://example.com/face.jpg?{QUOTED_BY_THE_VENDOR} with {TOKEN}"
        sandbox.put_faults(job={"kind": "failed", "error": error, "count": 1})
        keep_triggers(airflow.paths.metadata)
        wait_until(lambda: airflow.api.dag(DAG) is not None, seconds=90, what="the Dag")
        pair = {
            "source_img": "s3://pictures@bucket/hopper.jpg",
            "reference_img": sandbox.image("collins.jpg"),
        }
        airflow.api.trigger(DAG, "full", pair)
        wait_until(
            lambda: airflow.api.run_state(DAG, "full") not in {"queued", "running"},
            seconds=300,
            what="the end of the run",
        )
        sent = [job[side] for job in sandbox.submissions() for side in ("source_img", "reference_img")]
        answers = "\n".join(result_links(sandbox))

    ours = re.findall(r"X-Amz-Signature=(\w+)", "\n".join(link for link in sent if link.startswith(bucket)))
    of_results = re.findall(r"q-signature=(\w+)", answers)
    assert ours
    assert of_results
    secrets = {
        "the token": TOKEN,
        "the secret key of the bucket": KEYS["aws_secret_access_key"],
        "a signature that the vendor quotes": QUOTED_BY_THE_VENDOR.partition("=")[2],
        "a password in a link": PASSWORD,
        **{f"our signature {number}": value for number, value in enumerate(ours)},
        **{f"the signature of result {number}": value for number, value in enumerate(of_results)},
    }
    places = {
        "task logs": files(airflow.paths.task_logs),
        "component logs": files(airflow.paths.component_logs),
        "lineage": b"\n".join(path.read_bytes() for path in home.glob("lineage*")),
        "metrics": "\n".join(statsd.lines).encode(),
        **{f"metadata: {name}": held for name, held in tables(airflow.paths.metadata)},
        **{f"results: {name}": held for name, held in tables(results)},
        **{str(path.relative_to(swaps)): path.read_bytes() for path in swaps.rglob("*") if path.is_file()},
    }
    rows = query(results, "SELECT * FROM goenhance_swaps")
    triggers = [
        found["kwargs"] for found in query(airflow.paths.metadata, "SELECT kwargs FROM kept_triggers")
    ]
    return Run(places, secrets, rows, triggers)


def keep_triggers(metadata: Path) -> None:
    """Let the database keep each trigger's row, which Airflow deletes when the trigger has fired."""
    with closing(sqlite3.connect(metadata, timeout=30)) as connection:
        connection.execute("CREATE TABLE kept_triggers (kwargs TEXT)")
        connection.execute(
            "CREATE TRIGGER keep_trigger AFTER INSERT ON trigger BEGIN"
            " INSERT INTO kept_triggers VALUES (NEW.kwargs); END"
        )
        connection.commit()


def places_with(run: Run, secrets: Mapping[str, str]) -> set[tuple[str, str]]:
    return {
        (what, place)
        for what, secret in secrets.items()
        for place, held in run.places.items()
        if secret.encode() in held
    }


def test_the_run_wrote_to_every_place_and_used_every_kind_of_link(run: Run) -> None:
    """Otherwise the other tests would show nothing."""
    statuses = Counter(row["status"] for row in run.rows)
    assert set(statuses) == {"succeeded", "failed", "rejected"}, statuses
    assert statuses["succeeded"] >= 3
    assert statuses["rejected"] == 3
    assert any(
        "cannot fetch https://example.com/face.jpg" in (row["error_message"] or "") for row in run.rows
    )
    for place in (
        "task logs",
        "component logs",
        "lineage",
        "metrics",
        "metadata: xcom",
        "metadata: rendered_task_instance_fields",
        "metadata: asset_event",
        "metadata: log",
    ):
        assert len(run.places[place]) > 2, place
    assert b"goenhance.submits" in run.places["metrics"]
    assert b"goenhance_run" in run.places["lineage"]
    assert len(run.triggers) >= 2
    assert all("jobs" in kwargs or "img_uuid" in kwargs for kwargs in run.triggers), run.triggers
    names = {Path(place).name for place in run.places}
    assert {"rejected.csv", "failures.csv"} <= names
    assert [name for name in names if name.endswith(".html")]
    assert [name for name in names if name.endswith(".json")]


def test_no_token_key_or_signature_of_ours_is_anywhere(run: Run) -> None:
    assert places_with(run, run.secrets) == set()


def test_a_signature_of_the_manifest_is_on_its_row_and_nowhere_else(run: Run) -> None:
    """The results table holds the links as they were given: docs/security.md says so."""
    found = places_with(run, IN_THE_MANIFEST)

    assert {place for _, place in found if not place.startswith("results: ")} == set()
    for row in run.rows:
        others = {name: value for name, value in row.items() if name not in {"source_img", "reference_img"}}
        for secret in IN_THE_MANIFEST.values():
            assert secret not in json.dumps(others, default=str)
