# SPDX-License-Identifier: Apache-2.0
"""The command line of the sandbox."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

from .server import StartError, serve
from .settings import DEFAULT_CREDITS, DEFAULT_PORT, DEFAULT_STATE_DIR, DEFAULT_TOKEN, Settings, find_images
from .switches import SwitchError

_CANNOT_START = 2
_ENGINE_NEEDS = ("cv2", "numpy", "PIL")


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 after a clean end, 2 with one line on stderr if it cannot start."""
    options = _parser().parse_args(arguments)
    try:
        settings = _settings(options)
        serve(settings, _port(options), end_with_stdin=options.end_with_stdin, verbose=options.verbose)
    except (StartError, SwitchError) as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return _CANNOT_START
    return 0


def _parser() -> argparse.ArgumentParser:
    package = (__package__ or "include.sandbox").strip()
    parser = argparse.ArgumentParser(
        prog=f"python -m {package}",
        description="A local server that speaks the GoEnhance image face swap API and really swaps faces.",
    )
    add = parser.add_argument
    add("--port", type=int, help=f"0: any free one (SANDBOX_PORT, else {DEFAULT_PORT})")
    add("--token", help=f"the token to accept (SANDBOX_TOKEN, else {DEFAULT_TOKEN})")
    add(
        "--state-dir",
        type=Path,
        default=DEFAULT_STATE_DIR,
        help="where ledger and pictures live (%(default)s)",
    )
    add("--images", type=Path, help="folder served under /images/ (the sample pictures)")
    add(
        "--engine",
        choices=("mesh", "none"),
        default="mesh",
        help="none: load mode, no pictures (%(default)s)",
    )
    add("--workers", type=int, default=1, help="processes that swap faces (%(default)s)")
    add("--faces", choices=("largest", "all"), default="largest", help="faces to replace (%(default)s)")
    add("--credits", type=int, default=DEFAULT_CREDITS, help="balance of a new state folder (%(default)s)")
    add(
        "--switch",
        action="append",
        default=[],
        metavar="NAME=JSON",
        help='a switch of PUT /sandbox/faults, e.g. job_seconds=0.1 or submit=\'{"kind": "hang", "count": 1}\'',
    )
    add("--end-with-stdin", action="store_true", help="end when standard input closes")
    add("--verbose", action="store_true", help="log each request")
    return parser


def _settings(options: argparse.Namespace) -> Settings:
    images = options.images or find_images()
    if images is not None and not images.is_dir():
        raise StartError(f"--images {images}: there is no such folder")
    if options.workers < 1:
        raise StartError(f"--workers {options.workers}: at least 1 is needed")
    if options.credits < 0:
        raise StartError(f"--credits {options.credits}: cannot be negative")
    if options.engine == "mesh":
        _check_engine()
    return Settings(
        token=options.token or os.environ.get("SANDBOX_TOKEN") or DEFAULT_TOKEN,
        state_dir=options.state_dir,
        images=images,
        engine=options.engine,
        workers=options.workers,
        faces=options.faces,
        credits=options.credits,
        switches=dict(_switch(text) for text in options.switch),
    )


def _port(options: argparse.Namespace) -> int:
    given = options.port if options.port is not None else os.environ.get("SANDBOX_PORT") or DEFAULT_PORT
    try:
        port = int(given)
    except ValueError:
        raise StartError(f"SANDBOX_PORT={given}: not a port number") from None
    if not 0 <= port <= 65535:
        raise StartError(f"port {port}: must lie between 0 and 65535")
    return port


def _switch(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise StartError(f"--switch {text}: write NAME=JSON")
    try:
        return name, json.loads(value)
    except ValueError:
        # A bare word is more often meant as text than as broken JSON.
        return name, value


def _check_engine() -> None:
    missing = [name for name in _ENGINE_NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        raise StartError(
            f"--engine mesh needs {', '.join(missing)}: install the extra "
            "`airflow-provider-goenhance[sandbox]`, or start with --engine none"
        )
