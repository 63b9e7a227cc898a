# SPDX-License-Identifier: Apache-2.0
"""The policy that swaps no face without a consent reference."""

from __future__ import annotations

from pathlib import Path

from airflow_provider_goenhance.manifest.read import read_manifest


def test_a_row_without_consent_is_rejected_where_consent_is_required(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.csv"
    manifest.write_text(
        "source_img,reference_img,consent_ref\n"
        "https://example.com/a.jpg,https://example.com/b.jpg,contract 17\n"
        "https://example.com/a.jpg,https://example.com/c.jpg,\n"
    )
    read = read_manifest(str(manifest), require_consent=True)
    assert [pair.consent_ref for pair in read.pairs] == ["contract 17"]
    assert [(row.row_number, row.column, row.code) for row in read.rejected] == [
        (3, "consent_ref", "no_consent")
    ]


def test_consent_is_not_asked_for_unless_required(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("source_img,reference_img\nhttps://example.com/a.jpg,https://example.com/b.jpg\n")
    assert len(read_manifest(str(manifest)).pairs) == 1
