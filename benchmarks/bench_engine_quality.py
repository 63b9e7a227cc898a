# SPDX-License-Identifier: Apache-2.0
"""
Swap damaged photographs: how many swaps are good, refused with the right reason, or wrong, by kind of damage.

Run: python benchmarks/bench_engine_quality.py [--json FILE] [--pages FOLDER]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from engine_quality.measure import Outcome, cases, judge

from include.sandbox.engine import FaceSwapEngine

IMAGES = ROOT / "include" / "images"
PAIRS = [("collins_closeup.jpg", "hopper_closeup.jpg"), ("hopper_closeup.jpg", "collins_closeup.jpg")]
VERDICTS = ("good", "refused", "refused wrongly", "faulty", "destroyed")


def table(outcomes: list[Outcome]) -> dict[str, dict[str, int]]:
    """Return the number of outcomes by group of damage and verdict."""
    counts: dict[str, Counter[str]] = {}
    for outcome in outcomes:
        counts.setdefault(outcome.case.kind.group, Counter())[outcome.verdict] += 1
    counts["all"] = sum(counts.values(), Counter())
    return {group: {verdict: count[verdict] for verdict in VERDICTS} for group, count in counts.items()}


def show(found: dict[str, dict[str, int]]) -> None:
    """Print the table."""
    print(f"{'kind':10}" + "".join(f"{verdict:>17}" for verdict in VERDICTS))
    for group, row in found.items():
        print(f"{group:10}" + "".join(f"{row[verdict]:17}" for verdict in VERDICTS))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1] if __doc__ else None)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--pages", type=Path, help="also write pages of pictures into this folder")
    given = parser.parse_args()
    engine = FaceSwapEngine(opencv_threads=1)
    read = {name: (IMAGES / name).read_bytes() for pair in PAIRS for name in pair}
    outcomes = [judge(engine, case) for case in cases(engine, PAIRS, read)]
    found = table(outcomes)
    show(found)
    if given.json:
        given.json.write_text(json.dumps({"kinds": found}, indent=2) + "\n")
    if given.pages:
        from engine_quality.page import pages

        print(*pages(outcomes, given.pages), sep="\n")
        lines = [
            f"{o.case.pair[0]}\t{o.case.role}\t{o.case.kind.name}\t{o.verdict}\t{o.note}" for o in outcomes
        ]
        (given.pages / "outcomes.tsv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
