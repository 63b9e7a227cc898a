# SPDX-License-Identifier: Apache-2.0
"""The switches: what they take, how they merge, what they refuse."""

from __future__ import annotations

import pytest

from include.sandbox.switches import SwitchError, Switches, merge


def test_a_change_leaves_the_other_switches_alone():
    switches = merge(merge(Switches(), {"success_word": "completed"}), {"latency": 0.05})
    assert (switches.success_word, switches.latency) == ("completed", 0.05)


def test_a_rule_may_be_written_as_a_word_an_object_or_a_list():
    for spelling in ("hang", {"kind": "hang"}, [{"kind": "hang"}], ["hang"]):
        assert [rule.kind for rule in merge(Switches(), {"submit": spelling}).submit] == ["hang"]
    assert merge(merge(Switches(), {"submit": "hang"}), {"submit": None}).submit == []


def test_a_whole_number_may_be_written_with_a_point():
    assert merge(Switches(), {"credits": 7.0, "submit": {"kind": "hang", "count": 2.0}}).credits == 7


def test_what_get_shows_put_takes_back():
    switches = merge(Switches(), {"submit": {"kind": "html", "status": 502, "count": 2}, "job": "failed"})
    shown = switches.model_dump(mode="json")
    assert merge(Switches(), shown).model_dump(mode="json") == shown


def test_a_change_elsewhere_keeps_how_often_a_fault_struck():
    switches = merge(Switches(), {"submit": {"kind": "hang", "count": 2}})
    switches.submit[0].strikes(0.0)
    assert merge(switches, {"latency": 1}).submit[0].fired == 1


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"sucess_word": "x"}, "'sucess_word'"),
        ({"a": 1, "b": 2}, "'a', 'b'"),
        ({"job_seconds": -1}, "job_seconds"),
        ({"job_seconds": "soon"}, "job_seconds"),
        ({"job_seconds": True}, "job_seconds"),
        ({"link_seconds": False}, "link_seconds"),
        ({"credits": "7"}, "credits"),
        ({"credits": 7.5}, "credits"),
        ({"latency": float("nan")}, "latency"),
        ({"queue_limit": 0}, "queue_limit"),
        ({"link_signed": "later"}, "link_signed"),
        ({"submit": "explode"}, r"submit\.0\.kind"),
        ({"detail": "missing_img_uuid"}, r"detail\.0\.kind"),
        ({"result": "bad_json"}, r"result\.0\.kind"),
        ({"submit": {"kind": "hang", "cuont": 1}}, r"submit\.0\.cuont"),
        ({"submit": {"kind": "hang", "share": 1.5}}, r"submit\.0\.share"),
        ({"submit": 7}, "submit"),
        ([], "JSON object"),
        (None, "JSON object"),
    ],
)
def test_a_switch_that_cannot_be_is_refused_by_name(changes, named):
    with pytest.raises(SwitchError, match=named):
        merge(Switches(), changes)


def test_a_refused_change_changes_nothing():
    switches = merge(Switches(), {"latency": 0.5})
    with pytest.raises(SwitchError):
        merge(switches, {"latency": 0.1, "job_seconds": -1})
    assert switches.latency == 0.5
