# SPDX-License-Identifier: Apache-2.0
"""
What Airflow learns of this package from its entry point.

Airflow reads it while it starts, before its configuration is there: import nothing here that needs more than Python.
"""

from __future__ import annotations

from typing import Any

from . import __version__

_PACKAGE = "airflow_provider_goenhance"


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata."""
    return {
        "package-name": "airflow-provider-goenhance",
        "name": "GoEnhance",
        "description": "Face swaps through the GoEnhance API: never pay twice, never lose a swap that was paid for.",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": "GoEnhance",
                "external-doc-url": "https://docs.goenhance.ai",
                "tags": ["service"],
            }
        ],
        "hooks": [{"integration-name": "GoEnhance", "python-modules": [f"{_PACKAGE}.hooks.goenhance"]}],
        "operators": [
            {
                "integration-name": "GoEnhance",
                "python-modules": [
                    f"{_PACKAGE}.operators.face_swap",
                    f"{_PACKAGE}.operators.face_swap_batch",
                    f"{_PACKAGE}.operators.collect",
                    f"{_PACKAGE}.operators.plan",
                    f"{_PACKAGE}.operators.report",
                ],
            }
        ],
        "sensors": [{"integration-name": "GoEnhance", "python-modules": [f"{_PACKAGE}.sensors.job"]}],
        "triggers": [{"integration-name": "GoEnhance", "python-modules": [f"{_PACKAGE}.triggers.face_swap"]}],
        "extra-links": [f"{_PACKAGE}.links.SwappedPicturesLink", f"{_PACKAGE}.links.ContactSheetLink"],
        "connection-types": [_connection_type()],
        "config": _config(),
    }


def _connection_type() -> dict[str, Any]:
    return {
        "connection-type": "goenhance",
        "hook-class-name": f"{_PACKAGE}.hooks.goenhance.GoEnhanceHook",
        "hook-name": "GoEnhance",
        "ui-field-behaviour": {
            "hidden-fields": ["login", "schema"],
            "relabeling": {"password": "API token", "host": "Host (blank: the real API)"},
            "placeholders": {"password": "sk-...", "host": "https://api.goenhance.ai"},
        },
        "conn-fields": {
            "max_concurrency": {
                "label": "Requests at once",
                "description": "Requests one task may have under way at once. Default 10.",
                "schema": {"type": ["integer", "null"], "minimum": 1, "default": None},
            },
            "requests_per_second": {
                "label": "Submits per second",
                "description": "Submits one task may start per second. Default: no limit.",
                "schema": {"type": ["number", "null"], "minimum": 0, "default": None},
            },
            "request_timeout": {
                "label": "Request timeout (s)",
                "description": "Seconds for one request, connecting included. Default 60.",
                "schema": {"type": ["number", "null"], "minimum": 1, "default": None},
            },
            "account_name": {
                "label": "Account name",
                "description": "Tells this account from others in the results table, also after the token was rotated. "
                "Default: derived from host and token.",
                "schema": {"type": ["string", "null"], "default": None},
            },
        },
    }


def _config() -> dict[str, Any]:
    return {
        "goenhance": {
            "description": "Defaults for face swaps through GoEnhance.",
            "options": {
                "storage": {
                    "description": "Folder, or ObjectStoragePath URL, where finished pictures are kept unless a task "
                    "says otherwise. Blank: goenhance_swaps in the Airflow home.",
                    "version_added": "0.1.0",
                    "type": "string",
                    "example": "s3://my-bucket/face-swaps",
                    "default": "",
                },
                "freeze_heap": {
                    "description": "Let the first face swap that waits in a triggerer call gc.freeze(), once, so that "
                    "Python's full garbage collections no longer walk through all of Airflow and stop every trigger "
                    "for some tenths of a second. False leaves the garbage collector alone.",
                    "version_added": "0.1.0",
                    "type": "boolean",
                    "example": "False",
                    "default": "True",
                },
            },
        }
    }
