# SPDX-License-Identifier: Apache-2.0
"""The sandbox's own face swap: plain pictures in, a plain picture out, on a CPU and with no network."""

from __future__ import annotations

from .engine import FaceSwapEngine, Swap
from .errors import EngineError

__all__ = ["EngineError", "FaceSwapEngine", "Swap"]
