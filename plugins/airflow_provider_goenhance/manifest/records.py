# SPDX-License-Identifier: Apache-2.0
"""Pairs that come as values from other tasks rather than from a file; held to the same rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_goenhance.manifest.model import Manifest
from airflow_provider_goenhance.manifest.rows import Rows
from airflow_provider_goenhance.manifest.validate import RowChecker


def check_pairs(records: Sequence[Mapping[str, Any]], *, location: str) -> Manifest:
    """
    Check pairs given as dicts.

    :param records: dicts with ``source_img`` and ``reference_img``, optionally ``pair_id`` and ``consent_ref``
    :param location: what to call their origin in messages
    :returns: all of them, as pairs or as rejected rows; ``row_number`` counts from 1
    """

    def column(name: str) -> list[str]:
        return ["" if record.get(name) is None else str(record[name]).strip() for record in records]

    checker = RowChecker()
    checker.add(
        Rows(
            row_number=list(range(1, len(records) + 1)),
            source_img=column("source_img"),
            reference_img=column("reference_img"),
            pair_id=column("pair_id"),
            consent_ref=column("consent_ref"),
            overflow=[""] * len(records),
        )
    )
    return Manifest(location=location, pairs=checker.pairs, rejected=checker.rejected)
