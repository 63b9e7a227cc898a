# SPDX-License-Identifier: Apache-2.0
"""
The metadata of the provider, which Airflow reads through the package's entry point.

Airflow reads it at startup, before its configuration is loaded: import only the standard library here.
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
        "description": "Face swaps with the GoEnhance API: never pay twice, never lose a swap that was paid for.",
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
                    f"{_PACKAGE}.operators.retention",
                ],
            }
        ],
        "sensors": [{"integration-name": "GoEnhance", "python-modules": [f"{_PACKAGE}.sensors.job"]}],
        "triggers": [
            {
                "integration-name": "GoEnhance",
                "python-modules": [f"{_PACKAGE}.triggers.face_swap", f"{_PACKAGE}.triggers.manifest"],
            }
        ],
        "extra-links": [f"{_PACKAGE}.links.SwappedPicturesLink", f"{_PACKAGE}.links.ContactSheetLink"],
        "task-decorators": [
            {
                "name": "goenhance_face_swap_batch",
                "class-name": f"{_PACKAGE}.decorators.face_swap_batch.goenhance_face_swap_batch_task",
            }
        ],
        "asset-uris": [
            {
                "schemes": ["goenhance"],
                "handler": f"{_PACKAGE}.assets.sanitize_uri",
                "factory": f"{_PACKAGE}.assets.create_asset",
                "to_openlineage_converter": f"{_PACKAGE}.assets.convert_asset_to_openlineage",
            }
        ],
        "cli": [f"{_PACKAGE}.cli.definition.get_goenhance_cli_commands"],
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
            "relabeling": {"password": "API token", "host": "Host (optional)"},
            "placeholders": {"password": "sk-...", "host": "https://api.goenhance.ai", "port": "443"},
        },
        "conn-fields": {
            "max_concurrency": {
                "label": "Concurrent submits",
                "description": "Maximum number of concurrent submits of the account, across all tasks that share a "
                "results table. Default 32.",
                "schema": {"type": ["integer", "null"], "minimum": 1, "default": None},
            },
            "max_downloads": {
                "label": "Concurrent downloads",
                "description": "Maximum number of pictures that one task downloads at the same time; fewer if the "
                "pictures' host is slow or their size requires it. Default 32.",
                "schema": {"type": ["integer", "null"], "minimum": 1, "default": None},
            },
            "requests_per_second": {
                "label": "Submits per second",
                "description": "Maximum number of submits of the account per second, across all tasks that share a "
                "results table. Default: no limit.",
                "schema": {"type": ["number", "null"], "minimum": 0, "default": None},
            },
            "request_timeout": {
                "label": "Request timeout (s)",
                "description": "Seconds for one request, including the connection. Default 60.",
                "schema": {"type": ["number", "null"], "minimum": 1, "default": None},
            },
            "submit_attempts": {
                "label": "Submit attempts",
                "description": "How many times a submit is sent, as long as it is certain that none was accepted. "
                "Default 6.",
                "schema": {"type": ["integer", "null"], "minimum": 1, "default": None},
            },
            "get_attempts": {
                "label": "Status call attempts",
                "description": "How many times a status or credits call is sent if it fails. Default 4.",
                "schema": {"type": ["integer", "null"], "minimum": 1, "default": None},
            },
            "account_name": {
                "label": "Account name",
                "description": "Identifies the account in the results table, even after the token is rotated. "
                "Default: derived from host and token.",
                "schema": {"type": ["string", "null"], "default": None},
            },
            "max_jobs": {
                "label": "Jobs in progress",
                "description": "Maximum number of jobs of the account that are submitted and not finished, across all "
                "tasks that share a results table. A number, or queue_limit for the limit that GoEnhance reports. "
                "Default: no limit.",
                "schema": {"type": ["string", "null"], "default": None},
            },
            "max_pairs_per_day": {
                "label": "Pairs per day",
                "description": "Maximum number of pairs that all tasks may pay for per UTC day. Default: no limit.",
                "schema": {"type": ["integer", "null"], "minimum": 1, "default": None},
            },
            "max_cost_per_day": {
                "label": "Credits per day",
                "description": "Maximum number of credits that all tasks may spend per UTC day. Default: no limit.",
                "schema": {"type": ["integer", "null"], "minimum": 1, "default": None},
            },
            "credits_per_swap": {
                "label": "Credits per swap",
                "description": "Price of one swap, used until GoEnhance has reported what it charges. Needed for "
                "budgets in credits.",
                "schema": {"type": ["integer", "null"], "minimum": 1, "default": None},
            },
        },
    }


def _config() -> dict[str, Any]:
    return {
        "goenhance": {
            "description": "Settings of the GoEnhance provider.",
            "options": {
                "storage": {
                    "description": "Folder or ObjectStoragePath URL for finished pictures, unless a task sets its own "
                    "storage. Blank: goenhance_swaps in the Airflow home.",
                    "version_added": "0.1.0",
                    "type": "string",
                    "example": "s3://my-bucket/face-swaps",
                    "default": "",
                },
                "input_folders": {
                    "description": "Folders, separated by commas, from which pictures named by a local path may be "
                    "read, including subfolders. Default: none, because a manifest may come from someone else.",
                    "version_added": "0.2.0",
                    "type": "string",
                    "example": "/data/portraits,/data/scenes",
                    "default": "",
                },
                "input_link_seconds": {
                    "description": "How long a signed link to a private picture is valid, in seconds. GoEnhance may "
                    "queue a job for hours before it fetches the pictures. If the credentials expire sooner, so does "
                    "the link.",
                    "version_added": "0.2.0",
                    "type": "integer",
                    "example": "21600",
                    "default": "43200",
                },
                "staging": {
                    "description": "Folder or ObjectStoragePath URL for copies of pictures that GoEnhance cannot fetch "
                    "directly: local files, and pictures that had to be changed. Its objects must be of a "
                    "kind that can be signed, unless staging_url is set.",
                    "version_added": "0.2.0",
                    "type": "string",
                    "example": "s3://my_conn@my-bucket/staging",
                    "default": "",
                },
                "staging_url": {
                    "description": "Address under which GoEnhance can fetch what is in the staging storage, such as "
                    "that of a web server that serves the folder. Anyone who knows the SHA-256 of a picture can fetch "
                    "it too. Blank: each copy gets a signed link.",
                    "version_added": "0.2.0",
                    "type": "string",
                    "example": "https://pictures.example.com/staging",
                    "default": "",
                },
                "keep_staged": {
                    "description": "Leave staged copies to a lifecycle rule of the storage, instead of removing each "
                    "when the outcome of its job is known. Then all tasks share one copy of a picture.",
                    "version_added": "0.2.0",
                    "type": "boolean",
                    "example": "True",
                    "default": "False",
                },
                "thumbnails": {
                    "description": "Store thumbnails of result, source and reference beside each picture when it is "
                    "collected, unless a task sets thumbnails.",
                    "version_added": "0.2.0",
                    "type": "boolean",
                    "example": "False",
                    "default": "True",
                },
                "quality": {
                    "description": "Compare each picture with its reference when it is collected, and record whether "
                    "it is suspicious, unless a task sets quality.",
                    "version_added": "0.2.0",
                    "type": "boolean",
                    "example": "False",
                    "default": "True",
                },
                "quality_check": {
                    "description": "Import path of a function that checks collected pictures with a model of your own, "
                    "unless a task sets quality_check. Blank: none.",
                    "version_added": "0.2.0",
                    "type": "string",
                    "example": "my_checks.same_person",
                    "default": "",
                },
                "freeze_heap": {
                    "description": "Let the plugin call gc.freeze() when a triggerer starts, before any trigger runs, "
                    "so that full garbage collections no longer scan all of Airflow and block every trigger for some "
                    "tenths of a second. Only what is loaded at the start, which stays loaded anyway, is excluded from "
                    "collections. Other components are left alone.",
                    "version_added": "0.1.0",
                    "type": "boolean",
                    "example": "False",
                    "default": "True",
                },
                "batch_schedule": {
                    "description": "Schedule of the Dag goenhance_face_swap_batch: a cron expression. Blank: it only "
                    "runs when it is triggered.",
                    "version_added": "0.2.0",
                    "type": "string",
                    "example": "30 4 * * 1-5",
                    "default": "0 2 * * *",
                },
                "keep_pictures_days": {
                    "description": "For how many days pictures are kept: GoEnhanceRetentionOperator deletes older "
                    "ones. 0 keeps them indefinitely.",
                    "version_added": "0.2.0",
                    "type": "integer",
                    "example": "90",
                    "default": "0",
                },
                "max_xcom_pairs": {
                    "description": "A batch task with at most this many pairs pushes the img_uuid of each to XCom and "
                    "returns the status of each; one with more returns counts, and where its rows are in the results "
                    "table.",
                    "version_added": "0.2.0",
                    "type": "integer",
                    "example": "100",
                    "default": "1000",
                },
            },
        }
    }
