# SPDX-License-Identifier: Apache-2.0
"""Run a sandbox in a separate process, for tests, benchmarks and the local stack."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, Any, Self

from .settings import DEFAULT_TOKEN

_START_SECONDS = 60.0
_STOP_SECONDS = 5.0


class SandboxError(RuntimeError):
    """The sandbox did not start, or rejected a control call; the message says why."""


class SandboxProcess:
    """
    Starts, controls and stops a sandbox on 127.0.0.1.

    The sandbox exits when this process ends, even if it is killed.

    :param engine: `none` (load mode, no picture is fetched) or `mesh` (faces are swapped).
    :param port: 0: any free port; a later start() keeps it.
    :param state_dir: folder for the ledger and the pictures; None: a temporary folder that close() deletes.
    :param token: the bearer token to accept.
    :param images: folder served under /images/; None: the sample pictures.
    :param public: folder served under /public/; None: none.
    :param load_picture: JPEG that load mode serves for every job; None: a tiny PNG.
    :param workers: processes that swap faces.
    :param credits: balance of a new state folder; None: the default.
    :param switches: switches to start with, as in `PUT /sandbox/faults`.
    """

    def __init__(
        self,
        *,
        engine: str = "none",
        port: int = 0,
        state_dir: Path | str | None = None,
        token: str = DEFAULT_TOKEN,
        images: Path | str | None = None,
        public: Path | str | None = None,
        load_picture: Path | str | None = None,
        workers: int = 1,
        credits: int | None = None,  # noqa: A002 - the vendor's word
        **switches: Any,
    ) -> None:
        self.token = token
        self.port = port
        self._own_state = state_dir is None
        self.state_dir = Path(
            tempfile.mkdtemp(prefix="goenhance-sandbox-") if state_dir is None else state_dir
        )
        self._options = ["--engine", engine, "--workers", str(workers), "--state-dir", str(self.state_dir)]
        if images is not None:
            self._options += ["--images", str(images)]
        if public is not None:
            self._options += ["--public", str(public)]
        if load_picture is not None:
            self._options += ["--load-picture", str(load_picture)]
        if credits is not None:
            self._options += ["--credits", str(credits)]
        for name, value in switches.items():
            self._options += ["--switch", f"{name}={json.dumps(value)}"]
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None

    @property
    def url(self) -> str:
        """Base URL, without a trailing slash."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        """Whether the server is running."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Process id of the server."""
        if self._process is None:
            raise SandboxError("the sandbox is not running; call start() first")
        return self._process.pid

    def start(self) -> Self:
        """
        Start the sandbox, on its previous port and state if it ran before, and wait until it is ready.

        :raises SandboxError: the sandbox did not start; the message contains its output.
        """
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._process = subprocess.Popen(  # noqa: S603
            # Our own interpreter and module, no shell.
            [sys.executable, "-m", _package(), "--port", str(self.port), "--end-with-stdin", *self._options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=os.environ | {"SANDBOX_TOKEN": self.token, "PYTHONPATH": _python_path()},
        )
        line = self._first_line()
        if "ready on" not in line:
            self._process.kill()
            self._process.wait()
            message = self._error_output()
            self._release()
            if self._own_state and not any(self.state_dir.glob("*.sqlite3")):
                shutil.rmtree(self.state_dir, ignore_errors=True)
            raise SandboxError(f"the sandbox did not start: {message or 'no answer in time'}")
        self.port = int(line.split("ready on ")[1].split(" ")[0].rsplit(":", 1)[1])
        return self

    def stop(self) -> int:
        """Stop the sandbox with SIGTERM, keep its state, and return its exit code."""
        if self._process is None:
            return 0
        self._process.terminate()
        try:
            return self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
        finally:
            self._release()

    def kill(self) -> None:
        """Kill the sandbox with SIGKILL, and keep its state."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._release()

    def close(self) -> None:
        """Stop the sandbox and delete its state, unless `state_dir` was passed."""
        self.stop()
        if self._own_state:
            shutil.rmtree(self.state_dir, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def put_faults(self, **switches: Any) -> dict[str, Any]:
        """
        Change switches and return all of them.

        :raises SandboxError: a switch does not exist or its value is invalid; the message names it.
        """
        answer: dict[str, Any] = self._call("PUT", "/sandbox/faults", switches)
        return answer

    def faults(self) -> dict[str, Any]:
        """Return all switches."""
        answer: dict[str, Any] = self._call("GET", "/sandbox/faults")
        return answer

    def submissions(self) -> list[dict[str, Any]]:
        """Return the sandbox's ledger: every accepted submit, oldest first."""
        ledger: list[dict[str, Any]] = self._call("GET", "/sandbox/submissions")
        return ledger

    def traffic(self) -> list[dict[str, float | None]]:
        """Return when each submit arrived and was answered, oldest first; ``None`` while it is under way."""
        submits: list[dict[str, float | None]] = self._call("GET", "/sandbox/traffic")
        return submits

    def reset(self) -> None:
        """Delete jobs and pictures, and restore the initial balance and switches."""
        self._call("POST", "/sandbox/reset", {})

    def image(self, name: str) -> str:
        """Return the URL of a sample picture."""
        return f"{self.url}/images/{name}"

    def submit(self, source_img: str, reference_img: str) -> str:
        """
        Submit a pair as a client would and return its img_uuid.

        :raises SandboxError: the sandbox refused the pair.
        """
        args = {"source_img": source_img, "reference_img": reference_img}
        body = {"type": "mx-image-face-swap", "args": args}
        answer = self._call("POST", "/api/v1/imagefaceswap/generate", body)
        if answer["code"] != 0:
            raise SandboxError(f"the pair was refused: {answer['msg']} (code {answer['code']})")
        return str(answer["data"]["img_uuid"])

    def detail(self, img_uuid: str) -> dict[str, Any]:
        """Return the `data` of a job detail response."""
        data: dict[str, Any] = self._call("GET", f"/api/v1/jobs/detail?img_uuid={img_uuid}")["data"]
        return data

    def wait_for(self, img_uuid: str, *, seconds: float = 60.0) -> dict[str, Any]:
        """
        Poll a job until it has an end_time and return its detail.

        :raises SandboxError: the job has not ended after `seconds`.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            data = self.detail(img_uuid)
            if "end_time" in data:
                return data
            time.sleep(0.02)
        raise SandboxError(f"job {img_uuid} has not ended after {seconds:g} s; it shows {data['status']}")

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(  # noqa: S310 - always our own http URL
            self.url + path,
            None if body is None else json.dumps(body).encode(),
            {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
            method=method,
        )
        # Ignore proxies in the environment: the server is on this machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=30) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            raise SandboxError(f"{method} {path}: HTTP {error.code} {error.read().decode()}") from None

    def _first_line(self) -> str:
        assert self._process is not None  # noqa: S101 - only called by start()
        assert self._process.stdout is not None  # noqa: S101 - opened as a pipe
        ready, _, _ = select.select([self._process.stdout], [], [], _START_SECONDS)
        return self._process.stdout.readline().decode() if ready else ""

    def _error_output(self) -> str:
        assert self._errors is not None  # noqa: S101 - only called by start()
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace").strip()

    def _release(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()
        if self._errors is not None:
            self._errors.close()
            self._errors = None


def _package() -> str:
    # The package has different names in the repository and in the wheel.
    return __package__ or "include.sandbox"


def _python_path() -> str:
    root = Path(__file__).resolve().parents[len(_package().split("."))]
    return os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
