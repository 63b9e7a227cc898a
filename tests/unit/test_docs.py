# SPDX-License-Identifier: Apache-2.0
"""The documentation describes the code as it is: arguments, error codes, columns, files, commands."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_goenhance import exceptions
from airflow_provider_goenhance.operators.collect import GoEnhanceCollectOperator
from airflow_provider_goenhance.operators.face_swap import GoEnhanceFaceSwapOperator
from airflow_provider_goenhance.operators.face_swap_batch import GoEnhanceFaceSwapBatchOperator
from airflow_provider_goenhance.operators.plan import GoEnhancePlanOperator
from airflow_provider_goenhance.operators.report import GoEnhanceReportOperator
from airflow_provider_goenhance.operators.retention import GoEnhanceRetentionOperator
from airflow_provider_goenhance.provider_info import get_provider_info
from airflow_provider_goenhance.results.schema import swaps_table
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.sensors.job import GoEnhanceJobSensor
from include.sandbox.switches import FileKind, JobKind, SubmitKind, Switches

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "plugins" / "airflow_provider_goenhance"
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.glob("*.md"), *ROOT.glob("*.md"), *(ROOT / "include").rglob("*.md")])
#: These describe the tree as it is; the changelog also names what is gone.
CURRENT = [page for page in PAGES if page.name != "CHANGELOG.md"]

#: Paths in a reader's own project, and in the package that a file was taken from.
NOT_HERE = {"conftest.py", "mediapipe/python/solutions/face_mesh_connections.py"}

EVERY_CLASS = "Every class"
BOTH_SWAPS = "Both swap operators"
#: The sections of docs/operators.md that describe the arguments of a class, the most specific one last.
SECTIONS: Mapping[type, tuple[str, ...]] = {
    GoEnhanceFaceSwapOperator: (EVERY_CLASS, BOTH_SWAPS, "`GoEnhanceFaceSwapOperator`"),
    GoEnhanceFaceSwapBatchOperator: (EVERY_CLASS, BOTH_SWAPS, "`GoEnhanceFaceSwapBatchOperator`"),
    GoEnhancePlanOperator: (EVERY_CLASS, "`GoEnhancePlanOperator`"),
    GoEnhanceCollectOperator: (EVERY_CLASS, "`GoEnhanceCollectOperator`"),
    GoEnhanceReportOperator: (EVERY_CLASS, "`GoEnhanceReportOperator`"),
    GoEnhanceRetentionOperator: ("`GoEnhanceRetentionOperator`",),
    GoEnhanceJobSensor: (EVERY_CLASS, "`GoEnhanceJobSensor`"),
}
#: Defaults that are an object or come from Airflow's configuration; the page says so in words.
IN_WORDS = {
    "retry_policy": "the package's own",
    "deferrable": "`[operators] default_deferrable`",
    "approval_timeout": "12 hours",
}
#: Where an argument is kept under another name, because BaseOperator has an attribute of its own name.
FIELD_OF = {(GoEnhanceCollectOperator, "dag_id"): "dag_id_of_run"}

#: Turns of phrase that do not belong in this project's texts.
BANNED = re.compile(
    r"\b(anew|so many|mend(s|ed|ing)?|came to|to be had|br(ing|ings|ought|inging) [\w ]{0,20}?home|homecoming|of old|"
    r"at an end|is told|whoever|nobody|for ever|t(ake|akes|aken|ook) over|gone wrong|rooms?|house|floors?)\b",
    re.IGNORECASE,
)


def rows_of(page: Path, section: str | None = None) -> Iterator[list[str]]:
    """Every table row of a page, or of one of its sections, as a list of cells."""
    text = page.read_text()
    if section is not None:
        found = re.search(rf"^#+ {re.escape(section)}\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
        assert found, f"{page.name} has no section {section!r}"
        text = found[1]
    for line in text.splitlines():
        if line.startswith("| ") and not line.startswith("| ---"):
            yield [cell.strip() for cell in line.strip().strip("|").split(" | ")]


def names_in(page: Path) -> set[str]:
    """Every name in backticks in the first column of a page's tables."""
    return {name for row in rows_of(page) for name in re.findall(r"`([^`]+)`", row[0])}


