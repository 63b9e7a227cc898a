# SPDX-License-Identifier: Apache-2.0
"""The documentation site: every page is built, the API reference has its classes, and a broken link fails."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / ".local" / "site"
ZENSICAL = ROOT / ".local" / "docs" / "bin" / "zensical"


@pytest.fixture(scope="module", autouse=True)
def site() -> None:
    done = subprocess.run(["make", "docs"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_page_is_part_of_the_site() -> None:
    for page in (ROOT / "docs").glob("*.md"):
        built = SITE / ("" if page.stem == "index" else page.stem) / "index.html"
        assert built.is_file(), page.name


def test_the_reference_describes_every_class_that_its_page_names() -> None:
    html = (SITE / "api" / "index.html").read_text()
    names = re.findall(r"^::: ([\w.]+)", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE)
    assert len(names) > 10
    for name in names:
        # A class has an anchor; of a module, its members have them.
        assert f'id="{name}"' in html or f'id="{name}.' in html, name


@pytest.mark.parametrize("link", ["nowhere.md", "money.md#nowhere"])
def test_a_broken_link_fails(tmp_path: Path, link: str) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "zensical.toml", tmp_path)
    (tmp_path / "plugins").symlink_to(ROOT / "plugins")
    with (tmp_path / "docs" / "index.md").open("a") as page:
        page.write(f"\n[a link]({link})\n")

    done = subprocess.run(
        [str(ZENSICAL), "build", "--strict"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode != 0
    assert "index.md" in done.stdout + done.stderr


def test_the_site_loads_nothing_from_other_servers() -> None:
    loaded = r"""<(?:script|img|link[^>]*rel="stylesheet")[^>]*(?:src|href)="?(https?://[^"\s>]+)"""
    for page in SITE.rglob("*.html"):
        assert re.findall(loaded, page.read_text()) == [], page
    assert tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["theme"]["font"] is False
