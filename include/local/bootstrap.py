# SPDX-License-Identifier: Apache-2.0
"""Create `.venv` from the pinned requirements. Runs on a bare `python3` and uses only the standard library."""

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
# The environment is rebuilt when one of these files changes.
INPUTS = ("requirements-dev.txt", "pyproject.toml", "plugins/airflow_provider_goenhance/__init__.py")


class SetupError(Exception):
    """The environment cannot be created; the message says what to do."""


def check_python(version: tuple[int, int]) -> None:
    """Raise if Airflow and this project do not support a Python version."""
    if not OLDEST <= version <= NEWEST:
        found, oldest, newest = (".".join(map(str, v)) for v in (version, OLDEST, NEWEST))
        raise SetupError(
            f"Python {found} ({sys.executable}) is not supported; {oldest} to {newest} is needed. "
            f"Install one and select it: make PYTHON=python{oldest} ..."
        )


def fingerprint(root: Path) -> str:
    """Return a hash of everything the environment is built from."""
    digest = hashlib.sha256(f"{UV_VERSION}\n{sys.version}\n{sys.base_prefix}\n{root}\n".encode())
    for name in INPUTS:
        path = root / name
        digest.update(f"{name}\n".encode())
        digest.update(path.read_bytes() if path.exists() else b"")
    return digest.hexdigest()


def run(command: list[str], environment: dict[str, str], what: str) -> None:
    """Run one step of the set-up. Its output, printed directly, explains a failure."""
    try:
        done = subprocess.run(command, cwd=ROOT, env=environment, check=False)  # noqa: S603
    except OSError as error:
        raise SetupError(f"{what} could not start: {error}") from error
    if done.returncode:
        raise SetupError(
            f"{what} failed with exit code {done.returncode}; see its output above. "
            "Packages are installed from the index that pip and uv are configured with."
        )


def has_module(python: str, module: str) -> bool:
    """Return whether an interpreter can run `python -m module`."""
    done = subprocess.run([python, "-m", module, "--version"], capture_output=True, check=False)  # noqa: S603
    return done.returncode == 0


def virtual_environment(venv: Path) -> Path:
    """Create `.venv`, or keep it if it was created by the same Python."""
    python = venv / "bin" / "python"
    probe = "import sys; print(sys.version)"
    if python.exists():
        found = subprocess.run([python, "-c", probe], capture_output=True, text=True, check=False)  # noqa: S603
        if found.stdout.strip() == sys.version.strip():
            return python
        shutil.rmtree(venv)
    # Without pip: unpacking it takes longer than everything else, and uv replaces it.
    run([sys.executable, "-m", "venv", "--without-pip", str(venv)], dict(os.environ), "python3 -m venv")
    return python


def uv_program(venv: Path, python: Path) -> Path:
    """
    Install the pinned uv into a folder of its own inside `.venv`.

    `uv pip sync` removes all packages that the requirements do not name, and must not remove uv.
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
    Pass pip's package index to uv if uv has none configured.

    uv reads neither pip.conf nor PIP_INDEX_URL, which are often the only settings behind a company mirror.
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
    """Return the index of pip's configuration files, or an empty string."""
    command = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603


def set_up(root: Path = ROOT) -> bool:
    """
    Update `.venv` and return whether anything had to be done.

    :raises SetupError: the environment cannot be created
    """
    check_python(sys.version_info[:2])
    venv, lock = root / ".venv", root / ".local" / "setup.lock"
    stamp = venv / "set-up.sha256"
    lock.parent.mkdir(exist_ok=True)
    with lock.open("w") as held:
        # A second make waits here and then finds the environment up to date.
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
    """Set up the environment; on failure print one line and return 1."""
    try:
        set_up()
    except SetupError as error:
        print(f"set-up: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("set-up: interrupted; the next make continues it", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
