# SPDX-License-Identifier: Apache-2.0
"""A connection means the same to both hooks."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Connection

from airflow_provider_goenhance.api.account import Account
from airflow_provider_goenhance.exceptions import AuthenticationError
from airflow_provider_goenhance.hooks.connection import account_of
from airflow_provider_goenhance.hooks.goenhance import GoEnhanceAsyncHook, GoEnhanceHook
from tests.unit.api.certificate import self_signed
from tests.unit.hooks.conftest import TOKEN

Define = Callable[..., str]


def read(conn_id: str) -> Account:
    """Read the account through both hooks, and hold them to the same result."""
    sync = GoEnhanceHook(conn_id).account()
    through_async = asyncio.run(GoEnhanceAsyncHook(conn_id).account())
    if isinstance(sync.request_options.get("ssl"), ssl.SSLContext):
        assert isinstance(through_async.request_options["ssl"], ssl.SSLContext)
    else:
        assert through_async == sync
    return sync


def test_a_connection_with_a_token_only_means_the_real_api(connection: Define) -> None:
    account = read(connection())
    assert account.base_url == "https://api.goenhance.ai"
    assert account.token == TOKEN
    assert (account.max_concurrency, account.requests_per_second, account.request_timeout) == (32, 0.0, 60.0)
    assert (account.submit_attempts, account.get_attempts) == (6, 4)
    assert (account.headers, account.request_options, account.verify, account.proxy) == ({}, {}, True, None)


def test_the_attempts_of_a_call_are_fields_of_the_connection(connection: Define) -> None:
    account = read(connection(extra={"submit_attempts": 2, "extra__goenhance__get_attempts": "3"}))
    assert (account.submit_attempts, account.get_attempts) == (2, 3)
    assert account.headers == {}


@pytest.mark.parametrize(
    ("fields", "base_url"),
    [
        ({"host": "127.0.0.1", "port": 8765}, "https://127.0.0.1:8765"),
        ({"host": "127.0.0.1", "port": 8765, "schema": "http"}, "http://127.0.0.1:8765"),
        ({"host": "http://127.0.0.1", "port": 8765}, "http://127.0.0.1:8765"),
        ({"host": "http://127.0.0.1:8765"}, "http://127.0.0.1:8765"),
        ({"host": "http://127.0.0.1:8765/", "port": 9}, "http://127.0.0.1:8765"),
        (
            {"host": "https://gateway.example.com/goenhance/", "port": 444},
            "https://gateway.example.com:444/goenhance",
        ),
        ({"host": "https://[::1]", "port": 8765}, "https://[::1]:8765"),
        ({"host": "HTTPS://API.GoEnhance.ai"}, "https://api.goenhance.ai"),
        ({"host": ""}, "https://api.goenhance.ai"),
    ],
)
def test_the_host_may_be_written_in_several_ways(
    connection: Define, fields: dict[str, Any], base_url: str
) -> None:
    assert read(connection(**fields)).base_url == base_url


@pytest.mark.parametrize("prefix", ["", "extra__goenhance__"])
def test_fields_of_the_form_are_read_under_their_plain_and_their_prefixed_names(
    connection: Define, prefix: str
) -> None:
    fields = {
        "max_concurrency": "4",
        "requests_per_second": 2.5,
        "request_timeout": 9,
        "account_name": "studio",
    }
    account = read(connection(extra={prefix + name: value for name, value in fields.items()}))
    assert (account.max_concurrency, account.requests_per_second) == (4, 2.5)
    assert (account.request_timeout, account.name) == (9.0, "studio")
    assert account.headers == {}


def test_the_number_of_downloads_is_a_field_of_the_connection(connection: Define) -> None:
    assert read(connection()).max_downloads == 32
    account = read(connection(extra={"max_downloads": 64}))
    assert (account.max_downloads, account.headers) == (64, {})


@pytest.mark.parametrize("blank", ["", None])
def test_a_blank_field_of_the_form_is_its_default(connection: Define, blank: str | None) -> None:
    account = read(connection(extra={"max_concurrency": blank, "extra__goenhance__max_concurrency": 3}))
    assert account.max_concurrency == 3
    assert read(connection(extra={"request_timeout": blank})).request_timeout == 60.0


def test_a_plain_http_connection_works_too(connection: Define) -> None:
    conn_id = connection(
        conn_type="http",
        host="127.0.0.1",
        schema="http",
        port=8765,
        login="somebody",
        extra={"X-Team": "faces", "X-Number": 7, "timeout": 12, "verify": False, "allow_redirects": True},
    )
    account = read(conn_id)
    assert account.base_url == "http://127.0.0.1:8765"
    assert account.headers == {"X-Team": "faces", "X-Number": "7"}
    assert account.request_timeout == 12.0
    assert (account.verify, account.request_options["ssl"]) == (False, False)


@pytest.mark.parametrize(
    ("extra", "proxy"),
    [
        ({"proxies": {"http": "http://a:1", "https": "http://b:2"}}, "http://b:2"),
        ({"proxies": {"all": "http://a:1"}}, "http://a:1"),
        ({"proxies": {"https://api.goenhance.ai": "http://c:3", "https": "http://b:2"}}, "http://c:3"),
        ({"proxy": "proxy:3128"}, "http://proxy:3128"),
        ({"proxies": {"ftp": "http://a:1"}}, None),
        ({"proxies": {}}, None),
    ],
)
def test_the_proxy_of_the_connection_is_used(connection: Define, extra: Any, proxy: str | None) -> None:
    assert read(connection(extra=extra)).proxy == proxy


def test_the_environments_proxy_is_used_unless_the_connection_says_otherwise(
    connection: Define, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://env:1")
    assert read(connection()).proxy == "http://env:1"
    assert read(connection(extra={"proxy": "http://own:2"})).proxy == "http://own:2"
    assert read(connection(extra={"trust_env": False})).proxy is None
    monkeypatch.setenv("no_proxy", ".goenhance.ai")
    assert read(connection()).proxy is None


@pytest.mark.parametrize("word", [False, "false", " FALSE "])
def test_verify_may_be_switched_off_by_value_or_word(connection: Define, word: Any) -> None:
    assert read(connection(extra={"verify": word})).request_options == {"ssl": False}


def test_own_authorities_and_a_client_certificate_are_loaded(connection: Define, tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    account = read(connection(extra={"verify": str(certificate), "cert": [str(certificate), str(key)]}))
    assert (account.verify, account.cert) == (str(certificate), (str(certificate), str(key)))
    context = account.request_options["ssl"]
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.cert_store_stats()["x509_ca"] == 1
    assert read(connection(extra={"verify": str(tmp_path)})).request_options["ssl"].check_hostname
    account = read(connection(extra={"verify": False, "cert": [str(certificate), str(key)]}))
    assert account.request_options["ssl"].verify_mode is ssl.CERT_NONE


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"extra": {"max_concurrency": "many"}}, "max_concurrency must be a non-negative number; got 'many'"),
        ({"extra": {"max_concurrency": -1}}, "max_concurrency"),
        ({"extra": {"max_concurrency": True}}, "max_concurrency"),
        ({"extra": {"requests_per_second": "nan"}}, "requests_per_second"),
        ({"extra": {"request_timeout": "inf"}}, "request_timeout"),
        ({"extra": {"timeout": "soon"}}, "request_timeout"),
        ({"extra": {"verify": "/no/such/file.pem"}}, "CA certificates; '/no/such/file.pem' does not exist"),
        ({"extra": {"cert": "/no/such/file.pem"}}, "verify and cert"),
        ({"extra": {"trust_env": "perhaps"}}, "trust_env must be true or false"),
        (
            {"extra": {"proxy": "socks5://127.0.0.1:1080"}},
            "must be an http or https URL; its scheme is 'socks5'",
        ),
        ({"extra": {"X-Bad": "one\r\nX-Two: 2"}}, "'X-Bad' in the extra"),
        ({"extra": {"bad name": "1"}}, "'bad name' in the extra"),
        ({"host": "ftp://127.0.0.1"}, "the host must be a URL like"),
        ({"host": "https://"}, "the host must be a URL like"),
        ({"host": "https://user:sk-in-the-host@api.goenhance.ai"}, "the host must be a URL like"),
        ({"host": "https://api.goenhance.ai?key=sk-in-the-host"}, "the host must be a URL like"),
        ({"host": "http://127.0.0.1:notaport"}, "the host must be a URL like"),
    ],
)
def test_a_field_that_cannot_be_is_an_error_that_names_connection_and_field(
    connection: Define, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match="goenhance_test") as raised:
        read(connection(**fields))
    assert message in str(raised.value)
    assert "sk-" not in str(raised.value)


@pytest.mark.parametrize("password", [None, "", "  ", "Bearer ", "bearer"])
def test_without_a_token_nothing_is_asked(connection: Define, password: str | None) -> None:
    with pytest.raises(AuthenticationError, match="'goenhance_test' has no API token"):
        read(connection(password=password))


@pytest.mark.parametrize("password", ["sk-one two", "sk-one\nX-Evil: 1", "sk-\u201cquoted\u201d", "sk-\x00"])
def test_a_password_that_cannot_be_a_token_is_refused_without_showing_it(
    connection: Define, password: str
) -> None:
    with pytest.raises(AuthenticationError, match="is not an API token") as raised:
        read(connection(password=password))
    assert "sk-" not in str(raised.value)


@pytest.mark.parametrize("password", [f"Bearer {TOKEN}", f"bearer  {TOKEN}", f" {TOKEN}\n"])
def test_a_token_is_read_with_what_was_copied_around_it(connection: Define, password: str) -> None:
    assert read(connection(password=password)).token == TOKEN


def test_an_authorization_in_the_extra_does_not_replace_the_token(connection: Define) -> None:
    assert read(connection(extra={"authorization": "Basic x", "Authorization": "Basic y"})).headers == {}


@pytest.mark.parametrize("name", ["max_pairs_per_day", "max_cost_per_day", "credits_per_swap"])
@pytest.mark.parametrize(("written", "read"), [(None, None), ("", None), (7, 7), ("7", 7), (7.0, 7)])
def test_a_budget_is_a_whole_number_or_none(name: str, written: Any, read: int | None) -> None:
    conn = Connection(conn_id="c", conn_type="goenhance", password="sk-token")
    assert getattr(account_of(conn, {name: written}), name) == read


@pytest.mark.parametrize("name", ["max_pairs_per_day", "max_cost_per_day", "credits_per_swap"])
@pytest.mark.parametrize("written", [0, -1, 1.5, "many", True, 2**31])
def test_a_budget_that_is_no_such_number_is_refused(name: str, written: Any) -> None:
    conn = Connection(conn_id="c", conn_type="goenhance", password="sk-token")
    with pytest.raises(ValueError, match=f"Connection 'c': {name} must be a whole number from 1"):
        account_of(conn, {name: written})


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (None, None),
        ("", None),
        (7, 7),
        ("7", 7),
        ("queue_limit", "queue_limit"),
        (" Queue_Limit ", "queue_limit"),
    ],
)
def test_a_limit_of_jobs_is_a_number_or_the_one_that_goenhance_reports(written: Any, read: Any) -> None:
    conn = Connection(conn_id="c", conn_type="goenhance", password="sk-token")
    assert account_of(conn, {"max_jobs": written}).max_jobs == read


@pytest.mark.parametrize("written", [0, -1, 1.5, "many", True])
def test_another_limit_of_jobs_is_refused_and_the_message_says_what_is_valid(written: Any) -> None:
    conn = Connection(conn_id="c", conn_type="goenhance", password="sk-token")
    with pytest.raises(ValueError, match=r"max_jobs must be a whole number from 1 .* Or 'queue_limit' for"):
        account_of(conn, {"max_jobs": written})


@pytest.mark.parametrize(
    ("misspelled", "hint"),
    [
        ("max_pair_per_day", "did you mean 'max_pairs_per_day'"),
        ("MAX_COST_PER_DAY", "did you mean 'max_cost_per_day'"),
        ("credit_per_swap", "did you mean 'credits_per_swap'"),
        ("max_pairs", "Its fields are max_concurrency"),
    ],
)
def test_a_misspelled_limit_is_refused_and_not_sent_as_a_header(
    connection: Define, misspelled: str, hint: str
) -> None:
    with pytest.raises(ValueError, match=f"has no field '{misspelled}'.*{hint}"):
        read(connection(extra={misspelled: 10}))


def test_a_header_with_an_underscore_is_no_misspelled_limit(connection: Define) -> None:
    assert read(connection(extra={"request_id": "7", "account-name": "faces"})).headers == {
        "request_id": "7",
        "account-name": "faces",
    }
