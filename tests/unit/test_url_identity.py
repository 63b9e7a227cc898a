# SPDX-License-Identifier: Apache-2.0
"""A signature never changes which picture a URL names; anything else does."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from airflow_provider_goenhance.manifest.pair_ids import default_pair_id
from airflow_provider_goenhance.redaction import redact_link
from airflow_provider_goenhance.results.swap import pair_fingerprint
from airflow_provider_goenhance.url_identity import (
    FAMILIES,
    differing_parameters,
    is_signed,
    same_but_for_query,
    url_identity,
)

#: Each way to sign, as its vendor's library writes it; `{}` stands for what differs from night to night.
SIGNATURES = {
    "AWS V4": "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIA%2F{}%2Fs3&X-Amz-Date={}&X-Amz-Expires=3600"
    "&X-Amz-SignedHeaders=host&X-Amz-Signature={}",
    "AWS V4 of a role": "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={}&X-Amz-Date={}&X-Amz-Expires=900"
    "&X-Amz-SignedHeaders=host&X-Amz-Security-Token={}&X-Amz-Signature={}",
    "AWS V4 of the JavaScript SDK": "X-Amz-Content-Sha256=UNSIGNED-PAYLOAD&X-Amz-Credential={}&X-Amz-Date={}"
    "&X-Amz-Signature={}&x-amz-checksum-mode=ENABLED&x-id=GetObject",
    "AWS V4 in lower case": "x-amz-credential={}&x-amz-date={}&x-amz-signature={}",
    "AWS V2": "AWSAccessKeyId={}&Signature={}&Expires={}",
    "AWS V2 of a role": "AWSAccessKeyId={}&Signature={}&x-amz-security-token={}&Expires={}",
    "Google V4": "X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Credential={}&X-Goog-Date={}&X-Goog-Expires=600"
    "&X-Goog-SignedHeaders=host&X-Goog-Signature={}",
    "Google V2": "GoogleAccessId={}&Expires={}&Signature={}",
    "Azure": "sv=2024-11-04&st={}&se={}&sr=b&sp=r&spr=https&sip={}&sig={}",
    "Azure of a stored policy": "sv=2024-11-04&si=policy&sr=c&sig={}",
    "Azure of an account": "sv=2024-11-04&ss=b&srt=o&sp=r&se={}&sig={}",
    "Azure of a user": "skoid={}&sktid={}&skt={}&ske={}&sks=b&skv=2024-11-04&sv=2024-11-04&se={}&sr=d&sdd=2"
    "&sp=r&sig={}",
    "CloudFront": "Expires={}&Signature={}&Key-Pair-Id=K{}",
    "CloudFront with a policy": "Policy={}&Signature={}&Key-Pair-Id=K{}",
    "Akamai hdnts": "hdnts=exp={}~acl=/*~hmac={}",
    "Akamai hdnea": "hdnea=st={}~exp={}~acl=/*~hmac={}",
    "Akamai token": "__token__=exp={}~acl=/*~hmac={}",
    "Tencent": "q-sign-algorithm=sha1&q-ak={}&q-sign-time={}&q-key-time={}&q-header-list=host&q-url-param-list="
    "&q-signature={}&x-cos-security-token={}",
    "Alibaba V1": "OSSAccessKeyId={}&Expires={}&Signature={}&security-token={}",
    "Alibaba V4": "x-oss-signature-version=OSS4-HMAC-SHA256&x-oss-credential={}&x-oss-date={}&x-oss-expires=60"
    "&x-oss-security-token={}&x-oss-signature={}",
    "a framework": "expires={}&signature={}",
    "Google Cloud CDN": "Expires={}&KeyName=key&Signature={}",
    "OpenStack Swift": "temp_url_sig={}&temp_url_expires={}",
    "ImageKit": "ik-t={}&ik-s={}",
    "Cloudinary": "__cld_token__=exp={}~hmac={}",
    "Cloudinary's API": "api_key=1&timestamp={}&signature={}&expires_at={}",
    "Backblaze": "Authorization={}",
    "SharePoint": "tempauth={}",
    "TikTok": "x-expires={}&x-signature={}",
    "Instagram": "_nc_ht=cdn.example&_nc_cat={}&_nc_ohc={}&oh={}&oe={}",
    "Filestack": "policy={}&signature={}",
}
#: Ways to sign a picture's path, as its vendor writes it on Monday and on Tuesday.
SIGNED_PATHS = {
    "Bunny": ("token={s}&expires={t}", "token={s}&token_path=%2F&expires={t}"),
    "KeyCDN": ("token={s}&expire={t}",),
    "Cloudflare Images": ("exp={t}&sig={s}",),
    "Cloudflare": ("verify={t}-{s}{s}",),
    "Qiniu": ("e={t}&token=AK:{s}:{s}",),
    "imgix": ("expires={t}&s={s}",),
    "Tencent CDN": ("sign={s}&t={t}",),
    "Wangsu": ("wsSecret={s}&wsTime={t}",),
    "Alibaba CDN": ("auth_key={t}-0-0-{s}",),
    "Akamai under another name": ("token=exp={t}~acl=%2f*~hmac={s}{s}", "h=exp%3D{t}%7Ehmac%3D{s}{s}"),
    "UpYun": ("_upt=0123abcd{t}",),
    "Tencent CDN, type A": ("sign={t}-abc-0-{s}",),
    "Tencent COS in one parameter": (
        "sign=q-sign-algorithm%3Dsha1%26q-ak%3DAK%26q-sign-time%3D{t}%3B9%26q-signature%3D{s}",
    ),
    "nginx": ("md5={s}&expires={t}", "st={s}&e={t}"),
    "Edgio": ("e={t}&h={s}",),
    "Notion": ("table=block&id=7&expirationTimestamp={t}000&signature={s}",),
    "Fastly": ("token={t}_{s}{s}",),
    "CDN77": ("secure={s},{t}",),
}
#: Parameters that name the picture, though some look like a signature.
NAMING = (
    "versionId", "generation", "versionid", "snapshot", "token", "sig", "Expires", "v", "se", "sp", "id", "w",
    "x-oss-process", "response-content-type", "Key-Pair-Id", "Policy", "ex",
)  # fmt: skip

words = st.text("abcXYZ019-_.~%/", min_size=1, max_size=8).map(lambda text: text.replace("%", "%2F"))
names = st.sampled_from(NAMING)
hosts = st.sampled_from(["img.example.com", "bucket.s3.amazonaws.com", "a.b:8443", "127.0.0.1:9000"])


@st.composite
def urls(draw: st.DrawFn) -> str:
    """Return a URL that nobody signed: no set of its parameters is a whole family."""
    chosen = draw(
        st.lists(names, max_size=1) | st.lists(st.sampled_from(("v", "w", "id", "token")), max_size=4)
    )
    query = "&".join(f"{name}={draw(words)}" for name in chosen)
    return f"https://{draw(hosts)}/{draw(words)}" + (f"?{query}" if query else "")


def signed(url: str, family: str, night: list[str], place: int) -> str:
    """Return the URL signed in one night; the signature stands somewhere among its parameters."""
    text = SIGNATURES[family]
    parts = text.format(*(night * text.count("{}"))[: text.count("{}")]).split("&")
    address, _, query = url.partition("?")
    own = query.split("&") if query else []
    at = place % (len(own) + 1)
    return f"{address}?{'&'.join([*own[:at], *parts, *own[at:]])}"


nights = st.lists(words, min_size=1, max_size=6)


@given(urls(), st.sampled_from(sorted(SIGNATURES)), nights, st.integers(0, 9))
def test_signing_a_url_never_changes_which_picture_it_names(
    url: str, family: str, night: list[str], place: int
) -> None:
    assume(not (family in {"Google V2", "AWS V2"} and "Key-Pair-Id" in url))  # then it is CloudFront's, whole
    own = {part.partition("=")[0].lower() for part in url.partition("?")[2].split("&")}
    family_names = {part.partition("=")[0].lower() for part in SIGNATURES[family].split("&")}
    assume(not own & (family_names | {"policy", "key-pair-id", "se", "sp", "ex"}))
    assert url_identity(signed(url, family, night, place)) == url_identity(url)


@given(urls(), urls(), st.sampled_from(sorted(SIGNATURES)), nights, st.integers(0, 9))
def test_two_pictures_stay_two_whatever_signs_them(
    url: str, other: str, family: str, night: list[str], place: int
) -> None:
    assume(url != other)
    lone = {"policy", "key-pair-id", "se", "sp", "ex", "sig", "expires"}
    for one in (url, other):
        own = {part.partition("=")[0].lower() for part in one.partition("?")[2].split("&")}
        assume(not own & lone)
    assert url_identity(signed(url, family, night, place)) != url_identity(
        signed(other, family, night, place)
    )


@given(urls(), names, words, words)
def test_one_other_value_is_another_picture(url: str, name: str, value: str, other: str) -> None:
    assume(value != other)
    link = "&" if "?" in url else "?"
    assert url_identity(f"{url}{link}{name}={value}") != url_identity(f"{url}{link}{name}={other}")


@given(urls())
def test_an_unsigned_url_is_its_own_identity(url: str) -> None:
    assert url_identity(url) == url
    assert pair_fingerprint(url, url) == hashlib.sha256(f"{url}\n{url}".encode()).hexdigest()


@pytest.mark.parametrize(
    ("url", "identity"),
    [
        ("https://a.example/x.jpg#face", "https://a.example/x.jpg"),
        ("HTTPS://A.Example/X.jpg", "https://a.example/X.jpg"),
        ("https://a.example:443/x.jpg", "https://a.example/x.jpg"),
        ("http://a.example:443/x.jpg", "http://a.example:443/x.jpg"),
        ("http://a.example:80?id=1", "http://a.example?id=1"),
        ("https://a.example/a%2fb.jpg?q=%2f", "https://a.example/a%2fb.jpg?q=%2f"),
        ("https://a.example/x.jpg?", "https://a.example/x.jpg"),
        ("https://a.example/x.jpg?b=2&a=1", "https://a.example/x.jpg?b=2&a=1"),
        ("https://[2001:db8::1]:443/x.jpg", "https://[2001:db8::1]/x.jpg"),
        ("not a URL", "not a URL"),
        ("", ""),
    ],
)
def test_only_what_certainly_means_the_same_is_written_the_same(url: str, identity: str) -> None:
    assert url_identity(url) == identity


@pytest.mark.parametrize(
    "query", ["token=1", "sig=1", "Expires=1", "v=1", "Signature=1", "se=1&sig=1", "Expires=1&token=2"]
)
def test_an_incomplete_family_names_the_picture(query: str) -> None:
    assert url_identity(f"https://a.example/x.jpg?{query}") == f"https://a.example/x.jpg?{query}"


@pytest.mark.parametrize("query", [query for queries in SIGNED_PATHS.values() for query in queries])
@pytest.mark.parametrize("own", ["", "w=800&"])
def test_names_that_mean_something_else_elsewhere_sign_a_path_that_names_a_picture(
    query: str, own: str
) -> None:
    def link(path: str, night: str) -> str:
        signature = hashlib.md5(night.encode(), usedforsecurity=False).hexdigest()
        return f"https://a.example/{path}?{own}{query.format(s=signature, t='17' + night)}"

    monday, tuesday = "00000000", "00086400"
    assert url_identity(link("x.jpg", monday)) == url_identity(link("x.jpg", tuesday))
    assert url_identity(link("x.jpg", monday)) != url_identity(link("y.jpg", monday))
    assert redact_link(link("x.jpg", monday)) == "https://a.example/x.jpg"


@pytest.mark.parametrize(
    "url",
    [
        "https://a.example/download?token={}&expires=1700000000",
        "https://a.example/get.php?t=1700000000&sign={}",
        "https://firebasestorage.example/v0/b/b/o/x.jpg?alt=media&token={}",
        "https://a.example/x.jpg?token={}&expires=never",
        "https://a.example/x.jpg?v={}&expires=1700000000",
        "https://a.example/x.jpg?id=1700000000-user-0-{}",
        "https://a.example/get?verify=1700000000-{0}{0}",
        "https://drive.example/uc?export=download&id={}&confirm=t",
        "https://drive.example/x.jpg?rlkey={}&dl=1",
    ],
)
def test_what_may_name_the_picture_stays_in_its_identity(url: str) -> None:
    one, other = (hashlib.md5(n.encode(), usedforsecurity=False).hexdigest() for n in "ab")
    assert url_identity(url.format(one)) != url_identity(url.format(other))


@pytest.mark.parametrize(
    ("monday", "tuesday"),
    [
        (
            "dropbox.example/scl/fi/1/x.jpg?rlkey=k&st=abc&dl=1",
            "dropbox.example/scl/fi/1/x.jpg?rlkey=k&st=xyz&dl=1",
        ),
        (
            "drive.example/download?id=7&export=download&confirm=t&uuid=1&at=A",
            "drive.example/download?id=7&export=download&confirm=t&uuid=2&at=B",
        ),
    ],
)
def test_a_link_of_a_file_store_names_its_file_in_every_session(monday: str, tuesday: str) -> None:
    assert url_identity(f"https://{monday}") == url_identity(f"https://{tuesday}")


def web_token(**claims: object) -> str:
    parts = [{"alg": "HS256", "typ": "JWT"}, claims, {"s": sorted(map(str, claims.values()))}]
    return ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts
    )


def test_a_web_token_names_the_picture_by_its_lasting_claims() -> None:
    def link(picture: str, night: int) -> str:
        token = web_token(url=f"bucket/{picture}", iat=night, exp=night + 60)
        return f"https://p.supabase.example/render?width=9&token={token}"

    assert url_identity(link("x.jpg", 1)) == url_identity(link("x.jpg", 2))
    assert url_identity(link("x.jpg", 1)) != url_identity(link("y.jpg", 1))


@pytest.mark.parametrize("token", [web_token(url="x"), "eyJ.eyJ.x", "eyJhIjox.eyJhIjox.x", "a.b.c"])
def test_any_other_token_is_part_of_the_name(token: str) -> None:
    assert url_identity(f"https://a.example/x.jpg?token={token}") == f"https://a.example/x.jpg?token={token}"


@pytest.mark.parametrize("version", ["versionId=3", "generation=17", "versionid=2026", "snapshot=2026"])
@pytest.mark.parametrize("family", sorted(SIGNATURES))
def test_the_version_of_an_object_is_kept(version: str, family: str) -> None:
    url = signed(f"https://a.example/x.jpg?{version}", family, ["n"], 0)
    assert url_identity(url) == f"https://a.example/x.jpg?{version}"


@pytest.mark.parametrize("family", sorted(SIGNATURES))
def test_a_pair_without_an_id_has_the_same_name_every_night(family: str) -> None:
    def name(night: str) -> str:
        source, scene = "https://a.example/face.jpg", "https://a.example/scene.jpg"
        return default_pair_id(signed(source, family, [night], 0), signed(scene, family, [night], 0))

    assert name("monday") == name("tuesday")


@pytest.mark.parametrize("family", sorted(SIGNATURES))
def test_what_signs_a_link_is_cut_out_of_it(family: str) -> None:
    link = signed("https://a.example/x.jpg", family, ["n"], 0)
    assert redact_link(link) == "https://a.example/x.jpg"


def test_a_key_stands_for_the_url() -> None:
    fingerprint: Callable[..., str] = pair_fingerprint
    one, two, scene = "https://a.example/1?k=1", "https://a.example/2?k=2", "https://a.example/s.jpg"
    assert fingerprint(one, scene, source_key="face-7") == fingerprint(two, scene, source_key="face-7")
    assert fingerprint(one, scene, source_key="face-7") != fingerprint(one, scene, source_key="face-8")
    assert fingerprint(one, scene, source_key="face-7") != fingerprint(one, scene, reference_key="face-7")
    assert fingerprint(one, scene, source_key=scene) != fingerprint(scene, scene)


def test_what_differs_is_named_without_its_value() -> None:
    monday, tuesday = "https://a.example/x.jpg?k=1&t=9&w=5", "https://a.example/x.jpg?t=9&w=6"
    assert same_but_for_query(monday, tuesday)
    assert differing_parameters(monday, tuesday) == ["k", "w"]
    assert not same_but_for_query(monday, "https://a.example/y.jpg")


def test_a_rejected_row_with_any_text_has_a_fingerprint_too() -> None:
    assert len(pair_fingerprint("http://\ud800", "")) == 64


@pytest.mark.parametrize(
    "needed", sorted(" ".join(sorted(needed)) for family in FAMILIES for needed in family.complete)
)
def test_each_family_is_found_by_each_of_its_complete_sets_beside_other_parameters(needed: str) -> None:
    query = "&".join(["q=1", *(f"{name.upper()}=1" for name in needed.split()), "width=2"])

    assert is_signed(query)
