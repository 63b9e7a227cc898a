# SPDX-License-Identifier: Apache-2.0
"""Make `.venv` from the pinned requirements; runs on a bare `python3` and uses the standard library only."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
UV_VERSION = "0.13.9"
OLDEST, NEWEST = (3, 11), (3, 14)
# What decides whether the environment is still the right one.
INPUTS = ("requirements-dev.txt", "pyproject.toml", "plugins/airflow_provider_goenhance/__init__.py")


class SetupError(Exception):
    """The environment cannot be made; the message says what to do."""


def check_python(version: tuple[int, int]) -> None:
    """Refuse a Python that Airflow and this project do not run on."""
    if not OLDEST <= version <= NEWEST:
        found, oldest, newest = (".".join(map(str, v)) for v in (version, OLDEST, NEWEST))
        raise SetupError(
            f"Python {found} was found as {sys.executable}, but {oldest} to {newest} is needed. "
            f"Install one and name it: make PYTHON=python{oldest} ..."
        )


def fingerprint(root: Path) -> str:
    """Hash everything the environment is made from, so that an unchanged one is left alone."""
    digest = hashlib.sha256(f"{UV_VERSION}\n{sys.version}\n{sys.base_prefix}\n{root}\n".encode())
    for name in INPUTS:
        path = root / name
        digest.update(f"{name}\n".encode())
        digest.update(path.read_bytes() if path.exists() else b"")
    return digest.hexdigest()


def run(command: list[str], environment: dict[str, str], what: str) -> None:
    """Run one step of the set-up; its own output is the detail of our error."""
    try:
        done = subprocess.run(command, cwd=ROOT, env=environment, check=False)  # noqa: S603
    except OSError as error:
        raise SetupError(f"{what} could not start: {error}") from error
    if done.returncode:
        raise SetupError(
            f"{what} failed (exit code {done.returncode}); its own message stands above. "
            "Packages come from the index that pip and uv are configured with."
        )


def has_module(python: str, module: str) -> bool:
    """Say whether that interpreter can run `python -m module`."""
    done = subprocess.run([python, "-m", module, "--version"], capture_output=True, check=False)  # noqa: S603
    return done.returncode == 0


def virtual_environment(venv: Path) -> Path:
    """Create `.venv`, or keep one that this very Python can go on with."""
    python = venv / "bin" / "python"
    probe = "import sys; print(sys.version)"
    if python.exists():
        found = subprocess.run([python, "-c", probe], capture_output=True, text=True, check=False)  # noqa: S603
        if found.stdout.strip() == sys.version.strip():
            return python
        shutil.rmtree(venv)
    # Without pip: unpacking it costs more than everything else together, and uv replaces it.
    run([sys.executable, "-m", "venv", "--without-pip", str(venv)], dict(os.environ), "python3 -m venv")
    return python


def uv_program(venv: Path, python: Path) -> Path:
    """
    Install the pinned uv beside the environment's packages, not among them.

    `uv pip sync` removes whatever the requirements do not name; uv must not remove itself.
    """
    home = venv / f"uv-{UV_VERSION}"
    program = home / "bin" / "uv"
    if program.exists():
        return program
    if has_module(sys.executable, "pip"):
        pip = [sys.executable, "-m", "pip"]
    elif has_module(sys.executable, "ensurepip"):
        run([str(python), "-m", "ensurepip", "--default-pip"], dict(os.environ), "python3 -m ensurepip")
        pip = [str(python), "-m", "pip"]
    else:
        raise SetupError("This Python has neither pip nor ensurepip. On Debian: apt install python3-venv")
    partial = venv / f"uv-{UV_VERSION}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    environment = {**os.environ, "PIP_USER": "0", "PIP_ROOT_USER_ACTION": "ignore"}
    run(
        [*pip, "install", "--quiet", "--no-deps", "--target", str(partial), f"uv=={UV_VERSION}"],
        environment,
        "Installing uv with pip",
    )
    partial.rename(home)
    return program


def index_environment(environment: dict[str, str]) -> dict[str, str]:
    """
    Hand pip's index on to uv where uv has none of its own.

    uv reads neither pip.conf nor PIP_INDEX_URL; behind a company mirror that is often all there is.
    """
    result = dict(environment)
    uv_settings = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_CONFIG_FILE", "UV_OFFLINE")
    configured = Path(environment.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "uv" / "uv.toml"
    if any(environment.get(name) for name in uv_settings) or configured.exists():
        return result
    url = environment.get("PIP_INDEX_URL") or pip_index()
    if url:
        result["UV_DEFAULT_INDEX"] = url
    return result


def pip_index() -> str:
    """Read the index from pip's own configuration files, if there is a pip and it names one."""
    command = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603


def set_up(root: Path = ROOT) -> bool:
    """
    Bring `.venv` up to date and say whether anything had to be done.

    :raises SetupError: the environment cannot be made
    """
    check_python(sys.version_info[:2])
    venv, lock = root / ".venv", root / ".local" / "setup.lock"
    stamp = venv / "set-up.sha256"
    lock.parent.mkdir(exist_ok=True)
    with lock.open("w") as held:
        # A second make waits here and then finds the work done.
        fcntl.flock(held, fcntl.LOCK_EX)
        wanted = fingerprint(root)
        if stamp.exists() and stamp.read_text().strip() == wanted:
            return False
        stamp.unlink(missing_ok=True)
        started = time.monotonic()
        print("Setting up .venv from requirements-dev.txt ...", flush=True)
        python = virtual_environment(venv)
        uv = str(uv_program(venv, python))
        environment = index_environment(dict(os.environ))
        target = ["--quiet", "--python", str(python)]
        run(
            [uv, "pip", "sync", *target, "requirements-dev.txt"],
            environment,
            "uv pip sync requirements-dev.txt",
        )
        run([uv, "pip", "install", *target, "--no-deps", "-e", "."], environment, "uv pip install -e .")
        stamp.write_text(wanted + "\n")
        print(f"Set up in {time.monotonic() - started:.0f} s.", flush=True)
        return True


def main() -> int:
    """Set up, or say in one line why not."""
    try:
        set_up()
    except SetupError as error:
        print(f"set-up: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("set-up: stopped; the next make goes on where this one ended", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
