# SPDX-License-Identifier: Apache-2.0
"""
Start and stop the components of the stack, each in a session of its own.

Airflow runs every task in its own process group, and a killed scheduler leaves its workers running. All descendants
of a component share the *session* it was started in, so stopping a component means stopping its session.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from include.local.errors import LocalStackError

_POLL_S = 0.1
# On SIGTERM, PostgreSQL waits until its clients have left; on SIGINT it ends in order at once.
_FIRST_SIGNALS = {"postgres": signal.SIGINT}
# Airflow's triggerer waits up to 10 s for the process that runs the triggers, and is not woken when that ends. A second
# SIGTERM within these would make it kill what may still write.
_LONGER_GRACE_S = {"triggerer": 12.0}


@dataclass(frozen=True)
class Component:
    """
    A started program.

    :param name: e.g. ``scheduler``
    :param pid: process id of its first process, which is also the id of its session
    :param birth: distinguishes this process from a later one with the same id, see :func:`birth_mark`
    :param log: file its output goes to
    """

    name: str
    pid: int
    birth: str
    log: str


def start(
    name: str, command: Sequence[str], *, environment: Mapping[str, str], cwd: Path, log: Path
) -> Component:
    """
    Start a program in a new session and write its output to ``log``.

    :raises LocalStackError: the program cannot be started
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        try:
            process = subprocess.Popen(  # noqa: S603
                command,
                cwd=cwd,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise LocalStackError(f"{name} could not be started: {error}") from error
    return Component(name, process.pid, birth_mark(process.pid) or "", str(log))


def birth_mark(pid: int) -> str | None:
    """
    Return the start time of a process in a form that survives clock changes; ``None`` if it has ended.

    On Linux: the boot id, and the ticks since that boot. Elsewhere: the second it was created.
    """
    _reap(pid)
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        stat = Path(f"/proc/{pid}/stat")
        if stat.exists():
            return f"{_boot()}:{stat.read_text().rpartition(')')[2].split()[19]}"
        return f"{_boot()}:{process.create_time():.0f}"
    except (psutil.Error, OSError):
        return None


def _boot() -> str:
    """Return the boot id if the system has one; process ids are reused after a reboot."""
    boot_id = Path("/proc/sys/kernel/random/boot_id")
    return boot_id.read_text().strip() if boot_id.exists() else ""


def _reap(pid: int) -> None:
    """Reap a dead child process. Other processes' children cannot be waited for."""
    with contextlib.suppress(OSError):
        os.waitpid(pid, os.WNOHANG)


def is_running(component: Component) -> bool:
    """Return whether the component's first process is still running."""
    return birth_mark(component.pid) == component.birth


def members(component: Component) -> list[int]:
    """
    Return the living processes of the component's session.

    The kernel does not reuse a session id while a member lives. A process with that id but another birth mark
    therefore means that the session has ended.
    """
    mark = birth_mark(component.pid)
    if mark not in {None, component.birth} or component.birth.partition(":")[0] != _boot():
        return []
    found = []
    for pid in psutil.pids():
        with contextlib.suppress(OSError, psutil.Error):
            in_session = os.getsid(pid) == component.pid
            if in_session and pid != os.getpid() and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
    return found


def stop(components: Iterable[Component], *, grace: float) -> list[str]:
    """
    Stop components and everything they started: SIGTERM, then SIGKILL after ``grace`` seconds.

    The first process of each session is signalled first, so that it can stop its own children. The rest of the
    session is then signalled directly, and killed if it does not end. A triggerer has twelve seconds at least.

    :returns: names of the components of which a process had to be killed
    :raises LocalStackError: a process survives SIGKILL
    """
    wanted = list(components)
    began = time.monotonic()
    for component in wanted:
        if is_running(component):
            _send(component.pid, _FIRST_SIGNALS.get(component.name, signal.SIGTERM))
    patience = {component: max(grace, _LONGER_GRACE_S.get(component.name, 0.0)) for component in wanted}
    left: list[Component] = []
    for seconds in sorted(set(patience.values())):
        group = [component for component in wanted if patience[component] == seconds]
        left += _end_sessions(group, began + seconds - time.monotonic(), min(grace, 3.0))
    undead = _wait_until_gone(left, 10.0)
    if undead:
        names = ", ".join(f"{c.name} ({' '.join(map(str, members(c)))})" for c in undead)
        raise LocalStackError(f"these processes do not stop, even after SIGKILL: {names}")
    return [component.name for component in left]


def _end_sessions(components: list[Component], grace: float, last_grace: float) -> list[Component]:
    """
    Wait for the end of sessions; signal what is left after ``grace`` seconds, kill it ``last_grace`` seconds later.

    :returns: the components of which a process had to be killed
    """
    for component in _wait_until_gone(components, grace):
        for pid in members(component):
            _send(pid, signal.SIGTERM)
    left = _wait_until_gone(components, last_grace)
    for component in left:
        for pid in members(component):
            _send(pid, signal.SIGKILL)
    return left


def _send(pid: int, signal_number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal_number)


def _wait_until_gone(components: list[Component], seconds: float) -> list[Component]:
    """Wait until the sessions are empty; return the components whose sessions are not."""
    deadline = time.monotonic() + seconds
    left = [component for component in components if members(component)]
    while left and time.monotonic() < deadline:
        time.sleep(_POLL_S)
        left = [component for component in left if members(component)]
    return left


def log_tail(component: Component, lines: int = 15) -> str:
    """Return the last lines of a component's log."""
    try:
        text = Path(component.log).read_text(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
