# SPDX-License-Identifier: Apache-2.0
"""Tests use the public names of the code they test, and unit tests stand without the integration tests."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
#: The code under test. Private names of other projects are outside this rule.
OURS = ("airflow_provider_goenhance", "include", "goenhance_sandbox")
FILES = sorted(path.relative_to(TESTS) for path in TESTS.rglob("*.py"))


def is_ours(module: str) -> bool:
    return module.split(".")[0] in OURS


def is_private(dotted: str) -> bool:
    return any(part.startswith("_") and not part.endswith("__") for part in dotted.split("."))


def root_of(node: ast.expr) -> str | None:
    """Return the name that an attribute chain or call starts from."""
    while isinstance(node, ast.Attribute | ast.Call | ast.Subscript):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else None


def imports_of(tree: ast.AST, file: Path) -> Iterator[tuple[str, str, str]]:
    """Yield module, imported name and local name of every import; relative modules are spelled out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, "", alias.asname or alias.name.split(".")[0]
        elif isinstance(node, ast.ImportFrom):
            package = ("tests", *file.parent.parts)
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *([node.module] if node.module else [])))
            for alias in node.names:
                yield module, alias.name, alias.asname or alias.name


def patches_of(tree: ast.AST) -> Iterator[tuple[str | None, str, int]]:
    """Yield root name, dotted attribute and line of every ``monkeypatch.setattr`` and ``delattr``."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
            continue
        if node.func.attr not in {"setattr", "delattr"} or root_of(node.func) != "monkeypatch":
            continue
        first, *others = node.args
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            yield first.value.split(".")[0], first.value, node.lineno
        elif others and isinstance(others[0], ast.Constant):
            yield root_of(first), str(others[0].value), node.lineno


def private_uses(source: str, file: Path) -> list[str]:
    """List the uses of private names of the code under test, each with its line or import."""
    tree = ast.parse(source)
    origin: dict[str, str] = {}
    found = []
    for module, name, local in imports_of(tree, file):
        origin[local] = module
        if is_ours(module) and is_private(f"{module}.{name}"):
            found.append(f"from {module} import {name}")
    for root, attribute, line in patches_of(tree):
        # An object that was not imported comes from a fixture or a local variable, and is ours unless proven otherwise.
        if is_private(attribute) and is_ours(origin.get(root or "", OURS[0])):
            found.append(f"line {line}: setattr of {attribute}")
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            module = origin.get(root_of(node) or "", "")
            if module and is_ours(module):
                found.append(f"line {node.lineno}: {ast.unparse(node)}")
    return found


@pytest.mark.parametrize("file", FILES, ids=str)
def test_a_test_file_uses_no_private_name_of_the_code_under_test(file: Path) -> None:
    assert private_uses((TESTS / file).read_text(), file) == []


@pytest.mark.parametrize("file", [file for file in FILES if file.parts[0] == "unit"], ids=str)
def test_a_unit_test_imports_nothing_from_the_integration_tests(file: Path) -> None:
    modules = {module for module, _, _ in imports_of(ast.parse((TESTS / file).read_text()), file)}

    assert {module for module in modules if module.startswith(("tests.integration", "tests.system"))} == set()


@pytest.mark.parametrize(
    "source",
    [
        "from airflow_provider_goenhance.api.client import _x",
        "from airflow_provider_goenhance.api._client import x",
        "from include.local import run\nrun._follow()",
        "monkeypatch.setattr('include.local.run._POLL_S', 0)",
        "def test(monkeypatch, ledger): monkeypatch.setattr(ledger.database, '_run', None)",
    ],
)
def test_a_private_use_is_found(source: str) -> None:
    assert len(private_uses(source, Path("unit/test_x.py"))) == 1


@pytest.mark.parametrize(
    "source",
    [
        "from airflow._shared import x",
        "import sys\nsys._getframe()",
        "from airflow.sdk import io\nmonkeypatch.setattr(io, '_STORE_CACHE', {})",
        "from include.local import run\nrun.__name__",
        "from .databases import planned\nplanned()",
    ],
)
def test_what_is_public_or_belongs_to_others_is_allowed(source: str) -> None:
    assert private_uses(source, Path("unit/test_x.py")) == []
