# SPDX-License-Identifier: Apache-2.0
"""Jobs that fetch their pictures over HTTP and swap faces in worker processes."""

from __future__ import annotations

import io

import psutil
import pytest
from PIL import Image

from .conftest import client_of, wait_until


def swap(sandbox, source: str = "collins.jpg", reference: str = "hopper.jpg") -> dict:
    def url(name: str) -> str:
        return name if "://" in name else sandbox.image(name)

    return sandbox.wait_for(sandbox.submit(url(source), url(reference)))


def test_a_swap_is_served_as_a_picture_of_the_reference_size_that_is_not_the_reference(swapping):
    data = swap(swapping)
    assert data["status"] == "success"
    with client_of(swapping) as client:
        answer = client.get(data["json"][0]["value"])
        reference = client.get(swapping.image("hopper.jpg")).content
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.content != reference
    assert Image.open(io.BytesIO(answer.content)).size == Image.open(io.BytesIO(reference)).size
    assert b"sandbox" in answer.content
    assert b"compositeWithTrainedAlgorithmicMedia" in answer.content


def test_a_png_reference_gives_a_png_result(swapping):
    data = swap(swapping, reference="hopper_badge.png")
    assert "_0.png?" in data["json"][0]["value"]


@pytest.mark.parametrize(
    ("source", "reference", "reason"),
    [
        ("rocket.jpg", "hopper.jpg", "no_face: source_img"),
        ("hopper.jpg", "rocket.jpg", "no_face: reference_img"),
        ("missing.jpg", "hopper.jpg", "fetch_failed: source_img answered HTTP 404"),
        ("hopper.jpg", "http://127.0.0.1:9/x.jpg", "fetch_failed: reference_img could not be fetched"),
        ("hopper.jpg", "http://a:99999/b.jpg", "fetch_failed: reference_img is not a URL"),
        ("hopper.jpg", "http://[", "fetch_failed: reference_img is not a URL"),
    ],
)
def test_a_pair_that_cannot_be_swapped_fails_with_the_picture_and_the_reason(
    swapping, source, reference, reason
):
    data = swap(swapping, source, reference)
    assert (data["status"], data["json"]) == ("failed", None)
    assert data["error"].startswith(reason)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"kind": "html"}, "not_an_image: source_img"),
        ({"kind": "zeros", "bytes": 6_000_000}, "picture_too_large: source_img is larger than 5242880 bytes"),
        ({"kind": "redirect_loop"}, "fetch_failed: source_img redirects more than 3 times"),
        ({"kind": "truncated"}, "fetch_failed: source_img could not be fetched"),
        ({"kind": "disconnect"}, "fetch_failed: source_img could not be fetched"),
        ({"kind": "hang"}, "fetch_timeout: source_img did not arrive within 0.3 s"),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else "",
)
def test_a_bad_picture_host_fails_the_job_with_its_reason(swapping, fault, reason):
    reference = swapping.image("hopper.jpg")
    swapping.put_faults(image=fault | {"count": 5})
    if fault["kind"] == "hang":
        swapping.put_faults(fetch_timeout=0.3)
    img_uuid = swapping.submit(swapping.image("collins.jpg"), reference + "?page")
    assert swapping.wait_for(img_uuid)["error"].startswith(reason)


def test_a_picture_over_the_limit_is_refused_even_if_it_does_not_tell_its_length(swapping):
    swapping.put_faults(image_limit_bytes=1000)
    assert swap(swapping)["error"].startswith("picture_too_large: ")


def test_a_dead_worker_costs_no_job(swapping):
    swap(swapping)
    workers = psutil.Process(swapping.pid).children()
    for worker in workers:
        if "spawn_main" in " ".join(worker.cmdline()):
            worker.kill()
    assert swap(swapping)["status"] == "success"


def test_a_reset_in_the_middle_of_swaps_leaves_the_workers_fit(swapping):
    for _ in range(4):
        swapping.submit(swapping.image("collins.jpg"), swapping.image("hopper.jpg"))
    swapping.reset()
    assert swapping.submissions() == []
    assert swap(swapping)["status"] == "success"
    assert len(swapping.submissions()) == 1


def test_a_kept_picture_survives_a_crash_and_a_job_in_flight_goes_on(swapping):
    data = swap(swapping)
    with client_of(swapping) as client:
        picture = client.get(data["json"][0]["value"]).content
        in_flight = swapping.submit(swapping.image("collins.jpg"), swapping.image("hopper.jpg"))
        workers = psutil.Process(swapping.pid).children(recursive=True)
        swapping.kill()
        wait_until(lambda: not any(worker.is_running() for worker in workers))
        swapping.start()
        assert client.get(data["json"][0]["value"]).content == picture
    assert swapping.wait_for(in_flight)["status"] == "success"


def test_swaps_burn_the_time_of_workers_and_leave_the_server_free(swapping):
    swap(swapping)
    server = psutil.Process(swapping.pid)
    (worker,) = [child for child in server.children() if "spawn_main" in " ".join(child.cmdline())]
    before = server.cpu_times().user, worker.cpu_times().user
    jobs = [swapping.submit(swapping.image("crew.jpg"), swapping.image("hopper.jpg")) for _ in range(3)]
    # Asked about seldom: a slow machine must not turn waiting into work for the server.
    wait_until(lambda: all("end_time" in swapping.detail(job) for job in jobs), every=0.25)
    assert {swapping.detail(job)["status"] for job in jobs} == {"success"}
    assert worker.cpu_times().user - before[1] > 2 * (server.cpu_times().user - before[0])
