# SPDX-License-Identifier: Apache-2.0
"""The live page in a real browser."""

from __future__ import annotations

import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


def show(url: str, profile: object) -> str:
    """Load a page, let its scripts run for three seconds, and return the document."""
    return subprocess.run(
        [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
            *(f"--user-data-dir={profile}", "--virtual-time-budget=3000", "--dump-dom", url),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout


@pytest.mark.goenhance_sandbox(engine="mesh", job_seconds=0.0)
def test_the_page_shows_source_reference_result_and_reason(goenhance_sandbox, tmp_path):
    sandbox = goenhance_sandbox
    swapped = sandbox.submit(sandbox.image("collins.jpg"), sandbox.image("hopper.jpg"))
    faceless = sandbox.submit(sandbox.image("rocket.jpg"), sandbox.image("hopper.jpg"))
    for img_uuid in (swapped, faceless):
        sandbox.wait_for(img_uuid, seconds=60)
    sandbox.put_faults(success_word="completed")
    document = show(sandbox.url, tmp_path)
    for shown in (
        swapped,
        f'src="/sandbox/pictures/{swapped}"',
        faceless,
        "no_face: source_img",
        sandbox.token,
    ):
        assert shown in document
    assert 'success_word = "completed"' in document
    assert document.index(faceless) < document.index(swapped)


def test_what_a_submitter_sends_is_text_on_the_page_and_never_markup(goenhance_sandbox, tmp_path):
    goenhance_sandbox.submit("http://x/<script>document.title='owned'</script>", 'http://x/"onerror=alert(1)')
    document = show(goenhance_sandbox.url, tmp_path)
    assert "<title>GoEnhance sandbox</title>" in document
    assert "&lt;script&gt;" in document


@pytest.mark.goenhance_sandbox(engine="mesh", job="stuck")
def test_the_page_updates_by_itself(goenhance_sandbox, tmp_path):
    """A second job is submitted when the browser asks for the first one's picture: only an update can show it."""
    later: list[str] = []

    class PictureHost(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            later.append(goenhance_sandbox.submit("http://x/1", "http://x/2"))
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            """Stay quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), PictureHost) as host:
        thread = threading.Thread(target=host.serve_forever)
        thread.start()
        goenhance_sandbox.submit(f"http://127.0.0.1:{host.server_port}/face.jpg", "http://x/2")
        document = show(goenhance_sandbox.url, tmp_path)
        host.shutdown()
        thread.join()
    assert len(later) == 1
    assert later[0] in document
