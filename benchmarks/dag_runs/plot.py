# SPDX-License-Identifier: Apache-2.0
"""
Draw the figures of bench_dag.py as an SVG: the seconds of a run over its pairs.

Each side is a line, and both axes are in powers of ten.

``python benchmarks/dag_runs/plot.py FIGURES.json [MORE.json ...] PLOT.svg`` draws figures that were written before.
"""

from __future__ import annotations

import json
import math
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 190, 40, 50
#: Distinct for people who see no difference between red and green, and on white and dark pages.
COLOURS = {"http": "#d55e00", "async": "#0072b2", "ours": "#009e73", "script": "#8a8a8a"}


class _Axis:
    """Places values between two powers of ten along a line of the picture."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        self._low = math.floor(math.log10(min(values)))
        self._high = max(math.ceil(math.log10(max(values))), self._low + 1)
        self._start, self._end = start, end

    def place(self, value: float) -> float:
        share = (math.log10(value) - self._low) / (self._high - self._low)
        return self._start + share * (self._end - self._start)

    def marks(self) -> list[float]:
        return [10.0**power for power in range(self._low, self._high + 1)]


def draw(results: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> str:
    """
    Return the SVG of some results; those of one limit of requests at once.

    :param names: of the sides
    """
    lines: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for row in sorted(results, key=lambda row: int(row["pairs"])):
        lines[row["side"]].append((row["pairs"], row["seconds"]))
    across = _Axis([pairs for line in lines.values() for pairs, _ in line], LEFT, WIDTH - RIGHT)
    up = _Axis([seconds for line in lines.values() for _, seconds in line], HEIGHT - BOTTOM, TOP)
    at_once = ", ".join(str(limit) for limit in sorted({row["at_once"] for row in results}))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="13" role="img"><title>Seconds of a run, {escape(at_once)} requests at once</title>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        *_grid(across, up),
        f'<text x="{LEFT}" y="22">Seconds from trigger to end, {escape(at_once)} requests at once</text>',
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">pairs</text>',
    ]
    last_label = math.inf
    # From the bottom up, so that two labels at one height can be moved apart.
    for side, line in sorted(lines.items(), key=lambda item: item[1][-1][1]):
        colour, name = COLOURS[side], escape(names[side])
        points = [(across.place(pairs), up.place(seconds)) for pairs, seconds in line]
        parts.append(
            f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{" ".join(map(_point, points))}"/>'
        )
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in points]
        last_label = min(points[-1][1] + 4, last_label - 16)
        seconds = f"{line[-1][1]:.1f} s"
        parts.append(
            f'<text x="{points[-1][0] + 8:.1f}" y="{last_label:.1f}" fill="{colour}">{name}, {seconds}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def _grid(across: _Axis, up: _Axis) -> list[str]:
    parts = []
    for value in up.marks():
        y = up.place(value)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#dddddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:,g}</text>')
    for value in across.marks():
        x = across.place(value)
        parts.append(f'<path d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#dddddd"/>')
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{value:,.0f}</text>')
    return parts


def _point(place: tuple[float, float]) -> str:
    return f"{place[0]:.1f},{place[1]:.1f}"


def main() -> None:
    from benchmarks.bench_dag import SIDES

    *figures, target = map(Path, sys.argv[1:])
    results = [row for path in figures for row in json.loads(path.read_text())["results"]]
    target.write_text(draw(results, SIDES))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    main()
