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

from .placeholder import is_jpeg
from .server import StartError, serve
from .settings import DEFAULT_CREDITS, DEFAULT_PORT, DEFAULT_STATE_DIR, DEFAULT_TOKEN, Settings, find_images
from .switches import SwitchError

_CANNOT_START = 2
_ENGINE_NEEDS = ("cv2", "numpy", "PIL")


def main(arguments: list[str] | None = None) -> int:
    """Run the sandbox; return 0 after a clean exit, or print one line to stderr and return 2 if it cannot start."""
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
        description="A local server that implements the GoEnhance image face swap API and really swaps faces.",
    )
    add = parser.add_argument
    add(
        "--port",
        type=int,
        help=f"port to listen on; 0: any free port (default: SANDBOX_PORT or {DEFAULT_PORT})",
    )
    add("--token", help=f"token to accept (default: SANDBOX_TOKEN or {DEFAULT_TOKEN})")
    add(
        "--state-dir",
        type=Path,
        default=DEFAULT_STATE_DIR,
        help="folder for the ledger and the pictures (default: %(default)s)",
    )
    add("--images", type=Path, help="folder served under /images/ (default: the sample pictures)")
    add("--public", type=Path, help="another folder of pictures, served with what is below it under /public/")
    add(
        "--engine",
        choices=("mesh", "none"),
        default="mesh",
        help="none: load mode, without pictures (default: %(default)s)",
    )
    add(
        "--load-picture",
        type=Path,
        help="the JPEG that load mode serves for every job (default: a tiny PNG)",
    )
    add("--workers", type=int, default=1, help="number of processes that swap faces (default: %(default)s)")
    add(
        "--faces",
        choices=("largest", "all"),
        default="largest",
        help="faces to replace (default: %(default)s)",
    )
    add(
        "--credits",
        type=int,
        default=DEFAULT_CREDITS,
        help="balance of a new state folder (default: %(default)s)",
    )
    add(
        "--switch",
        action="append",
        default=[],
        metavar="NAME=JSON",
        help='switch of PUT /sandbox/faults, e.g. job_seconds=0.1 or submit=\'{"kind": "hang", "count": 1}\'',
    )
    add("--end-with-stdin", action="store_true", help="exit when standard input is closed")
    add("--verbose", action="store_true", help="log each request")
    return parser


def _settings(options: argparse.Namespace) -> Settings:
    images = options.images or find_images()
    if images is not None and not images.is_dir():
        raise StartError(f"--images {images}: the folder does not exist")
    if options.workers < 1:
        raise StartError(f"--workers must be at least 1; got --workers {options.workers}")
    if options.credits < 0:
        raise StartError(f"--credits must not be negative; got --credits {options.credits}")
    if options.engine == "mesh":
        _check_engine()
    picture = options.load_picture
    if picture is not None and not (picture.is_file() and is_jpeg(picture)):
        raise StartError(f"--load-picture must be a JPEG file; got --load-picture {picture}")
    return Settings(
        token=options.token or os.environ.get("SANDBOX_TOKEN") or DEFAULT_TOKEN,
        state_dir=options.state_dir,
        images=images,
        public=options.public,
        engine=options.engine,
        load_picture=options.load_picture,
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
        raise StartError(f"SANDBOX_PORT must be a port number; got SANDBOX_PORT={given}") from None
    if not 0 <= port <= 65535:
        raise StartError(f"port {port} must be between 0 and 65535")
    return port


def _switch(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise StartError(f"--switch must have the form NAME=JSON; got {text!r}")
    try:
        return name, json.loads(value)
    except ValueError:
        # A bare word is more likely meant as text than as invalid JSON.
        return name, value


def _check_engine() -> None:
    missing = [name for name in _ENGINE_NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        raise StartError(
            f"--engine mesh needs {', '.join(missing)}: install the extra "
            "`airflow-provider-goenhance[sandbox]`, or use --engine none"
        )
