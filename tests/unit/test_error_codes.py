# SPDX-License-Identifier: Apache-2.0
"""The list of error codes is complete, documented, and the only place where a code is written as text."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

import airflow_provider_goenhance
from airflow_provider_goenhance import exceptions
from airflow_provider_goenhance.exceptions import ErrorCode, GoEnhanceError

PACKAGE = Path(airflow_provider_goenhance.__file__).parent
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "error_codes.py")
CLASSES = [
    value
    for value in vars(exceptions).values()
    if isinstance(value, type) and issubclass(value, GoEnhanceError)
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_error_code_is_written_as_a_literal(path: Path) -> None:
    literals = [
        f"line {node.lineno}: {node.value!r}"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in set(ErrorCode)
    ]
    assert literals == []


@pytest.mark.parametrize("class_", CLASSES, ids=lambda class_: class_.__name__)
def test_every_error_class_uses_a_listed_code(class_: type[GoEnhanceError]) -> None:
    assert class_.error_code in set(ErrorCode)
    assert class_("message").error_code in set(ErrorCode)


def test_every_code_has_a_line_that_says_what_it_means_and_what_to_do() -> None:
    lines = inspect.getsource(ErrorCode).splitlines()
    members = {
        line.split(" = ")[0].strip(): lines[number - 1].strip()
        for number, line in enumerate(lines)
        if ' = "' in line
    }
    assert set(members) == set(ErrorCode.__members__)
    assert [name for name, comment in members.items() if not comment.startswith("#: ")] == []
