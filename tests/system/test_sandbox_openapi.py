# SPDX-License-Identifier: Apache-2.0
"""schemathesis drives the sandbox from its own OpenAPI document: nothing undocumented, no unasked-for 5xx."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("schemathesis", reason="install schemathesis to run this test")


VENDOR = Path(__file__).with_name("vendor_openapi.json")


ROOT = Path(__file__).resolve().parents[2]


def schemathesis(
    sandbox, document: str | Path, *options: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    where = str(document) if isinstance(document, Path) else f"{sandbox.url}/{document}"
    return subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", where, "--no-color", "--url", sandbox.url),
            *("--header", f"Authorization: Bearer {sandbox.token}", "--seed", "1"),
            *("--phases", "coverage,fuzzing", *options),
        ],
        cwd=ROOT,
        env=os.environ | environment,
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
# The vendor documents no status for an invalid body, so the default is HTTP 200; our own document has a 400 to check.
@pytest.mark.goenhance_sandbox(bad_request="http_400")
def test_the_sandbox_does_what_its_openapi_document_says(goenhance_sandbox, options):
    run = schemathesis(goenhance_sandbox, "openapi.json", *options)
    assert run.returncode == 0, run.stdout
    assert not re.search(r"\b0 passed", run.stdout)
    assert goenhance_sandbox.submissions() is not None


def test_every_answer_to_a_submit_is_one_that_the_vendor_documents(goenhance_sandbox):
    # The vendor documents 200, 401 and 500. What refuses a body is a `code` inside 200: schemathesis.toml says so, and
    # a check of our own looks at that code.
    run = schemathesis(
        goenhance_sandbox,
        VENDOR,
        "--max-examples",
        "60",
        SCHEMATHESIS_HOOKS="tests.system.refused_in_the_envelope",
    )
    assert run.returncode == 0, run.stdout
    assert not re.search(r"\b0 passed", run.stdout)


@pytest.mark.goenhance_sandbox(bad_request="http_500")
def test_the_documented_500_is_an_answer_that_the_vendor_documents(goenhance_sandbox):
    run = schemathesis(
        goenhance_sandbox, VENDOR, "--max-examples", "60", "--exclude-checks", "not_a_server_error"
    )
    assert run.returncode == 0, run.stdout


def test_schemathesis_would_notice_an_answer_that_is_not_documented(goenhance_sandbox):
    goenhance_sandbox.put_faults(tokens={"kind": "http_error", "status": 418})
    run = schemathesis(
        goenhance_sandbox, "openapi.json", "--include-path", "/api/v1/user/tokens", "--max-examples", "5"
    )
    assert run.returncode == 1
    assert "418" in run.stdout
    assert "ndocumented" in run.stdout
