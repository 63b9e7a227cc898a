# SPDX-License-Identifier: Apache-2.0
"""A team's own check of kept pictures, with a model of its own."""

from __future__ import annotations

import dataclasses
import importlib
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..quality_codes import Quality
from .quality import Verdict

#: Findings of one picture that are kept, and characters of the text of each.
MOST_FINDINGS, LONGEST_TEXT = 10, 300


@dataclass(frozen=True, slots=True)
class Finding:
    """
    What a check has found in one picture.

    :param code: for programs, e.g. ``wrong_person``
    :param message: for people
    """

    code: str
    message: str = ""


#: Gets the files of source, reference and result, and returns what is wrong with the result: nothing, or a
#: :class:`Finding` (or its code, or a mapping with ``code`` and ``message``) each. An input that could not be fetched
#: is ``None``. The files are gone afterwards.
QualityCheck = Callable[[Path | None, Path | None, Path], Iterable[Finding | str | Mapping[str, Any]]]

#: Models are rarely safe to use from several threads at once.
_ONE_AT_A_TIME = threading.Lock()


def load_check(check: QualityCheck | str | None) -> QualityCheck | None:
    """
    Return a check that is given as it is, or by its import path: ``package.module.function``.

    :raises ValueError: there is no such function
    """
    if not isinstance(check, str):
        if check is not None and not callable(check):
            raise ValueError(
                f"quality_check must be a function or its import path; got {type(check).__name__}."
            )
        return check
    path = check.strip().replace(":", ".")
    if not path:
        return None
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"quality_check must be the import path of a function, such as 'my_checks.same_person'; got {check!r}: "
            f"{error}."
        ) from error
    if not callable(found):
        raise ValueError(  # noqa: TRY004  as for every other argument that is not valid
            f"quality_check must name a function; {check!r} is of type {type(found).__name__}."
        )
    return found  # type: ignore[no-any-return]


def with_findings(
    verdict: Verdict, check: QualityCheck, source: Path | None, reference: Path | None, result: Path
) -> Verdict:
    """
    Return a verdict with what a check has found. An error of the check is noted among the figures, and is no finding.

    The files are those of the pictures; a picture that is suspicious already keeps its verdict.
    """
    try:
        with _ONE_AT_A_TIME:
            findings = [_finding(found) for found in check(source, reference, result)]
    except Exception as error:  # noqa: BLE001  the picture is kept, whatever a check does with it
        failed = f"{type(error).__name__}: {error}"[:LONGEST_TEXT]
        return dataclasses.replace(verdict, figures={**verdict.figures, "check_failed": failed})
    if not findings:
        return verdict
    texts = [
        {"code": finding.code[:LONGEST_TEXT], "message": finding.message[:LONGEST_TEXT]}
        for finding in findings[:MOST_FINDINGS]
    ]
    good = verdict.quality in {Quality.OK, Quality.UNCHECKED}
    return dataclasses.replace(
        verdict,
        quality=Quality.FLAGGED if good else verdict.quality,
        figures={**verdict.figures, "findings": texts},
    )


def _finding(found: Finding | str | Mapping[str, Any]) -> Finding:
    if isinstance(found, Finding):
        return Finding(str(found.code), str(found.message))
    if isinstance(found, str):
        return Finding(found)
    return Finding(str(found["code"]), str(found.get("message") or ""))
