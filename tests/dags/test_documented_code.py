# SPDX-License-Identifier: Apache-2.0
"""Every code block of the documentation: Python is run, commands are parsed by what they name, data is read."""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import itertools
import json
import re
import shlex
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import MagicMock

import pytest
import yaml
from airflow.models.connection import Connection
from airflow.sdk import DAG, task

from airflow_provider_goenhance.cli.definition import get_goenhance_cli_commands
from airflow_provider_goenhance.decorators.face_swap_batch import goenhance_face_swap_batch_task
from airflow_provider_goenhance.execution.review import ReviewError
from airflow_provider_goenhance.execution.settle import ResolutionError
from airflow_provider_goenhance.operators.face_swap_batch import GoEnhanceFaceSwapBatchOperator
from airflow_provider_goenhance.operators.plan import GoEnhancePlanOperator
from airflow_provider_goenhance.operators.report import GoEnhanceReportOperator
from airflow_provider_goenhance.provider_info import get_provider_info

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
#: Languages whose blocks only show what is printed or written; SQL is run by tests/integration/results.
SHOWN = {"text", "sql"}
CHECKED = {"python", "console", "bash", "json", "yaml", "docker"}
#: Pages whose code asks for rows by name: the results table of the test has none, and the call says so.
EMPTY: Mapping[str, type[Exception]] = {"actions.md": ReviewError, "money.md": ResolutionError}


class Block(NamedTuple):
    """A code block of a page."""

    page: str
    line: int
    language: str
    code: str


def blocks(*languages: str) -> list[Block]:
    found = []
    for page in PAGES:
        text = page.read_text()
        for match in re.finditer(r"^( *)```(\w*)\n(.*?)^\1```$", text, re.MULTILINE | re.DOTALL):
            code = "\n".join(line.removeprefix(match[1]) for line in match[3].splitlines())
            block = Block(page.name, text[: match.start()].count("\n") + 1, match[2], code)
            if not languages or block.language in languages:
                found.append(block)
    return found


def name_of(block: Any) -> str:
    return f"{block.page}:{block.line}"


def commands() -> list[Any]:
    """Every command of a block for the shell: a line, or several that a backslash joins."""
    return [
        pytest.param(line.removeprefix("$ "), id=f"{name_of(block)} {line[:40]}")
        for block in blocks("console", "bash")
        for line in block.code.replace("\\\n", "").splitlines()
    ]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the blocks a folder with a manifest, and a results table that holds nothing."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pairs.csv").write_text(
        "source_img,reference_img\nhttps://a.example/1.jpg,https://a.example/2.jpg\n"
    )
    results = {"conn_type": "sqlite", "host": str(tmp_path / "results.db")}
    monkeypatch.setenv("AIRFLOW_CONN_GOENHANCE_RESULTS", json.dumps(results))


def test_every_block_says_its_language() -> None:
    assert [name_of(block) for block in blocks() if block.language not in SHOWN | CHECKED] == []


@pytest.mark.parametrize("block", blocks("python"), ids=name_of)
def test_python_runs(block: Block) -> None:
    if "providers.smtp" in block.code:
        pytest.importorskip("airflow.providers.smtp")
    task_ = MagicMock(wraps=task)
    task_.goenhance_face_swap_batch = goenhance_face_swap_batch_task
    # What the page has introduced before the block.
    names: dict[str, Any] = {
        "GoEnhanceFaceSwapBatchOperator": GoEnhanceFaceSwapBatchOperator,
        "GoEnhancePlanOperator": GoEnhancePlanOperator,
        "GoEnhanceReportOperator": GoEnhanceReportOperator,
        "orders_of": list,
        "swap_id": "no-such-row",
        "task": task_,
    }
    with DAG("documented", schedule=None, start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC)):
        if re.search(r"\bswap\.output\b", block.code) and "swap = " not in block.code:
            names["swap"] = GoEnhanceFaceSwapBatchOperator(task_id="swap_before", pairs=[])
        with pytest.raises(EMPTY[block.page]) if block.page in EMPTY else contextlib.nullcontext():
            exec(compile(block.code, name_of(block), "exec"), names)


class Silent(argparse.ArgumentParser):
    """A parser that raises instead of ending the process."""

    def error(self, message: str) -> Any:
        raise ValueError(message)


def parser_of(group: Any) -> argparse.ArgumentParser:
    parser = Silent(prog="airflow goenhance")
    actions = parser.add_subparsers(dest="subcommand", required=True, parser_class=Silent)
    for subcommand in group.subcommands:
        sub = actions.add_parser(subcommand.name)
        for arg in subcommand.args:
            arg.add_to_parser(sub)
    return parser


@pytest.mark.parametrize("command", commands())
def test_a_command_names_what_exists(command: str) -> None:  # noqa: C901  one case for each program
    words = shlex.split(command, comments=True)
    match words:
        case ["make", target, *_]:
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        case ["airflow", "goenhance", *arguments]:
            [group] = get_goenhance_cli_commands()
            parser_of(group).parse_args(arguments)
        case ["airflow", "connections", "add", conn_id, "--conn-type", kind, "--conn-extra", extra]:
            assert Connection(conn_id=conn_id, conn_type=kind, extra=extra).extra_dejson
        case ["export", setting]:
            name, _, value = setting.partition("=")
            read_connection(name, value)
        case ["pip", "install" | "wheel", what, *_]:
            for extra in re.findall(r"\[([\w,]+)\]", what):
                assert set(extra.split(",")) <= set(PROJECT["project"]["optional-dependencies"])
        case ["uv", "pip", "compile", *arguments]:
            named = dict(itertools.pairwise(arguments))
            assert (ROOT / named["-o"]).exists()
            groups = [value for flag, value in itertools.pairwise(arguments) if flag == "--group"]
            assert set(groups) <= set(PROJECT["dependency-groups"])
        case ["python", "-m", module, *_]:
            assert (ROOT / module.replace(".", "/") / "__main__.py").exists()
        case ["kubectl", "create", "secret", "generic", _, *literals]:
            for literal in literals:
                read_connection("AIRFLOW_CONN_X", literal.partition("=")[2].partition("=")[2])
        case _:
            pytest.fail(f"nothing checks this command: {command}")


def read_connection(name: str, value: str) -> None:
    """Read a connection as Airflow does."""
    assert name.startswith("AIRFLOW_CONN_")
    found = Connection.from_json(value, conn_id=name.removeprefix("AIRFLOW_CONN_").lower())
    assert found.password
    assert found.conn_type in {"goenhance", "postgres"}


@pytest.mark.parametrize("block", blocks("json", "yaml"), ids=name_of)
def test_data_is_well_formed_and_names_options_that_exist(block: Block) -> None:
    data = json.loads(block.code) if block.language == "json" else yaml.safe_load(block.code)
    assert data
    options = get_provider_info()["config"]["goenhance"]["options"]
    for option in re.findall(r"AIRFLOW__GOENHANCE__(\w+)", block.code):
        assert option.lower() in options


@pytest.mark.parametrize("block", blocks("docker"), ids=name_of)
def test_a_line_for_a_dockerfile_names_extras_that_exist(block: Block) -> None:
    for extra in re.findall(r"\.whl\[([\w,]+)\]", block.code):
        assert set(extra.split(",")) <= set(PROJECT["project"]["optional-dependencies"])
    assert block.code.startswith(("RUN ", "COPY ", "FROM "))


def test_the_checks_find_something() -> None:
    assert len(blocks("python")) > 15
    assert len(commands()) > 20
