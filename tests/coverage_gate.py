# SPDX-License-Identifier: Apache-2.0
"""Fail if too little of the package is covered by the tests: `make coverage`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

#: Percent of the package's lines, and of its branches.
PACKAGE = 92.0
#: Percent of the lines and branches of one module.
MODULE = 80.0


def shortfalls(report: dict[str, Any]) -> list[str]:
    """Return what is covered too little, as sentences."""
    totals = report["totals"]
    found = []
    for what, covered, of in (
        ("lines", totals["covered_lines"], totals["num_statements"]),
        ("branches", totals["covered_branches"], totals["num_branches"]),
    ):
        percent = 100 * covered / of if of else 100.0
        if percent < PACKAGE:
            found.append(
                f"{percent:.1f} % of the package's {what} are covered; at least {PACKAGE:g} % are expected."
            )
    for name, module in sorted(report["files"].items()):
        percent = module["summary"]["percent_covered"]
        if percent < MODULE:
            found.append(f"{percent:.1f} % of {name} is covered; at least {MODULE:g} % are expected.")
    return found


def main(path: str) -> int:
    """Print the figures and what falls short."""
    report = json.loads(Path(path).read_text())
    totals = report["totals"]
    lines = 100 * totals["covered_lines"] / totals["num_statements"]
    branches = 100 * totals["covered_branches"] / totals["num_branches"]
    name, least = min(report["files"].items(), key=lambda item: item[1]["summary"]["percent_covered"])
    print(f"lines {lines:.1f} %, branches {branches:.1f} %, {len(report['files'])} modules")
    print(f"least covered: {name}, {least['summary']['percent_covered']:.1f} %")
    found = shortfalls(report)
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
