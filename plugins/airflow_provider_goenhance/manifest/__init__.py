# SPDX-License-Identifier: Apache-2.0
"""Read a manifest, check its rows, and choose batches. Plain Python; pandas is imported when a file is read."""

from __future__ import annotations
