# SPDX-License-Identifier: Apache-2.0
"""The calls of Airflow's REST API that the local commands use."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

import httpx

from include.local.environment import USER
from include.local.errors import LocalStackError

COMPONENTS = ("metadatabase", "scheduler", "triggerer", "dag_processor")
#: Seconds between the attempts of one request.
PAUSES = (0.5, 1.0, 2.0, 4.0, 6.0, 8.0, 8.0, 8.0, 8.0)
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_OPEN_STATES = ("queued", "running")


class AirflowApi:
    """
    Client for a running Airflow, authenticated as its administrator.

    What passes by itself is asked again for some time: no answer, a busy server, and the errors that Airflow answers
    with while SQLite is locked.

    :param url: address without a slash at the end
    :param password: password of the administrator
    :param check: called before a request is repeated; raises where waiting is in vain
    :param sleep: waits the seconds of a pause
    """

    def __init__(
        self,
        url: str,
        password: str,
        *,
        transport: httpx.BaseTransport | None = None,
        check: Callable[[], None] = lambda: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = url
        self._password = password
        self._check = check
        self._sleep = sleep
        # Ignore proxies in the environment: the server is on 127.0.0.1.
        self._client = httpx.Client(base_url=url, timeout=30.0, trust_env=False, transport=transport)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def health(self, *, since: dt.datetime | None = None) -> dict[str, str]:
        """
        Return the health of the components.

        :param since: a component whose last heartbeat is older counts as starting: it belongs to an earlier stack
        :returns: component -> ``healthy``, ``unhealthy``, ``starting`` or ``no answer``
        """
        try:
            answer = self._client.get("/api/v2/monitor/health")
            report = answer.json() if answer.status_code == httpx.codes.OK else {}
        except (httpx.HTTPError, ValueError):
            report = {}
        return {name: _state(report.get(name), name, since) for name in COMPONENTS}

    def dag(self, dag_id: str) -> dict[str, Any] | None:
        """Return a Dag, or ``None`` until Airflow has parsed it."""
        answer = self._request("GET", f"/api/v2/dags/{dag_id}", allow=httpx.codes.NOT_FOUND)
        return None if answer.status_code == httpx.codes.NOT_FOUND else answer.json()

    def import_errors(self, *, since: dt.datetime) -> list[str]:
        """Return the Dag files that failed to import after ``since``, each with the last line of its error."""
        found = self._request("GET", "/api/v2/importErrors").json()["import_errors"]
        return [
            f"{error['filename']}: {error['stack_trace'].strip().splitlines()[-1]}"
            for error in found
            if dt.datetime.fromisoformat(error["timestamp"]) >= since
        ]

    def unpause(self, dag_id: str) -> None:
        """Unpause a Dag. Runs of a paused Dag stay queued."""
        self._request("PATCH", f"/api/v2/dags/{dag_id}", json={"is_paused": False})

    def trigger(self, dag_id: str, run_id: str, conf: dict[str, Any]) -> None:
        """
        Trigger a run, as the trigger form does.

        Repeating it is safe, because the run has an id: Airflow answers 409 if an earlier request was carried out.
        """
        body = {"dag_run_id": run_id, "logical_date": None, "conf": conf}
        path = f"/api/v2/dags/{dag_id}/dagRuns"
        self._request("POST", path, allow_repeated=httpx.codes.CONFLICT, json=body)

    def run_state(self, dag_id: str, run_id: str) -> str:
        """Return the state of a run: queued, running, success or failed."""
        return str(self._request("GET", _run_path(dag_id, run_id)).json()["state"])

    def fail_run(self, dag_id: str, run_id: str) -> None:
        """Mark a run failed, which also ends its tasks. The timeout is short, because the caller is stopping."""
        path = _run_path(dag_id, run_id)
        self._request("PATCH", path, pauses=(), json={"state": "failed"}, timeout=8.0)

    def open_runs(self, dag_id: str) -> list[str]:
        """Return the ids of the runs that have not ended."""
        return self.runs(dag_id, states=_OPEN_STATES)

    def runs(self, dag_id: str, *, states: Sequence[str]) -> list[str]:
        """Return the ids of the runs in these states."""
        found = self._request("GET", f"/api/v2/dags/{dag_id}/dagRuns", params={"state": list(states)})
        return [str(run["dag_run_id"]) for run in found.json()["dag_runs"]]

    def failed_tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return the failed task instances of a run."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances"
        found = self._request("GET", path, params={"state": "failed", "limit": 100}).json()
        return list(found["task_instances"])

    def task_error(self, dag_id: str, run_id: str, task: dict[str, Any]) -> str | None:
        """Return the message of the error that ended a task's last attempt, or ``None`` if its log has none."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances/{task['task_id']}/logs/{task['try_number']}"
        params = {"map_index": task["map_index"], "full_content": True}
        answer = self._request("GET", path, params=params, allow=httpx.codes.NOT_FOUND)
        if answer.status_code != httpx.codes.OK:
            return None
        return last_error(answer.json().get("content") or [])

    def _request(
        self,
        method: str,
        path: str,
        *,
        allow: int | None = None,
        allow_repeated: int | None = None,
        pauses: Sequence[float] = PAUSES,
        **options: Any,
    ) -> httpx.Response:
        """
        Send a request until the answer is final.

        :param allow: an error status that is returned
        :param allow_repeated: one that is returned if the request was sent before
        :param pauses: seconds between the attempts; there is one more of these
        """
        if "Authorization" not in self._client.headers:
            self._log_in(pauses)
        answer, sent_before = self._send(method, path, pauses, **options)
        status = answer.status_code
        if answer.is_success or status == allow or (sent_before and status == allow_repeated):
            return answer
        problem = f"Airflow refused {method} {path}: HTTP {status} {_detail(answer)}"
        if status in _TRANSIENT and pauses:
            problem += f" (asked again for {sum(pauses):.0f} s; .local/logs/api-server.log has the cause)"
        raise LocalStackError(problem)

    def _send(
        self, method: str, path: str, pauses: Sequence[float], **options: Any
    ) -> tuple[httpx.Response, bool]:
        """Return the answer, and whether it is one to a repeated request."""
        end = time.monotonic() + sum(pauses)
        for attempt, pause in enumerate([*pauses, None]):
            last = pause is None or time.monotonic() > end
            try:
                answer = self._client.request(method, path, **options)
            except httpx.HTTPError as error:
                if last:
                    raise LocalStackError(f"Airflow at {self.url} does not answer: {error}") from error
            else:
                if last or answer.status_code not in _TRANSIENT:
                    return answer, attempt > 0
            self._check()
            self._sleep(pause or 0.0)
        raise AssertionError("the last attempt returns or raises")

    def _log_in(self, pauses: Sequence[float]) -> None:
        answer, _ = self._send(
            "POST", "/auth/token", pauses, json={"username": USER, "password": self._password}
        )
        if not answer.is_success:
            raise LocalStackError(
                f"Airflow at {self.url} rejects the credentials of this checkout (HTTP {answer.status_code}). "
                "It may belong to another checkout: choose another AIRFLOW_PORT"
            )
        self._client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"


def _run_path(dag_id: str, run_id: str) -> str:
    return f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}"


def _state(report: dict[str, Any] | None, name: str, since: dt.datetime | None) -> str:
    if not report:
        return "no answer"
    beat = report.get(f"latest_{name}_heartbeat")
    if name != "metadatabase" and since and (beat is None or dt.datetime.fromisoformat(beat) < since):
        return "starting"
    return str(report.get("status") or "unhealthy")


def _detail(answer: httpx.Response) -> str:
    try:
        return str(answer.json().get("detail", answer.text))
    except (ValueError, AttributeError):
        return answer.text[:200]


def last_error(content: list[Any]) -> str | None:
    """Return the last exception, or else the last message of level error, in a task's structured log."""
    message = None
    for line in content:
        if not isinstance(line, dict):
            continue
        details = line.get("error_detail")
        if details:
            last = details[-1]
            return_value = str(last.get("exc_value") or "").strip()
            message = return_value or str(last.get("exc_type"))
        elif message is None and str(line.get("level")) in {"error", "critical"}:
            message = str(line.get("event"))
    return message
