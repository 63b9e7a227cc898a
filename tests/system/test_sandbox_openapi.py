# SPDX-License-Identifier: Apache-2.0
"""schemathesis drives the sandbox from its own OpenAPI document: nothing undocumented, no unasked-for 5xx."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("schemathesis", reason="install schemathesis to run this test")


def schemathesis(sandbox, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{sandbox.url}/openapi.json", "--no-color"),
            *("--header", f"Authorization: Bearer {sandbox.token}", "--seed", "1"),
            *("--phases", "coverage,fuzzing", *options),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize(
    "options",
    [
        # Random faults would spoil the other calls, so the switches are driven in a run of their own.
        ("--exclude-path", "/sandbox/faults", "--max-examples", "60"),
        ("--include-path", "/sandbox/faults", "--max-examples", "200"),
    ],
    ids=["api", "switches"],
)
def test_the_sandbox_does_what_its_openapi_document_says(goenhance_sandbox, options):
    run = schemathesis(goenhance_sandbox, *options)
    assert run.returncode == 0, run.stdout
    assert "0 passed" not in run.stdout
    assert goenhance_sandbox.submissions() is not None


def test_schemathesis_would_notice_an_answer_that_is_not_documented(goenhance_sandbox):
    goenhance_sandbox.put_faults(tokens={"kind": "http_error", "status": 418})
    run = schemathesis(goenhance_sandbox, "--include-path", "/api/v1/user/tokens", "--max-examples", "5")
    assert run.returncode == 1
    assert "418" in run.stdout
    assert "ndocumented" in run.stdout
