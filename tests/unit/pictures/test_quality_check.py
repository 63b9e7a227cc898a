# SPDX-License-Identifier: Apache-2.0
"""A team's own check of kept pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_provider_goenhance.pictures.quality import Verdict
from airflow_provider_goenhance.pictures.quality_check import Finding, load_check, with_findings
from airflow_provider_goenhance.quality_codes import Quality

OK = Verdict(Quality.OK, 2.0, {"changed": 9.0})


def checked(check: Any, verdict: Verdict = OK) -> Verdict:
    return with_findings(verdict, check, None, None, Path("/nowhere.jpg"))


def test_a_finding_flags_a_picture_that_was_ok() -> None:
    found = checked(lambda *_: [Finding("wrong_person", "distance 0.9")])
    assert (found.quality, found.score) == ("flagged", 2.0)
    assert found.figures["findings"] == [{"code": "wrong_person", "message": "distance 0.9"}]


@pytest.mark.parametrize("found", ["wrong_person", {"code": "wrong_person", "distance": 0.9}])
def test_a_finding_may_be_its_code_or_a_mapping(found: Any) -> None:
    assert checked(lambda *_: [found]).figures["findings"] == [{"code": "wrong_person", "message": ""}]


def test_no_finding_changes_nothing() -> None:
    assert checked(lambda *_: []) == OK


def test_a_picture_that_is_blank_stays_blank() -> None:
    assert checked(lambda *_: ["wrong_person"], Verdict(Quality.BLANK, 0.0)).quality == "blank"


@pytest.mark.parametrize("returned", [None, 3, [3]])
def test_a_check_that_returns_nonsense_is_no_finding(returned: Any) -> None:
    found = checked(lambda *_: returned)
    assert found.quality == "ok"
    assert "Error" in found.figures["check_failed"]


def test_an_error_of_the_check_is_noted_and_is_no_finding() -> None:
    def broken(*_: Any) -> list[str]:
        raise RuntimeError("no GPU")

    found = checked(broken)
    assert (found.quality, found.figures["check_failed"]) == ("ok", "RuntimeError: no GPU")


def test_a_check_is_named_by_its_import_path() -> None:
    assert load_check("os.path.join") is load_check("os.path:join") is not None
    assert load_check("") is load_check(None) is None


@pytest.mark.parametrize(
    "path", ["no_such_module.check", "os.path.no_such_function", "check", "os.sep", ".x"]
)
def test_a_check_that_does_not_exist_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="quality_check must"):
        load_check(path)
