# SPDX-License-Identifier: Apache-2.0
"""The fingerprint of an account, and what its representation reveals."""

from __future__ import annotations

from airflow_provider_goenhance.api.account import Account


def test_accounts_with_other_tokens_or_hosts_are_other_accounts() -> None:
    accounts = [
        Account("a", "sk-1"),
        Account("a", "sk-2"),
        Account("a", "sk-1", "http://127.0.0.1:8765"),
        Account("a", "sk-1", name="studio"),
    ]
    assert len({account.fingerprint for account in accounts}) == 4


def test_an_account_with_a_name_stays_the_same_when_its_token_is_rotated() -> None:
    assert Account("a", "sk-1", name="studio").fingerprint == Account("b", "sk-2", name="studio").fingerprint


def test_an_account_shows_neither_token_nor_headers_nor_proxy() -> None:
    account = Account(
        "a", "sk-secret", headers={"X-Key": "hidden"}, request_options={"proxy": "http://u:hidden@proxy"}
    )
    shown = f"{account} {account!r} {account.fingerprint}"
    assert "sk-secret" not in shown
    assert "hidden" not in shown


def test_an_account_is_the_same_with_and_without_the_usual_port() -> None:
    for plain, port in (("https://api.example", 443), ("http://api.example", 80)):
        with_port = Account("a", "sk-1", base_url=f"{plain}:{port}").fingerprint
        assert with_port == Account("a", "sk-1", base_url=plain).fingerprint
        assert with_port != Account("a", "sk-1", base_url=f"{plain}:8443").fingerprint
