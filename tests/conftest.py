# SPDX-License-Identifier: Apache-2.0
"""Fixtures for all tests."""

from __future__ import annotations

pytest_plugins = ["include.sandbox.pytest_plugin"]
