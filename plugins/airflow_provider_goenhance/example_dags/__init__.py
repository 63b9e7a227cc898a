# SPDX-License-Identifier: Apache-2.0
"""Dags to copy from."""

from __future__ import annotations
