# SPDX-License-Identifier: Apache-2.0
"""Any JSON at all as an answer: an id that was received is returned, and every value fits the results table."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_goenhance.api.models import JobState
from airflow_provider_goenhance.api.responses import RawAnswer, read_job, read_submission
from airflow_provider_goenhance.exceptions import GoEnhanceError

UUID = "c12b656c-747a-44fd-9c80-add79b0c52d5"
LINK = "https://cdn.example.com/a.jpg?sig=x%2Fy"


def answered(body: Any, status: int = 200) -> RawAnswer:
    text = body if isinstance(body, str) else json.dumps(body)
    return RawAnswer(status, text, None, "submit", "connection 'c'", url="https://api.example.com/api/v1/x")


ACCEPTED = {
    "documented": {"code": 0, "msg": "Success", "data": {"img_uuid": UUID}},
    "other case": {"code": 0, "data": {"imgUuid": UUID}},
    "capitals": {"Code": 0, "Data": {"IMG_UUID": f"  {UUID}\n"}},
    "data as text": {"code": 0, "data": json.dumps({"img_uuid": UUID})},
    "data as list": {"code": 0, "data": [{"img_uuid": UUID}]},
    "top level": {"code": 0, "img_uuid": UUID},
    "result": {"code": 0, "result": {"img_uuid": UUID}},
    "nested": {"code": 0, "data": {"job": {"img_uuid": UUID}}},
    "the id alone": {"code": 0, "data": UUID},
    "non-zero code": {"code": 1001, "msg": "system busy", "data": {"img_uuid": UUID}},
    "cut off": '{"code":0,"msg":"Success","data":{"img_uuid":"' + UUID + '","co',
    "a list of ids": {"code": 0, "data": {"img_uuid": [UUID]}},
    "ids": {"code": 0, "data": {"img_uuids": [UUID]}},
    "in the message": {"code": 1, "msg": f"duplicate request, img_uuid: {UUID}"},
    "single quotes": "{'code': 0, 'data': {'img_uuid': '" + UUID + "'}}",
    "XML": f"<data><img_uuid>{UUID}</img_uuid></data>",
    "a form": f"code=0&img_uuid={UUID}",
    "text in text in text": json.dumps({"data": json.dumps({"data": "{'img_uuid': '" + UUID + "'}"})}),
    "rubbish behind": '{"code":0,"data":{"img_uuid":"' + UUID + '"}}}<!-- -->',
}


@pytest.mark.parametrize("body", ACCEPTED.values(), ids=ACCEPTED)
def test_an_id_that_was_received_is_never_lost(body: Any) -> None:
    assert read_submission(answered(body)).img_uuid == UUID


@pytest.mark.parametrize(
    ("value", "text"), [(7, "7"), (12345678901234567890, "12345678901234567890"), (8.0, "8")]
)
def test_an_id_that_is_a_number_is_read_as_text(value: float, text: str) -> None:
    assert read_submission(answered({"code": 0, "data": {"img_uuid": value}})).img_uuid == text


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -1,
        "",
        "0",
        "null",
        "00000000-0000-0000-0000-000000000000",
        "x" * 129,
        "a\x00b",
        "\ud800",
        {},
        1.5,
    ],
)
def test_what_names_no_job_is_no_id(value: Any) -> None:
    with pytest.raises(GoEnhanceError) as raised:
        read_submission(answered({"code": 0, "data": {"img_uuid": value}}))
    assert raised.value.maybe_accepted


@pytest.mark.parametrize(
    "cost", [3_000_000_000, -1, 4.5, "x", float("nan"), float("inf"), True, [], {}, 10**40]
)
def test_a_cost_that_cannot_be_stored_never_costs_the_id(cost: Any) -> None:
    submission = read_submission(answered({"code": 0, "data": {"img_uuid": UUID, "cost": cost}}))
    assert (submission.img_uuid, submission.cost) == (UUID, None)


def test_an_answer_without_an_id_is_kept_for_a_person_without_its_secrets() -> None:
    body = {"code": 0, "data": {"trace": "t-7", "url": LINK, "token": "sk-abcdef123", "text": "x" * 9000}}
    with pytest.raises(GoEnhanceError) as raised:
        read_submission(answered(body))
    text = raised.value.answer_text
    assert text is not None
    assert "t-7" in text
    assert "sk-abcdef123" not in text
    assert "x%2Fy" not in text
    assert len(text.encode()) <= 2000
    assert "t-7" not in str(raised.value)


@pytest.mark.parametrize("end", [1790000000, 1790000000123, "1790000000", "1790000000123", 1790000000.5])
def test_an_end_time_since_the_epoch_ends_a_job_as_well(end: Any) -> None:
    job = read_job(
        answered({"code": 0, "data": {"img_uuid": UUID, "status": "cancelled", "end_time": end}}), UUID
    )
    assert job.ended_at == "2026-09-21T14:13:20+00:00"
    assert job.state is JobState.FAILED


@pytest.mark.parametrize(
    "end", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "soon", "", 17, None, {}, True, -1e300, 1e300]
)
def test_an_end_time_that_cannot_be_stored_is_left_out(end: Any) -> None:
    data = {"img_uuid": UUID, "status": "success", "end_time": end, "json": [{"value": LINK}]}
    job = read_job(answered({"code": 0, "data": data}), UUID)
    assert (job.ended_at, job.links) == (None, (LINK,))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda job: {"code": 0, "data": job},
        lambda job: {"code": 0, "data": json.dumps(job)},
        lambda job: {"code": 0, "data": [job]},
        lambda job: {"code": 0, "data": [{"img_uuid": "another", "status": "failed"}, job]},
        lambda job: {"code": 0, "result": job},
        lambda job: {"code": 0, **job},
        lambda job: {"code": 1, "msg": "odd", "data": {"imgUuid": job["img_uuid"], "Status": job["status"]}},
    ],
)
@pytest.mark.parametrize("img_uuid", [UUID, "7"])
def test_a_job_is_read_in_the_spellings_in_which_its_id_was_taken(wrap: Any, img_uuid: str) -> None:
    named = 7 if img_uuid == "7" else UUID.upper()
    job = read_job(answered(wrap({"img_uuid": named, "status": "processing"})), img_uuid)
    assert (job.img_uuid, job.status) == (img_uuid, "processing")


@pytest.mark.parametrize(
    ("value", "links"),
    [
        (
            [{"type": "video", "value": "https://a/1.mp4"}, {"type": "image", "value": "https://a/1.jpg"}],
            "jpg mp4",
        ),
        ([{"value": "https://a/1.mp4"}, {"value": "https://a/1.png?sig=%2F"}], "png mp4"),
        (
            [
                {"type": "thumbnail", "value": "https://a/t.jpg"},
                {"type": "image", "value": "https://a/1.jpg"},
            ],
            "jpg t",
        ),
        ([{"value": "https://a/1.jpg"}] * 3, "jpg"),
        ([{"url": "https://a/1.jpg"}], "jpg"),
        ([{"image_url": "https://a/1.jpg"}], "jpg"),
        ([{"value": {"url": "https://a/1.jpg"}}], "jpg"),
        (["https://a/1.jpg"], "jpg"),
        ([{"value": "//a/1.jpg"}], "jpg"),
        ([{"value": "/p/1.jpg"}], "relative"),
        ([{"value": "cdn.example.com/1.jpg"}], "host"),
        ([{"value": "https://a/b c\u00f8%2F.jpg"}], "odd"),
        ([{"value": "no face was found"}], ""),
    ],
)
def test_the_most_likely_picture_is_the_first_link(value: Any, links: str) -> None:
    known = {
        "jpg": "https://a/1.jpg",
        "mp4": "https://a/1.mp4",
        "png": "https://a/1.png?sig=%2F",
        "t": "https://a/t.jpg",
        "relative": "https://api.example.com/p/1.jpg",
        "host": "https://cdn.example.com/1.jpg",
        "odd": "https://a/b c\u00f8%2F.jpg",
    }
    data = {"img_uuid": UUID, "status": "success", "json": value}
    job = read_job(answered({"code": 0, "data": data}), UUID)
    assert job.links == tuple(known[name] for name in links.split())


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from([UUID, LINK]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["code", "msg", "data", "img_uuid", "imgUuid", "cost", "status", "json", "value", "error"]),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(body=ANY, status=st.sampled_from([200, 200, 201, 400, 404, 408, 500]))
def test_whatever_is_answered_the_result_fits_the_table_or_is_one_of_our_errors(
    body: Any, status: int
) -> None:
    submission = job = None
    with suppress(GoEnhanceError):
        submission = read_submission(answered(body, status))
    with suppress(GoEnhanceError):
        job = read_job(answered(body, status), UUID)
    if submission is not None:
        assert 0 < len(submission.img_uuid) <= 128
        assert submission.img_uuid.isascii()
        assert submission.cost is None or 0 <= submission.cost < 2**31
    if job is not None:
        assert len(job.status) <= 64
        assert all(link.encode() for link in job.links)


@settings(max_examples=50, deadline=None)
@given(code=ANY, msg=ANY, cost=ANY)
def test_no_value_beside_an_id_costs_the_id(code: Any, msg: Any, cost: Any) -> None:
    body = {"code": code, "msg": msg, "data": {"img_uuid": UUID, "cost": cost}}
    also_there = "imguuid" in json.dumps([code, msg]).lower().replace("_", "")
    assert read_submission(answered(body)).img_uuid == UUID or also_there
