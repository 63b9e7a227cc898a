# SPDX-License-Identifier: Apache-2.0
"""Start options of a sandbox. Options that can change at run time are in switches.py."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

DEFAULT_PORT = 8765
# Not a secret: the default of every sandbox. Starts with `sk-` like real keys, so that format checks pass.
DEFAULT_TOKEN = "sk-sandbox-token"  # noqa: S105
DEFAULT_CREDITS = 1_000_000
DEFAULT_STATE_DIR = Path(".local/sandbox")


def find_images() -> Path | None:
    """Return the folder of sample pictures: inside this package, or else beside it."""
    here = Path(__file__).resolve().parent
    for folder in (here / "images", here.parent / "images"):
        if folder.is_dir():
            return folder
    return None


@dataclass(frozen=True)
class Settings:
    """The start options of a sandbox."""

    token: str = DEFAULT_TOKEN
    state_dir: Path = DEFAULT_STATE_DIR
    images: Path | None = field(default_factory=find_images)
    public: Path | None = None
    engine: Literal["mesh", "none"] = "mesh"
    load_picture: Path | None = None
    workers: int = 1
    faces: Literal["largest", "all"] = "largest"
    credits: int = DEFAULT_CREDITS
    switches: dict[str, Any] = field(default_factory=dict)
