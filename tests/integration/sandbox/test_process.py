# SPDX-License-Identifier: Apache-2.0
"""The sandbox as a process: start, refusal to start, restart on the same state, end."""

from __future__ import annotations

import socket
import sqlite3
import subprocess
import sys
import threading
from contextlib import redirect_stderr
from io import StringIO

import httpx
import psutil
import pytest

from include.sandbox.cli import main
from include.sandbox.process import SandboxError, SandboxProcess

from .conftest import BODY, PAIR, SUBMIT, client_of, wait_until


def assert_refused(named: str, *options: str) -> None:
    with redirect_stderr(StringIO()) as said:
        assert main(["--engine", "none", *options]) == 2
    assert said.getvalue().startswith("sandbox: ")
    assert named in said.getvalue()
    assert said.getvalue().count("\n") == 1


def test_a_taken_port_is_one_clear_line_and_exit_code_2(tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("SANDBOX_PORT", str(port))
        assert_refused(f"port {port} on 127.0.0.1 cannot be used", "--state-dir", str(tmp_path))


def test_a_state_folder_serves_one_sandbox_at_a_time(sandbox):
    state = str(sandbox.state_dir)
    assert_refused(f"state folder {state} is in use by another sandbox", "--port", "0", "--state-dir", state)


@pytest.mark.parametrize("content", [b"no database at all" * 100, None])
def test_a_ledger_of_another_kind_is_refused_and_kept(tmp_path, content):
    path = tmp_path / "ledger.sqlite3"
    if content:
        path.write_bytes(content)
    else:
        with sqlite3.connect(path) as ledger:
            ledger.execute("CREATE TABLE jobs (sequence, of_old, PRIMARY KEY (sequence))")
        ledger.close()
    before = path.read_bytes()
    assert_refused(f"state folder {tmp_path} holds a ledger", "--port", "0", "--state-dir", str(tmp_path))
    assert content is None or path.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--switch", "sucess_word=x"], "'sucess_word'"),
        (["--switch", "job_seconds"], "NAME=JSON"),
        (["--switch", "job_seconds=soon"], "job_seconds"),
        (["--images", "/nowhere/at/all"], "/nowhere/at/all"),
        (["--workers", "0"], "--workers 0"),
        (["--credits", "-1"], "--credits -1"),
        (["--load-picture", "/nowhere/result.jpg"], "--load-picture must be a JPEG file"),
        (["--port", "70000"], "port 70000"),
        (["--state-dir", "/proc/nowhere"], "state folder /proc/nowhere cannot be used"),
    ],
)
def test_a_bad_option_is_named_in_one_line(tmp_path, options, named):
    assert_refused(named, "--state-dir", str(tmp_path), *options)


def test_a_port_variable_that_is_no_number_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("SANDBOX_PORT", "http")
    assert_refused("SANDBOX_PORT=http", "--state-dir", str(tmp_path))


def test_it_listens_on_this_machine_only(sandbox):
    connections = psutil.Process(sandbox.pid).net_connections()
    assert [c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN] == ["127.0.0.1"]


def test_it_ends_without_waiting_for_a_call_that_hangs(sandbox):
    sandbox.put_faults(submit="hang")
    with client_of(sandbox, timeout=600) as client:
        hung: list[Exception] = []

        def submit() -> None:
            try:
                client.post(SUBMIT, json=BODY)
            except httpx.HTTPError as error:
                hung.append(error)

        thread = threading.Thread(target=submit)
        thread.start()
        wait_until(lambda: sandbox.faults()["submit"][0]["fired"])
        server = psutil.Process(sandbox.pid)
        server.terminate()
        assert server.wait(60) == 0
        sandbox.stop()
        thread.join(60)
    assert isinstance(hung[0], httpx.RemoteProtocolError)


def test_after_a_crash_the_same_ledger_jobs_pictures_and_balance_are_served(sandbox):
    done = sandbox.submit(**PAIR)
    finished = sandbox.wait_for(done)
    with client_of(sandbox) as client:
        picture = client.get(finished["json"][0]["value"]).content
    sandbox.put_faults(job_seconds=1.0, cost=5)
    running = [sandbox.submit(**PAIR) for _ in range(20)][-1]
    before = sandbox.submissions()
    sandbox.kill()

    sandbox.start()
    assert sandbox.detail(done) == finished
    with client_of(sandbox) as client:
        assert client.get(finished["json"][0]["value"]).content == picture
        assert client.get("/api/v1/user/tokens").json()["data"]["count"] == 1_000_000 - 101
    columns = ("sequence", "img_uuid", "source_img", "reference_img", "accepted_at", "cost")
    assert [[e[k] for k in columns] for e in sandbox.submissions()] == [
        [e[k] for k in columns] for e in before
    ]
    assert sandbox.wait_for(running)["status"] == "success"


def test_it_ends_when_who_started_it_is_gone(tmp_path):
    starter = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time\n"
            "from include.sandbox.process import SandboxProcess\n"
            "print(SandboxProcess(state_dir=sys.argv[1]).start().pid, flush=True)\n"
            "time.sleep(60)\n",
            str(tmp_path),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    sandbox = psutil.Process(int(starter.stdout.readline()))
    starter.kill()
    starter.wait()
    starter.stdout.close()
    wait_until(lambda: not sandbox.is_running() or sandbox.status() == psutil.STATUS_ZOMBIE)


def test_a_sandbox_that_cannot_start_says_why_and_leaves_nothing():
    sandbox = SandboxProcess(sucess_word="x")
    with pytest.raises(SandboxError, match="'sucess_word'"):
        sandbox.start()
    assert not sandbox.running
    assert not sandbox.state_dir.exists()
