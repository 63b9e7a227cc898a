# SPDX-License-Identifier: Apache-2.0
"""Print rows as Airflow's commands do, but page by page: a run may have a million of them."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from airflow.cli.simple_table import AirflowConsole

#: Rows of a table whose columns are aligned with each other.
PAGE_ROWS = 500

T = TypeVar("T")


def print_rows(rows: Iterable[T], output: str, describe: Callable[[T], Mapping[str, Any]]) -> int:
    """
    Print rows to standard output, and return how many there were.

    :param output: ``table``, ``json``, ``yaml`` or ``plain``. JSON and YAML are one list of objects, whose values are
        numbers, texts and nulls; the columns of a long table are aligned page by page
    :param describe: returns a row's columns
    """
    described = map(describe, rows)
    match output:
        case "json":
            return _print_json(described)
        case "yaml":
            return _print_yaml(described)
        case _:
            return _print_pages(described, output)


def _print_json(rows: Iterable[Mapping[str, Any]]) -> int:
    count = 0
    for row in rows:
        sys.stdout.write((",\n" if count else "[") + json.dumps(row, ensure_ascii=False))
        count += 1
    sys.stdout.write("]\n" if count else "[]\n")
    return count


def _print_yaml(rows: Iterable[Mapping[str, Any]]) -> int:
    from airflow.utils import yaml

    count = 0
    for row in rows:
        sys.stdout.write(yaml.dump([dict(row)], allow_unicode=True, sort_keys=False))
        count += 1
    if not count:
        sys.stdout.write("[]\n")
    return count


def _print_pages(rows: Iterable[Mapping[str, Any]], output: str) -> int:
    count = 0
    for page in _pages(rows):
        texts = [{name: "" if value is None else str(value) for name, value in row.items()} for row in page]
        AirflowConsole().print_as(data=texts, output=output)
        count += len(page)
    if not count:
        AirflowConsole().print_as(data=[], output=output)
    return count


def _pages(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    left = iter(rows)
    while page := list(itertools.islice(left, PAGE_ROWS)):
        yield page
