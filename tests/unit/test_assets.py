# SPDX-License-Identifier: Apache-2.0
"""URIs of ``goenhance`` assets."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from airflow_provider_goenhance.assets import create_asset, sanitize_uri


@pytest.mark.parametrize(
    ("uri", "same"),
    [
        ("goenhance://studio/nightly", "goenhance://studio/nightly"),
        ("goenhance://Studio/Nightly/", "goenhance://studio/Nightly"),
    ],
)
def test_a_uri_has_one_spelling(uri: str, same: str) -> None:
    assert sanitize_uri(urlsplit(uri)).geturl() == same


@pytest.mark.parametrize(
    "uri",
    [
        "goenhance://sk-secret@studio/nightly",
        "goenhance://user:sk-secret@studio/nightly",
        "goenhance://studio/nightly?token=sk-secret",
    ],
)
def test_a_uri_that_could_hold_a_secret_is_refused_and_not_repeated(uri: str) -> None:
    with pytest.raises(ValueError, match="must have no user, password or query") as error:
        sanitize_uri(urlsplit(uri))
    assert "sk-secret" not in str(error.value)


@pytest.mark.parametrize("uri", ["goenhance://studio", "goenhance:///nightly", "goenhance://studio/a/b"])
def test_a_uri_names_an_account_and_a_dag(uri: str) -> None:
    with pytest.raises(ValueError, match="must be goenhance://<account name>/<Dag id>"):
        sanitize_uri(urlsplit(uri))


def test_the_factory_makes_the_asset_of_a_dag() -> None:
    assert create_asset(account="studio", dag_id="nightly", extra={"team": "a"}).extra == {"team": "a"}
    assert create_asset(account="studio", dag_id="nightly").uri == "goenhance://studio/nightly"
