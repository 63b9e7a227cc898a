# SPDX-License-Identifier: Apache-2.0
"""Which package may import from which. Imports only go down."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import airflow_provider_goenhance

PACKAGE = Path(airflow_provider_goenhance.__file__).parent
#: From the ground up. A package may import from layers below its own, and from itself.
LAYERS = (
    {"picture_address"},
    {"url_identity", "error_codes", "quality_codes"},
    {"exceptions", "redaction", "addresses", "detection", "compatibility"},
    {"api"},
    {"manifest", "results", "pictures"},
    {"inputs"},
    {"execution"},
    {"settings", "metrics", "assets"},
    {"hooks", "retry_policy"},
    {"triggers", "links", "lineage"},
    {"operators", "sensors"},
    {"decorators", "notifications"},
    {"cli"},
    {"web"},
    {"plugin"},
    {"example_dags"},
)
LAYER_OF = {package: layer for layer, packages in enumerate(LAYERS) for package in packages}
#: Packages that know nothing of Airflow. Manifest and pictures use its ObjectStoragePath, and nothing else of it.
PLAIN = {
    *(
        "exceptions",
        "error_codes",
        "quality_codes",
        "picture_address",
        "url_identity",
        "redaction",
        "addresses",
        "detection",
    ),
    *("api", "results", "inputs", "execution"),
}
#: Data about the package, which needs nothing of it.
OUTSIDE = {"__init__", "provider_info"}


def package_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> Iterator[str]:
    """Every module a file imports, wherever in the file: relative ones spelled out."""
    package = ("airflow_provider_goenhance", *path.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            names = [node.module] if node.module else [alias.name for alias in node.names]
            yield from (".".join((*base, name)) for name in names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


FILES = sorted(path for path in PACKAGE.rglob("*.py") if package_of(path) not in OUTSIDE)


def test_every_package_has_its_layer() -> None:
    assert {package_of(path) for path in FILES} == set(LAYER_OF)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_only_go_down(path: Path) -> None:
    package = package_of(path)
    for module in imports_of(path):
        name, _, rest = module.partition(".")
        if name != "airflow_provider_goenhance" or not rest:
            continue
        other = rest.split(".")[0]
        allowed = other == package or other in OUTSIDE or LAYER_OF[other] < LAYER_OF[package]
        assert allowed, f"{path.name} in {package} imports {module}, which is not below it"


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if package_of(path) in PLAIN],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_plain_packages_do_not_know_airflow(path: Path) -> None:
    assert [module for module in imports_of(path) if module.partition(".")[0] == "airflow"] == []
