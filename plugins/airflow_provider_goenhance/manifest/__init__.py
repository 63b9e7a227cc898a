# SPDX-License-Identifier: Apache-2.0
"""The manifest: read it, check each row, cut it into batches. Plain Python; pandas loads when a file is read."""

from __future__ import annotations
