# SPDX-License-Identifier: Apache-2.0
"""Run every benchmark and collect the results in `.local/bench.json`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from include.local.paths import Paths, this_checkout


def bench(paths: Paths) -> int:
    """
    Run `benchmarks/bench_*.py`, each with ``--json FILE``, and merge the files by benchmark name.

    :returns: 1 if a benchmark failed; the results of the others are written anyway
    """
    figures: dict[str, object] = {}
    failed: list[str] = []
    folder = paths.local / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    for script in sorted((paths.root / "benchmarks").glob("bench_*.py")):
        name = script.stem.removeprefix("bench_")
        print(f"\n== {name}", flush=True)
        found = measure(script, folder / f"{name}.json", paths.root)
        if found is None:
            failed.append(name)
        else:
            figures[name] = found
    target = paths.local / "bench.json"
    target.write_text(json.dumps(figures, indent=2) + "\n")
    print(
        f"\n{len(figures)} benchmarks in {paths.shown(target)}"
        + (f"; failed: {', '.join(failed)}" if failed else "")
    )
    return 1 if failed else 0


def measure(script: Path, output: Path, root: Path) -> object | None:
    """Run one benchmark and return its results, or ``None`` if it failed or wrote none."""
    output.unlink(missing_ok=True)
    command = [sys.executable, str(script), "--json", str(output)]
    done = subprocess.run(command, cwd=root, check=False)  # noqa: S603
    if done.returncode or not output.exists():
        return None
    figures: object = json.loads(output.read_text())
    return figures


if __name__ == "__main__":
    sys.exit(bench(this_checkout()))
