# SPDX-License-Identifier: Apache-2.0
"""A collector that is killed in the middle of its work, and the one that comes after it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_provider_goenhance.pictures.storage import keep_picture
from tests.unit.pictures.pictures import encoded

# Stops after the bytes are written and before the file is renamed.
COLLECTOR = """
import os, sys, time
from pathlib import Path
from airflow_provider_goenhance.pictures import storage

def stand_still(handle):
    print("in the middle", flush=True)
    time.sleep(600)

storage.os.fsync = stand_still
storage.keep_picture(Path(sys.argv[1]).read_bytes(), sys.argv[2], "run", "pair", ".jpg")
"""


@pytest.mark.parametrize("kept_before", [False, True])
def test_a_killed_collector_leaves_no_half_file_and_the_next_one_completes_it(
    tmp_path: Path, kept_before: bool
) -> None:
    picture, storage = tmp_path / "fetched", tmp_path / "swaps"
    target = storage / "run/pair.jpg"
    old = encoded("jpeg", size=(16, 16))
    if kept_before:
        picture.write_bytes(old)
        keep_picture(picture.read_bytes(), str(storage), "run", "pair", ".jpg")
    picture.write_bytes(encoded("jpeg"))
    with subprocess.Popen(
        [sys.executable, "-c", COLLECTOR, str(picture), str(storage)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3] / "plugins")},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"in the middle\n"
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=60) == -signal.SIGKILL

    seen = list(storage.glob("run/[!.]*"))
    assert seen == ([target] if kept_before else [])
    if kept_before:
        assert target.read_bytes() == old

    keep_picture(picture.read_bytes(), str(storage), "run", "pair", ".jpg")
    assert target.read_bytes() == encoded("jpeg")
    assert list(target.parent.iterdir()) == [target], "the dead collector's part file is still there"