def documented(cls: type) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for section in SECTIONS[cls]:
        for row in rows_of(DOCS / "operators.md", section):
            if name := re.fullmatch(r"`(\w+)`", row[0]):
                found[name[1]] = row
    return found


def arguments(cls: type) -> dict[str, Any]:
    """The arguments that this package adds to those of Airflow's own base classes, with their defaults."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.startswith("airflow_provider_goenhance.") and "__init__" in vars(base):
            parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
            found |= {p.name: p.default for p in parameters if p.kind is not p.VAR_KEYWORD}
    found.pop("self", None)
    return found


ARGUMENTS = [(cls, name) for cls in SECTIONS for name in arguments(cls)]


def test_every_operator_and_sensor_has_a_section() -> None:
    info = get_provider_info()
    modules = [module for kind in ("operators", "sensors") for module in info[kind][0]["python-modules"]]
    assert sorted(modules) == sorted(cls.__module__ for cls in SECTIONS)
    overview = {row[0] for row in rows_of(DOCS / "operators.md", "Operators and sensor")}
    assert {f"`{cls.__name__}`" for cls in SECTIONS} - overview == set()


@pytest.mark.parametrize(("cls", "name"), ARGUMENTS, ids=lambda value: getattr(value, "__name__", value))
def test_every_argument_is_documented_with_default_and_templating(cls: type, name: str) -> None:
    row = documented(cls).get(name)
    assert row, f"docs/operators.md does not describe {name} of {cls.__name__}"
    _, type_, default, templated, meaning = row
    assert type_
    assert meaning
    field = FIELD_OF.get((cls, name), name)
    assert templated == ("yes" if field in cls.template_fields else "no")  # type: ignore[attr-defined]
    expected = arguments(cls)[name]
    if name in IN_WORDS:
        assert default == IN_WORDS[name]
    elif expected is inspect.Parameter.empty:
        assert default == "required"
    elif expected is None:
        assert default.partition(":")[0] == "none"
    else:
        assert ast.literal_eval(default.strip("`")) == expected


def test_no_argument_is_documented_that_does_not_exist() -> None:
    for cls, sections in SECTIONS.items():
        own = {row[0].strip("`") for row in rows_of(DOCS / "operators.md", sections[-1])} - {"argument"}
        assert own <= set(arguments(cls)), cls.__name__
    for section in (EVERY_CLASS, BOTH_SWAPS):
        shared = {row[0].strip("`") for row in rows_of(DOCS / "operators.md", section)} - {"argument"}
        users = [cls for cls in SECTIONS if section in SECTIONS[cls]]
        assert shared <= {name for cls in users for name in arguments(cls)}, section


def error_codes() -> set[str]:
    """The codes of every exception class, and those of the enum."""
    of_classes = {
        error.error_code
        for error in vars(exceptions).values()
        if isinstance(getattr(error, "error_code", None), str)
    }
    return of_classes | {code.value for code in getattr(exceptions, "ErrorCode", ())}


def codes_named_in_the_code() -> set[str]:
    """Codes that are written as text where an error or a row is made."""
    found: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        found |= set(re.findall(r"error_code(?:: str)? ?= ?\"(\w+)\"", path.read_text()))
    return found


def test_every_error_code_is_documented() -> None:
    codes = error_codes() | codes_named_in_the_code()
    assert "token_refused" in codes
    assert codes - names_in(DOCS / "errors.md") == set()


def test_every_column_and_status_is_documented() -> None:
    described = names_in(DOCS / "results-table.md")
    assert {column.name for column in swaps_table().columns} - described == set()
    assert {str(status) for status in Status} - described == set()


def test_every_option_of_the_configuration_is_documented() -> None:
    for option in get_provider_info()["config"]["goenhance"]["options"]:
        assert f"AIRFLOW__GOENHANCE__{option.upper()}" in (DOCS / "deployment.md").read_text(), option


def test_every_field_of_the_connection_is_documented() -> None:
    for field in get_provider_info()["connection-types"][0]["conn-fields"]:
        assert f"`{field}`" in (DOCS / "connection.md").read_text(), field


def test_every_switch_and_fault_of_the_sandbox_is_documented() -> None:
    described = (DOCS / "sandbox.md").read_text()
    kinds = set(re.findall(r"'(\w+)'", f"{FileKind} {JobKind} {SubmitKind}"))
    assert "disconnect" in kinds
    assert [name for name in {*kinds, *Switches.model_fields} if f"`{name}`" not in described] == []


def test_every_extra_that_is_named_exists() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    for page in CURRENT:
        for extra in re.findall(r"(?:airflow-provider-goenhance|'\.)\[(\w+)\]", page.read_text()):
            assert re.search(rf"^{extra} = \[", project, re.MULTILINE), f"{page.name} names the extra {extra}"


def pages_in(nav: Any) -> Iterator[str]:
    """Every page that the navigation of the site lists."""
    if isinstance(nav, str):
        yield nav
    else:
        for entry in nav.values() if isinstance(nav, dict) else nav:
            yield from pages_in(entry)


def test_the_navigation_of_the_site_lists_every_page_once() -> None:
    nav = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]
    assert sorted(pages_in(nav)) == sorted(page.name for page in DOCS.glob("*.md"))


def test_the_readme_lists_every_page() -> None:
    text = (ROOT / "README.md").read_text()
    assert [page.name for page in DOCS.glob("*.md") if f"(docs/{page.name})" not in text] == []


def test_the_reference_has_every_operator_sensor_and_hook() -> None:
    named = re.findall(r"^::: ([\w.]+)", (DOCS / "api.md").read_text(), re.MULTILINE)
    for name in named:
        module, _, attribute = name.rpartition(".")
        found = importlib.import_module(name if attribute == "exceptions" else module)
        assert attribute == "exceptions" or hasattr(found, attribute), name
    assert {f"{cls.__module__}.{cls.__name__}" for cls in SECTIONS} - set(named) == set()


def anchors_of(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors_of(file), f"{page.name} links to {target}"


def code_in(page: Path) -> Iterator[str]:
    """Every word of a page that is set as code, in a block or within a line."""
    text = page.read_text()
    yield from re.findall(r"^```.*?$(.*?)^```", text, re.MULTILINE | re.DOTALL)
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))


def named_paths(page: Path) -> Iterator[str]:
    """Every path of this repository that a page names: below a folder of it, or of the package, or a .py file."""
    tops = {p.name for folder in (ROOT, PACKAGE) for p in folder.iterdir() if p.is_dir()} - {".local"}
    for code in code_in(page):
        for word in code.split():
            if re.fullmatch(r"[\w.-]+(/[\w.-]+)*/?", word) and word not in NOT_HERE:
                top, slash, _ = word.partition("/")
                if (slash and top in tops) or word.endswith((".py", ".toml", ".yaml")):
                    yield word


@pytest.mark.parametrize("page", CURRENT, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_path_that_is_named_exists(page: Path) -> None:
    for path in named_paths(page):
        assert (ROOT / path).exists() or (PACKAGE / path).exists(), f"{page.name} names {path}"


def test_the_map_of_the_packages_is_complete() -> None:
    named = set(named_paths(DOCS / "development.md"))
    packages = {f"{path.name}/" for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert packages - named == set()


@pytest.mark.parametrize("page", CURRENT, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_make_target_that_is_named_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {target for code in code_in(page) for target in re.findall(r"\bmake ([a-z][a-z-]*)", code)}
    assert named - targets == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_pages_are_in_plain_english(page: Path) -> None:
    # Names of modules, also of those that are gone, are not prose. A phrase may go on in the next line.
    prose = " ".join(re.sub(r"`[^`\n]+`", "", page.read_text()).split())
    assert [found[0] for found in BANNED.finditer(prose)] == []
