"""Two requests are the same video unless more than a signature differs.

Too few fingerprints deliver the wrong video: a corrected URL brings back the old one. Too many pay for a second one: a
file that was signed again looks like another. Each scheme of the table is held from both sides.
"""

import base64
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from airflow_provider_digitalhuman.api.request import VideoRequest
from airflow_provider_digitalhuman.ledger.fingerprint import (
    fingerprint,
    legacy_fingerprint,
    media_fingerprint,
)
from airflow_provider_digitalhuman.ledger.signature_warning import unrecognised_signature
from airflow_provider_digitalhuman.ledger.signed_urls import (
    PATH_SCHEMES,
    SCHEMES,
    join,
    jwt_claims,
    split,
    value_of,
    without_signature,
)

AUDIO, VIDEO, BASE = "https://h.example.com/a.mp3", "https://h.example.com/v.mp4", "https://api.example.com"
GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "fingerprints.json").read_text())
MD5, OTHER_MD5 = "0a1b2c3d4e5f60718293a4b5c6d7e8f9", "f9e8d7c6b5a493827160f5e4d3c2b1a0"


def of(audio: str = AUDIO, video: str = VIDEO, base: str = BASE, **parameters: Any) -> str:
    return fingerprint(VideoRequest(audio, video, **parameters), base)


def media(audio: str = AUDIO, video: str = VIDEO, **parameters: Any) -> str:
    return media_fingerprint(VideoRequest(audio, video, **parameters))


OF_AUDIO: Callable[[str], str] = lambda query: of(audio=f"{AUDIO}?{query}")  # noqa: E731
OF_VIDEO: Callable[[str], str] = lambda query: of(video=f"{VIDEO}?{query}")  # noqa: E731
MEDIA_OF_AUDIO: Callable[[str], str] = lambda query: media(audio=f"{AUDIO}?{query}")  # noqa: E731
MEDIA_OF_VIDEO: Callable[[str], str] = lambda query: media(video=f"{VIDEO}?{query}")  # noqa: E731
each_url = pytest.mark.parametrize(
    "of_query",
    [OF_AUDIO, OF_VIDEO, MEDIA_OF_AUDIO, MEDIA_OF_VIDEO],
    ids=["audio", "video", "media of audio", "media of video"],
)

# By scheme: each parameter of its signature, as the vendor spells it, with two values of the same file.
SIGNED: dict[str, list[tuple[str, str, str]]] = {
    "AWS version 4": [
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
        ("X-Amz-Credential", "AKID%2F20260101%2Fus-east-1%2Fs3%2Faws4_request", "AKIE%2F20260102%2Feu%2Fs3%2Faws4"),
        ("X-Amz-Date", "20260101T000000Z", "20260102T000000Z"),
        ("X-Amz-Expires", "3600", "7200"),
        ("X-Amz-SignedHeaders", "host", "host%3Brange"),
        ("X-Amz-Security-Token", "IQoJb3JpZ2lu%2F%2F", "IQoJb3JpZ2lv%2F%2F"),
        ("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD", "e3b0"),
        ("X-Amz-Signature", "0a1b", "2c3d"),
    ],
    "AWS version 2": [
        ("AWSAccessKeyId", "AKID", "AKIE"),
        ("Expires", "1767225600", "1767229200"),
        ("Signature", "vjby%2BPxyb%3D", "NJOZ%2FPxyb%3D"),
        ("x-amz-security-token", "FQoG", "FQoH"),
    ],
    "CloudFront": [
        ("Expires", "1767225600", "1767229200"),
        ("Policy", "eyANCiAg_", "eyANCiAh_"),
        ("Signature", "nitfHRCrtziwO2~", "oitfHRCrtziwO2~"),
        ("Key-Pair-Id", "K2JCJMDEHXQW5F", "K3JCJMDEHXQW5F"),
        ("Hash-Algorithm", "SHA256", "SHA1"),
    ],
    "Google version 4": [
        ("X-Goog-Algorithm", "GOOG4-RSA-SHA256", "GOOG4-HMAC-SHA256"),
        ("X-Goog-Credential", "a%40b%2F20260101%2Fauto%2Fstorage%2Fgoog4_request", "c%40d%2F20260102%2Fauto"),
        ("X-Goog-Date", "20260101T000000Z", "20260102T000000Z"),
        ("X-Goog-Expires", "900", "901"),
        ("X-Goog-SignedHeaders", "host", "host%3Brange"),
        ("X-Goog-Signature", "0a1b", "2c3d"),
    ],
    "Google version 2": [
        ("GoogleAccessId", "a%40b.iam.gserviceaccount.com", "c%40b.iam.gserviceaccount.com"),
        ("Expires", "1767225600", "1767229200"),
        ("Signature", "MCow%2B", "NCow%2B"),
    ],
    "Google Cloud CDN": [
        ("URLPrefix", "aHR0cHM6Ly9h", "aHR0cHM6Ly9i"),
        ("Expires", "1767225600", "1767229200"),
        ("KeyName", "first", "second"),
        ("Signature", "MCow-", "NCow-"),
    ],
    "Azure SAS": [
        ("sp", "r", "rl"),
        ("st", "2026-01-01T00:00:00Z", "2026-01-02T00%3A00%3A00Z"),
        ("se", "2026-01-01T08:00:00Z", "2026-01-02T08%3A00%3A00Z"),
        ("sip", "168.1.5.60", "168.1.5.61"),
        ("spr", "https", "https,http"),
        ("sv", "2022-11-02", "2024-08-04"),
        ("sr", "b", "c"),
        ("sdd", "1", "2"),
        ("si", "policy", "policies"),
        ("ss", "b", "bf"),
        ("srt", "o", "co"),
        ("ses", "scope", "scopes"),
        ("skoid", "f81d4fae", "f81d4faf"),
        ("sktid", "7dec11d0", "7dec11d1"),
        ("skt", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
        ("ske", "2026-01-01T08:00:00Z", "2026-01-02T08:00:00Z"),
        ("sks", "b", "q"),
        ("skv", "2022-11-02", "2024-08-04"),
        ("saoid", "a765", "a766"),
        ("suoid", "00a0", "00a1"),
        ("scid", "c91e", "c91f"),
        ("sig", "JndgTyqqxFB%2FlYd7CTa5zE8Zjb5s%2BQ%3D", "KndgTyqqxFB%2FlYd7CTa5zE8Zjb5s%2BQ%3D"),
    ],
    "Alibaba OSS version 4": [
        ("x-oss-additional-headers", "host", "range"),
        ("x-oss-credential", "LTAI%2F20260101%2Fcn-hangzhou%2Foss%2Faliyun_v4_request", "LTAJ%2F20260102%2Fcn"),
        ("x-oss-date", "20260101T000000Z", "20260102T000000Z"),
        ("x-oss-expires", "86400", "86401"),
        ("x-oss-security-token", "CAIS", "CAIT"),
        ("x-oss-signature-version", "OSS4-HMAC-SHA256", "OSS4"),
        ("x-oss-signature", "70c5", "80c5"),
    ],
    "Alibaba OSS version 1": [
        ("OSSAccessKeyId", "nz2p", "nz2q"),
        ("Expires", "1767225600", "1767229200"),
        ("Signature", "Pxyb%2BmGa", "Qxyb%2BmGa"),
        ("security-token", "CAIS", "CAIT"),
    ],
    "Huawei OBS": [
        ("AccessKeyId", "AKID", "AKIE"),
        ("Expires", "1767225600", "1767229200"),
        ("Signature", "ZqFy%2B", "AqFy%2B"),
        ("x-obs-security-token", "gQpz", "gQqz"),
    ],
    "Tencent COS": [
        ("q-sign-algorithm", "sha1", "sha256"),
        ("q-ak", "AKID", "AKIE"),
        ("q-sign-time", "1767225600;1767229200", "1767229200;1767232800"),
        ("q-key-time", "1767225600;1767229200", "1767229200;1767232800"),
        ("q-header-list", "", "host"),
        ("q-url-param-list", "", "response-content-type"),
        ("q-signature", "eb2519b498b02ac213cb1f3d1a3d27a3b3c9bc5f", "fb2519b498b02ac213cb1f3d1a3d27a3b3c9bc5f"),
        ("x-cos-security-token", "c979", "d979"),
    ],
    "Tencent COS in one parameter": [
        (
            "sign",
            "q-sign-algorithm%3Dsha1%26q-ak%3DAKID%26q-sign-time%3D1%3B2%26q-signature%3Deb2519b4",
            "q-sign-algorithm%3Dsha1%26q-ak%3DAKID%26q-sign-time%3D2%3B3%26q-signature%3Dfb2519b4%26q-x%3D1",
        ),
        ("x-cos-security-token", "c979", "d979"),
    ],
    "Volcengine TOS": [
        ("X-Tos-Algorithm", "TOS4-HMAC-SHA256", "TOS4"),
        ("X-Tos-Credential", "AKTP%2F20260101%2Fcn-beijing%2Ftos%2Frequest", "AKTQ%2F20260102%2Fcn-beijing%2Ftos"),
        ("X-Tos-Date", "20260101T000000Z", "20260102T000000Z"),
        ("X-Tos-Expires", "3600", "7200"),
        ("X-Tos-SignedHeaders", "host", "host%3Brange"),
        ("X-Tos-Security-Token", "nCgdqdzR", "nCgdqdzS"),
        ("X-Tos-Policy", "eyJj", "eyJk"),
        ("X-Tos-Signature", "0a1b", "2c3d"),
    ],
    "Volcengine VOD": [
        ("x-expires", "1767225600", "1767229200"),
        ("x-signature", "abc%2B%3D", "bbc%2B%3D"),
    ],
    "Baidu BOS": [
        (
            "authorization",
            "bce-auth-v1%2FAKID%2F2026-01-01T00%3A00%3A00Z%2F1800%2F%2Fd74a",
            "bce-auth-v2/AKID/2026-01-02T00:00:00Z/1800//e74a",
        ),
        ("x-bce-security-token", "ZjkyZmQ2", "ZjkyZmQ3"),
    ],
    "Backblaze B2": [
        (
            "Authorization",
            "3_20160803004041_53982a92f631a8c7303e3266_d940c7f5ee17cd1de3758aaacf1024188bc0cd0b_000_20160804004041_0006_dnld",
            "4_0022623512fc8f80000000001_0186e431_d18d02_acct_tH7VW03boebOXayIc43-sxptpfA%3D",
        ),
    ],
    "Qiniu Kodo": [
        ("e", "1451491200", "1451494800"),
        ("token", "MY_ACCESS-KEY:yN9WtB0lQheegAwva64yBuH3ZgU=", "MY_ACCESS-KEY%3AzN9WtB0lQhee-Awva64y%3D:cG9s"),
    ],
    "UPYUN": [
        ("_upp", "2", "3"),
        ("_upt", "0a1b2c3d1370000600", "1a1b2c3d1370004200"),
    ],
    "Wangsu": [
        ("wsSecret", MD5, OTHER_MD5),
        ("wsTime", "1767225600", "6955b900"),
    ],
    "Alibaba CDN type A": [
        ("auth_key", f"1451491200-0-0-{MD5}", f"1451494800-477b3bbc253f467b8def6711128c7bec-0-{OTHER_MD5}"),
    ],
    "Huawei CDN type C2": [
        ("auth_key", MD5, OTHER_MD5),
        ("timestamp", "6955b900", "1767225600"),
    ],
    "Tencent CDN type A": [
        ("sign", f"1582791032-im1acp76sx9sdqe601v-0-{MD5}", f"5e577978--0-{OTHER_MD5}"),
    ],
    "Tencent VOD, Tencent CDN type D, Qiniu CDN": [
        ("t", "55bb9b80", "1767225600"),
        ("us", "72d4cd1101", "82d4cd1101"),
        ("rlimit", "3", "4"),
        ("sign", MD5, OTHER_MD5),
    ],
    "Tencent EdgeOne type D": [
        ("token", MD5, OTHER_MD5),
        ("t", "1721029907", "6694d30a"),
    ],
    "Akamai": [("hdnts", "exp=1614564664~hmac=42b4", "st=1~exp=1614564665~acl=/a/*~data=x~hmac=52B4")],
    "Akamai for a segment": [("hdnea", "exp=1614564664~acl=%2fa%2f*~hmac=42b4", "ip=1.2.3.4~exp=2~hmac=52b4")],
    "Akamai by default": [("__token__", "exp=1614564664~acl=/a/*~hmac=42b4", "exp=1614564665~acl=/b/*~hmac=52b4")],
    "Akamai under a common name": [("token", "exp=1614564664~hmac=42b4", "exp=1614564665~acl=/b/*~hmac=52b4")],
    "Cloudflare": [
        (
            "verify",
            "1484063137-IaLGSmELTvlhfd0ItdN6PhhHTFhzx73EX8uy%2FcSDiIU%3D",
            "1484063138-JaLGSmELTvlhfd0ItdN6PhhHTFhzx73EX8uy_cSDi-U",
        ),
    ],
    "Fastly": [
        (
            "token",
            "1441307151_4492f25946a2e8e1414a8bb53dab8a6ba1cf4615",
            "14413071520_4492f25946a2e8e1414a8bb53dab8a6ba1cf46154492f25946a2e8e1414a8bb5",
        ),
    ],
    "bunny.net": [
        ("token", "HS256-aiDhHXZGHidbDZZqIY14z1eHhhbZvMlzh_7u9cEIdfI", MD5),
        ("token_path", "%2Fmy%2F", "%2F"),
        ("expires", "1598024587", "1598024588"),
    ],
    "nginx secure_link": [
        ("md5", "_e4Nc3iduzkWRm01TBBNYw", "-e4Nc3iduzkWRm01TBBNYw=="),
        ("expires", "2147483647", "2147483646"),
    ],
    "nginx secure_link, short": [
        ("st", "_e4Nc3iduzkWRm01TBBNYw", "-e4Nc3iduzkWRm01TBBNYw"),
        ("e", "2147483647", "2147483646"),
    ],
    "timestamp, nonce and sign": [
        ("timestamp", "1767225600", "1767225600123"),
        ("nonce", "a1B2-c3_", "7"),
        ("sign", MD5, "IaLGSmELTvlhfd0ItdN6PhhHTFhzx73EX8uy%2FcSDiIU%3D"),
    ],
    "hmac and exp": [
        ("exp", "1767225600", "1767229200"),
        ("hmac", MD5 + OTHER_MD5, "IaLGSmELTvlhfd0ItdN6PhhHTFhzx73EX8uy_cSDi-U"),
    ],
}
each_scheme = pytest.mark.parametrize("scheme", SIGNED)


def query(parameters: list[tuple[str, str]]) -> str:
    return "&".join(f"{name}={value}" for name, value in parameters)


def first_signing(scheme: str) -> list[tuple[str, str]]:
    return [(name, first) for name, first, _ in SIGNED[scheme]]


def each_parameter() -> Iterator[Any]:
    for scheme, parameters in SIGNED.items():
        for index, (name, _, _) in enumerate(parameters):
            yield pytest.param(scheme, index, id=f"{scheme}: {name}")


# --- signed again -----------------------------------------------------------------------------------------------------


@each_url
@each_scheme
def test_fingerprint_ignores_second_signing(scheme: str, of_query: Callable[[str], str]) -> None:
    first = query(first_signing(scheme))
    again = query([(name, second) for name, _, second in SIGNED[scheme]])
    assert of_query(f"take=1&{first}") == of_query(f"take=1&{again}") == of_query("take=1")
    assert of_query(f"{first}&take=1") == of_query("take=1")
    assert of_query(f"take=1&{first}") != of_query(f"take=2&{first}")


@pytest.mark.parametrize(("scheme", "index"), list(each_parameter()))
def test_fingerprint_ignores_each_parameter_of_signature(scheme: str, index: int) -> None:
    parameters = first_signing(scheme)
    first = query(parameters)
    parameters[index] = (parameters[index][0], SIGNED[scheme][index][2])
    assert query(parameters) != first
    for of_query in (OF_AUDIO, OF_VIDEO):
        assert of_query(query(parameters)) == of_query(first)


@each_scheme
def test_fingerprint_of_signed_file_is_that_of_unsigned_file(scheme: str) -> None:
    signed = query(first_signing(scheme))
    assert of(audio=f"{AUDIO}?{signed}", video=f"{VIDEO}?{signed}") == of()
    assert of(audio=f"https://h.example.com/b.mp3?{signed}") != of(audio=f"{AUDIO}?{signed}")
    assert of(video=f"https://h.example.com/w.mp4?{signed}") != of(video=f"{VIDEO}?{signed}")


@each_scheme
def test_names_of_signature_count_in_any_case_and_spelling(scheme: str) -> None:
    signed = first_signing(scheme)
    for spelling in (str.upper, str.lower, lambda name: "".join(f"%{ord(letter):02X}" for letter in name)):
        assert without_signature(f"{AUDIO}?{query([(spelling(name), value) for name, value in signed])}") == AUDIO


@each_scheme
def test_every_needed_parameter_is_needed(scheme: str) -> None:
    for name in SCHEMES[scheme].needs:
        for rest in (
            [(other, value) for other, value in first_signing(scheme) if other.lower() != name],
            [(other, "" if other.lower() == name else value) for other, value in first_signing(scheme)],
        ):
            url = f"{AUDIO}?take=1&{query(rest)}"
            assert without_signature(url) == url


@each_scheme
def test_repeated_needed_parameter_is_no_signature(scheme: str) -> None:
    """Which of the two would be the signature's, and which would name the file?"""
    for name in SCHEMES[scheme].needs:
        repeated = [(other, value) for other, value in first_signing(scheme) if other.lower() == name]
        url = f"{AUDIO}?{query(repeated)}&{query(first_signing(scheme))}"
        assert without_signature(url) == url


@each_scheme
def test_other_repeated_parameter_stays(scheme: str) -> None:
    for name, value in first_signing(scheme):
        if name.lower() in SCHEMES[scheme].also:
            url = f"{AUDIO}?{name}=other&{query(first_signing(scheme))}"
            assert without_signature(url) == f"{AUDIO}?{name}=other&{name}={value}"


@each_scheme
def test_what_may_name_the_file_signs_only_where_path_does(scheme: str) -> None:
    signed = query(first_signing(scheme))
    for path in ("/download", "/get.php", "/mp4", "", "/a.mp4/"):
        url = f"https://h.example.com{path}?{signed}"
        stays = without_signature(url) == url
        assert stays is SCHEMES[scheme].generic, path
        assert stays or without_signature(url) == f"https://h.example.com{path}"


@pytest.mark.parametrize(
    "extension",
    [
        "mp3",
        "mp4",
        "wav",
        "m4a",
        "aac",
        "aar",
        "flac",
        "ogg",
        "mov",
        "avi",
        "mkv",
        "webm",
        "m4v",
        "mpg",
        "mpeg",
        "wmv",
        "flv",
        "ts",
        "3gp",
        "MP4",
        "Mp3",
    ],
)
def test_media_files_are_known_by_extension(extension: str) -> None:
    file = f"https://h.example.com/clips.d/v.{extension}"
    assert without_signature(f"{file}?st=_e4Nc3iduzkWRm01TBBNYw&e=2147483647") == file


def test_schemes_that_may_name_the_file_are_marked() -> None:
    assert [name for name, scheme in SCHEMES.items() if scheme.generic] == [
        "Backblaze B2",
        "UPYUN",
        "Tencent VOD, Tencent CDN type D, Qiniu CDN",
        "Tencent EdgeOne type D",
        "Fastly",
        "bunny.net",
        "nginx secure_link",
        "nginx secure_link, short",
        "timestamp, nonce and sign",
        "hmac and exp",
    ]


def test_table_and_its_examples_are_complete() -> None:
    assert list(SCHEMES) == list(SIGNED)
    for name, scheme in SCHEMES.items():
        in_table = {*scheme.needs, *scheme.also}
        assert {parameter.lower() for parameter, _, _ in SIGNED[name]} == in_table
        assert without_signature(f"{AUDIO}?{scheme.example}&take=1") == f"{AUDIO}?take=1"
        assert {piece.partition("=")[0].lower() for piece in scheme.example.split("&")} <= in_table


def test_two_signatures_at_once_are_both_ignored() -> None:
    origin = query(first_signing("Alibaba OSS version 1"))
    assert without_signature(f"{AUDIO}?{origin}&auth_key=1451491200-0-0-{MD5}") == AUDIO


# --- values that are not of a signature -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kept",
    [
        # what issue 21 names
        *("e=episode-1", "token=intro", "st=2", "se=2", "sp=2", "sv=2", "sr=2", "sign=leo", "q-x=1", "t=1", "t=12"),
        *("e=1451491200", "token=AKID:c2ln", "sv=2022-11-02", "sig=c2ln", f"sign={MD5}", "sign=leo&t=12"),
        *("e=episode-1&token=intro", "sign=leo&t=55bb9b80", f"sign={MD5}&t=2", "q-ak=1&q-signature=1"),
        # every other short name by itself
        *("signature=1", "expires=1767225600", "policy=1", "authorization=1", "auth_key=1", "md5=1", "exp=1", "hmac=1"),
        *("key-pair-id=1", "accesskeyid=1", "security-token=1", "auth_token=1", "verify=1", "nonce=1", "timestamp=1"),
        *("spr=1", "skoid=1", "sktid=1", "skt=1", "ske=1", "sks=1", "skv=1", "hdnts=1", "hdnea=1", "us=1", "rlimit=1"),
        *("exper=1", "wssecret=1", "wstime=1", "x-signature=1", "x-expires=1", "jwt=1", "access_token=1", "_upt=1"),
        # what the server is to do with the file: another content
        *("x-oss-process=video/snapshot,t_1000", "x-tos-process=1", "x-cos-x=1", "x-amz-x=1", "x-goog-generation=1"),
        *("x-amz-date=20260101T000000Z", "X-Amz-Expires=60", "versionId=1", "response-content-type=a"),
        # nearly
        "sig=c2ln&sv=2022-11-2",
        "sig=c2ln&sv=1&se=2026-01-01&sp=r&sr=b",
        "e=145149120&token=AKID:c2ln",
        "e=14514912000&token=AKID:c2ln",
        "e=1451491200&token=AKIDc2ln",
        "e=1451491200&token=:c2ln",
        "e=1451491200&token=AKID:",
        "e=1451491200&token=AKID:c2ln:",
        "e=1451491200&token=AKID:c2ln:c2ln:c2ln",
        f"auth_key=145149120-0-0-{MD5}",
        f"auth_key=1451491200-0-{MD5}",
        f"auth_key=1451491200-0-0-{MD5}0",
        f"auth_key=1451491200-0-0-{MD5[1:]}",
        f"auth_key=1451491200-0_0-0-{MD5}",
        f"auth_key={MD5}&timestamp=2026",
        f"auth_key={MD5}0&timestamp=1767225600",
        f"sign=1451491200-a-{MD5}",
        f"sign={MD5}&t=145149120",
        f"sign={MD5}&t=14514912000",
        f"sign={MD5}0&t=55bb9b80",
        f"sign={MD5[1:]}&t=55bb9b80",
        f"sign={MD5[1:]}g&t=55bb9b80",
        f"sign={MD5}&t=55bb9b8g",
        f"token={MD5}0&t=55bb9b80",
        f"token={MD5}&t=55bb9b8",
        "sign=q-sign-algorithm%3Dsha1",
        "sign=q-sign-algorithm%3Dsha1%26q-signature%3D",
        "authorization=bce-auth/1",
        "authorization=bce-auth-v1%2F",
        "Authorization=3_2016",
        "Authorization=3_2016_dnldx",
        "Authorization=a_2016_dnld",
        "_upt=0a1b2c3d137000060",
        "_upt=0a1b2c3g1370000600",
        f"wsSecret={MD5}&wsTime=now",
        "x-expires=never&x-signature=leo",
        "AWSAccessKeyId=a&Expires=never&Signature=leo",
        "Expires=never&Signature=leo&OSSAccessKeyId=a",
        "Expires=never&Signature=leo&AccessKeyId=a",
        "Expires=never&Signature=leo&GoogleAccessId=a",
        "Expires=never&Signature=leo&KeyName=a",
        "Expires=1767225600&Signature=leo",
        "hdnts=exp=1",
        "hdnts=hmac=42b4",
        "hdnts=exp=x~hmac=42b4",
        "hdnea=exp=1~hmac=",
        "__token__=exp=1~hmac=42b4~x",
        "token=exp=1~hmac=42g4",
        "verify=1484063137-IaLGSmELTvlhfd0ItdN6PhhHTFhzx73EX8uy_cSDi",
        "verify=1484063137-IaLGSmELTvlhfd0ItdN6PhhHTFhzx73EX8uy_cSDi-UU",
        "verify=148406313-IaLGSmELTvlhfd0ItdN6PhhHTFhzx73EX8uy_cSDi-U",
        "token=144130715_4492f25946a2e8e1414a8bb53dab8a6ba1cf4615",
        "token=1441307151_4492f25946a2e8e1414a8bb53dab8a6ba1cf461",
        "token=1441307151_4492f25946a2e8e1414a8bb53dab8a6ba1cf461g",
        "token=intro&expires=1598024587",
        f"token={MD5[:21]}&expires=1598024587",
        f"token={MD5}&expires=159802458",
        f"token={MD5}&expires=15980245870",
        f"md5={MD5}&expires=2147483647",  # in hex it may be of the content, so a name
        "md5=_e4Nc3iduzkWRm01TBBNY&expires=2147483647",
        "md5=_e4Nc3iduzkWRm01TBBNYw&expires=2147",
        "st=_e4Nc3iduzkWRm01TBBNYw=&e=2147483647",
        "st=_e4Nc3iduzkWRm01TBBNYw&e=7",
        "timestamp=1767225600&nonce=7&sign=leo",
        f"timestamp=17672256001&nonce=7&sign={MD5}",
        f"timestamp=17672256001234&nonce=7&sign={MD5}",
        f"timestamp=1767225600&nonce=a%20b&sign={MD5}",
        f"timestamp=1767225600&sign={MD5[:21]}",
        f"exp=1767225600&hmac={MD5[:21]}",
        f"exp=1767225600&hmac={'g' * 21}",
        f"exp=1767225600&hmac={'g' * 87}",
        f"exp=1767225600&hmac={MD5 * 5}",
        f"exp=1767225600&hmac={MD5 * 4}0",
        f"exp=1767225600&hmac={MD5}%2B%3D%3D%3D",
        f"exp=1767225600&hmac={MD5}.",
        f"exp=176722560&hmac={MD5}",
    ],
)
def test_values_of_other_form_are_part_of_identity(kept: str) -> None:
    url = f"{AUDIO}?{kept}"
    assert without_signature(url) == url
    name, _, value = kept.partition("=")
    assert of(audio=url) != of(audio=f"{AUDIO}?{name}=!{value}") != of()
    assert of(video=f"{VIDEO}?{kept}") != of(video=f"{VIDEO}?{name}=!{value}") != of()


def test_preview_length_of_tencent_is_part_of_identity() -> None:
    signed = f"t=55bb9b80&us=1&sign={MD5}"
    assert of(video=f"{VIDEO}?{signed}&exper=30") != of(video=f"{VIDEO}?{signed}&exper=60")


@pytest.mark.parametrize(
    "query",
    [
        f"auth_key={MD5.upper()}&timestamp=6955B900",
        f"sign={MD5.upper()}&t=6955B900",
        f"token={MD5.upper()}&t=6955B900",
        "wsSecret=a&wsTime=6955B900",
        f"sign=6955B900-aZ09-aZ09-{MD5.upper()}",
        "st=%2Fe4Nc3iduzkWRm01TBBNY%2B&e=2147483647",
        "st=/e4Nc3iduzkWRm01TBBNY+&e=2147483647",
        "md5=-e4Nc3iduzkWRm01TBBNY_==&expires=2147483647",
        "verify=1484063137-IaLGSmELTvlhfd0ItdN6PhhHTFhzx73EX8uy/cSDi+U=",
        f"exp=1767225600&hmac={MD5.upper() * 4}",
        f"exp=1767225600&hmac={'g' * 22}",
        f"exp=1767225600&hmac={'G+/_-' * 17}g==",
        f"exp=1767225600&hmac={'0' * 22}=",
    ],
)
def test_values_count_in_every_spelling_of_a_digest(query: str) -> None:
    assert without_signature(f"{AUDIO}?{query}") == AUDIO


# --- bytes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "urls",
    [
        (f"{AUDIO}?n=%C4%E3", f"{AUDIO}?n=%BA%C3", f"{AUDIO}?n=%EF%BF%BD%EF%BF%BD"),  # GBK, and what it was read as
        ("https://h.example.com/%C4%E3.mp3", "https://h.example.com/%BA%C3.mp3"),
        (f"{AUDIO}?n=a+b", f"{AUDIO}?n=a%20b", f"{AUDIO}?n=a%2Bb"),
        (f"{AUDIO}?n=%2f", f"{AUDIO}?n=%2F", f"{AUDIO}?n=/"),
        (f"{AUDIO}?a=1&b=2", f"{AUDIO}?b=2&a=1", f"{AUDIO}?a=1;b=2"),
        (f"{AUDIO}?a=1&a=2", f"{AUDIO}?a=2&a=1", f"{AUDIO}?a=1", f"{AUDIO}?a=2"),
        (AUDIO, f"{AUDIO}?", f"{AUDIO}?&", f"{AUDIO}?a", f"{AUDIO}?a=", f"{AUDIO}#", f"{AUDIO}#a", f"{AUDIO}??"),
        (f"{AUDIO}?a=1?b=2", f"{AUDIO}?a=1&b=2", f"{AUDIO}?a=1#?b=2", f"{AUDIO}#a?b"),
        (AUDIO, "http://h.example.com/a.mp3", "https://h.example.com:443/a.mp3", "https://u@h.example.com/a.mp3"),
        ("https://h.example.com", "https://h.example.com/", "https://h.example.com//"),
        # a scheme that appears where it is not looked for
        (f"{AUDIO}#X-Amz-Signature=1", f"{AUDIO}#X-Amz-Signature=2"),
        ("https://h.example.com/X-Amz-Signature=1/a.mp3", "https://h.example.com/X-Amz-Signature=2/a.mp3"),
    ],
)
def test_every_byte_outside_of_signature_counts(urls: tuple[str, ...]) -> None:
    assert len({of(audio=url) for url in urls}) == len(urls)
    assert len({media(audio=url) for url in urls}) == len(urls)
    assert [without_signature(url) for url in urls] == list(urls)


def test_pieces_that_stay_keep_their_order_and_spelling() -> None:
    url = f"{AUDIO}?b=%c4&X-Amz-Signature=1&&a=+&a=2#f"
    assert without_signature(url) == f"{AUDIO}?b=%c4&&a=+&a=2#f"


def test_value_keeps_its_equals_signs_and_plus() -> None:
    assert value_of("a=b=c%3D+d%2B%ff") == "b=c=+d+\xff"


# --- JSON web tokens --------------------------------------------------------------------------------------------------


def jwt(signature: str = "c2ln", **claims: Any) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJIUzI1NiJ9.{payload}.{signature}"


@each_url
@pytest.mark.parametrize("name", ["token", "jwt", "access_token", "Token"])
def test_jwt_counts_by_its_claims_without_times(name: str, of_query: Callable[[str], str]) -> None:
    first = of_query(f"{name}={jwt(url='a', iat=1, exp=2, nbf=1, jti='x')}")
    assert first == of_query(f"{name}={jwt('bmV3', url='a', iat=3, exp=4, nbf=3, jti='y')}")
    assert first == of_query(f"{name}={jwt('', url='a')}")
    assert first == of_query(f"{name}={jwt('bm_3-A', url='a').replace('eyJhbG', 'eyJ_-9Zz')}")
    assert first != of_query(f"{name}={jwt(url='b', iat=1, exp=2, nbf=1, jti='x')}")
    assert first != of_query(f"{name}={jwt(url='a', sub='b')}")
    assert first != of_query("take=1")


@pytest.mark.parametrize("claim", ["iat", "exp", "nbf", "jti"])
def test_jwt_claims_that_change_with_each_signing_are_left_out(claim: str) -> None:
    assert of(f"{AUDIO}?jwt={jwt(url='a', **{claim: 1})}") == of(f"{AUDIO}?jwt={jwt(url='a', **{claim: 2})}")


def test_jwt_claims_are_compared_in_any_order() -> None:
    assert of(f"{AUDIO}?jwt={jwt(a=1, b=2)}") == of(f"{AUDIO}?jwt={jwt(b=2, a=1)}")


def test_jwt_alone_in_its_query_string_is_as_distinct() -> None:
    assert without_signature(f"{AUDIO}?Token={jwt(url='a', exp=1)}&b=1") == f'{AUDIO}?token {{"url": "a"}}&b=1'
    assert without_signature(f"{AUDIO}?jwt={jwt(exp=1)}") == f"{AUDIO}?jwt {{}}"


@pytest.mark.parametrize(
    "value",
    [
        "eyJhbGciOiJIUzI1NiJ9.!.c2ln",
        "eyJhbGciOiJIUzI1NiJ9.bm90anNvbg.c2ln",
        "eyJhbGciOiJIUzI1NiJ9.WzFd.c2ln",  # a list
        "eyJhbGciOiJIUzI1NiJ9.abcde.c2ln",
        "eyJhbGciOiJIUzI1NiJ9.eyJhIjoxfQ",
        "eyJhbGciOiJIUzI1NiJ9.eyJhIjoxfQ.c2ln.c2ln.c2ln",
        "xyJhbGciOiJIUzI1NiJ9.eyJhIjoxfQ.c2ln",
        f"eyJhbGciOiJIUzI1NiJ9.{base64.urlsafe_b64encode(b'[' * 99_999).decode()}.c2ln",
    ],
)
def test_what_is_no_jwt_stays_as_it_is(value: str) -> None:
    url = f"{AUDIO}?token={value}"
    assert without_signature(url) == url


def test_jwt_under_other_name_stays_as_it_is() -> None:
    url = f"{AUDIO}?name={jwt(url='a')}"
    assert without_signature(url) == url


def test_jwt_claims_of_every_length_are_read() -> None:
    for length in range(6):
        payload = base64.urlsafe_b64encode(json.dumps({"a": "~" * length}).encode()).decode().rstrip("=")
        assert jwt_claims(payload) == {"a": "~" * length}


# --- paths ------------------------------------------------------------------------------------------------------------

SIGNED_PATHS = {
    "bunny.net": (
        "bcdn_token=HS256-abc&expires=1598024587&token_path=%2Fvideos%2F",
        "bcdn_token=HS256-bbc&expires=1598024588",
    ),
    "Google Media CDN": (
        "edge-cache-token=Expires=1&KeyName=k&Signature=s",
        "edge-cache-token=Expires=2&KeyName=k&Signature=t",
    ),
}


@pytest.mark.parametrize("scheme", SIGNED_PATHS)
@pytest.mark.parametrize("file", ["a.mp3", "4/44/a.MP3"])
def test_fingerprint_ignores_signature_in_path(scheme: str, file: str) -> None:
    signings = [f"https://h.example.com/{signature}/{file}" for signature in SIGNED_PATHS[scheme]]
    plain = f"https://h.example.com/{file}"
    assert {of(audio=url) for url in signings} == {of(audio=plain)}
    assert {of(video=url) for url in signings} == {of(video=plain)}
    assert [without_signature(url + "?take=1") for url in signings] == [plain + "?take=1"] * 2
    assert of(audio=signings[0].replace("a.", "b.")) != of(audio=signings[0])


def test_every_path_scheme_has_an_example() -> None:
    assert list(PATH_SCHEMES) == list(SIGNED_PATHS)


@pytest.mark.parametrize(
    "path",
    [
        # a time and a digest, as CDNs of types B and C have it, and as uploads by minute and content do
        f"201508150800/{MD5}/a.mp3",
        f"201508150800/{MD5}/file",
        f"{MD5}/55ce8100/a.mp3",
        f"{MD5}/1598024587/a.mp3",
        f"1598024587/{MD5}/a.mp3",
        "bcdn_token=/a.mp3",
        "x-bcdn_token=a/a.mp3",
        "x/bcdn_token=a/a.mp3",
        "edge-cache-token=/a.mp3",
        "x/edge-cache-token=a/a.mp3",
        "edge-cache-token=a/a",
        "edge-cache-token=a.mp3",
        "edge-cache-token/a.mp3",
        "Edge-Cache-Token=a/a.mp3",
        "token=a/a.mp3",
    ],
)
def test_paths_of_other_form_are_part_of_identity(path: str) -> None:
    url = f"https://h.example.com/{path}"
    assert without_signature(url) == url


@pytest.mark.parametrize(
    "layout",
    [
        [f"202601011200/{MD5}/speech.mp3", f"202601021200/{OTHER_MD5}/speech.mp3", f"202601021200/{MD5}/speech.mp3"],
        [f"{MD5}/6955b900/speech.mp3", f"{OTHER_MD5}/6955b900/speech.mp3", f"{MD5}/6955b901/speech.mp3"],
    ],
    ids=["minute and content", "content and second"],
)
def test_uploads_by_time_and_content_stay_distinct_and_are_warned_of(layout: list[str]) -> None:
    urls = [f"https://h.example.com/{path}" for path in layout]
    assert len({of(audio=url) for url in urls}) == len({media(video=url) for url in urls}) == len(urls)
    assert [unrecognised_signature(url) for url in urls] == [
        "a part of its path looks like a signature or an expiry of an unknown kind"
    ] * len(urls)


# --- the request ------------------------------------------------------------------------------------------------------


def test_whatever_changes_the_video_changes_the_fingerprint() -> None:
    variants = [
        of(),
        of(audio="https://h.example.com/b.mp3"),
        of(video="https://h.example.com/w.mp4"),
        of(audio=VIDEO, video=AUDIO.replace("mp3", "mp4")),
        of(base="https://other.example.com"),
        of(model="m"),
        of(model_version=1),
        of(model_version=None),
        of(side_face=True),
        of(tilted_face=True),
        media(),
    ]
    assert len(set(variants)) == len(variants)


def test_fingerprint_ignores_spelling_of_parameters() -> None:
    assert of(side_face="0", model_version="2") == of()


def test_media_fingerprint_is_of_audio_and_video_alone() -> None:
    assert media(model="m", model_version=1, side_face=True, tilted_face=True) == media()
    assert media(audio="https://h.example.com/v.mp4", video="https://h.example.com/w.mp4") != media(
        audio="https://h.example.com/w.mp4", video="https://h.example.com/v.mp4"
    )
    assert len({media(), media(audio="https://h.example.com/b.mp3"), media(video="https://h.example.com/w.mp4")}) == 3


def test_fingerprints_have_the_form_that_records_are_told_apart_by() -> None:
    assert re.fullmatch(r"2:[0-9a-f]{16}", of())
    assert re.fullmatch(r"2:[0-9a-f]{16}", media())
    assert re.fullmatch(r"[0-9a-f]{16}", legacy_fingerprint(VideoRequest(AUDIO, VIDEO), BASE))


# --- golden values ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("golden", GOLDEN["requests"], ids=lambda golden: golden["what"])
def test_golden_fingerprints(golden: dict[str, Any]) -> None:
    request = VideoRequest(**golden["request"])
    meaning = "a value that users' records hold is not computed any more: every open record of users becomes unreadable"
    assert legacy_fingerprint(request, golden["base_url"]) == golden["legacy"], meaning
    assert fingerprint(request, golden["base_url"]) == golden["fingerprint"], meaning
    assert media_fingerprint(request) == golden["media"], meaning


def test_golden_file_holds_requests_of_every_kind() -> None:
    requests = [golden["request"] for golden in GOLDEN["requests"]]
    assert len(requests) >= 40
    for scheme in SIGNED:
        signed = query(first_signing(scheme))
        for field in ("audio_url", "video_url"):
            assert any(request[field].endswith(signed) for request in requests), (scheme, field)


# --- properties -------------------------------------------------------------------------------------------------------

scheme_names = st.sampled_from(sorted(SIGNED))
values = st.text("ab1%+ /é&=#?.", max_size=6).map(lambda text: quote(text, safe="+"))
plain_names = st.sampled_from(["take", "n", "E", "t", "token", "sig", "expires", "a%20b", ""])
plain_queries = st.lists(st.builds("{}={}".format, plain_names, values), max_size=4).map("&".join)
plain_urls = st.builds(
    lambda host, path, query, fragment: f"https://{host}/{path}{query and '?' + query}{fragment}",
    st.sampled_from(["h.example.com", "i.example.com", "u:p@h.example.com:8443"]),
    st.sampled_from(["a.mp3", "b.mp3", "d/a.mp3", "%C4%E3.mp3", f"{MD5}/a.mp3"]),
    plain_queries,
    st.sampled_from(["", "#", "#t=1"]),
)


def signed(url: str, scheme: str, which: int, first: bool) -> str:
    """The URL with a signature, before or behind what its query string says already."""
    parts = split(url)
    signature = tuple(f"{parameter[0]}={parameter[which]}" for parameter in SIGNED[scheme])
    own = parts.pieces or ()
    return join(type(parts)(parts.origin, parts.path, signature + own if first else own + signature, parts.fragment))


@given(url=plain_urls)
def test_url_without_signature_is_its_own_identity(url: str) -> None:
    assert without_signature(url) == url
    assert join(split(url)) == url


@given(url=plain_urls, scheme=scheme_names, first=st.booleans())
def test_signing_again_never_separates(url: str, scheme: str, first: bool) -> None:
    own = {piece.partition("=")[0].lower() for piece in split(url).pieces or ()}
    assume(not own & {*SCHEMES[scheme].needs, *SCHEMES[scheme].also})
    assert without_signature(signed(url, scheme, 1, first)) == url
    assert without_signature(signed(url, scheme, 2, first)) == url
    for field in ("audio", "video"):
        assert of(**{field: signed(url, scheme, 1, first)}) == of(**{field: signed(url, scheme, 2, not first)})


@given(one=plain_urls, other=plain_urls, scheme=scheme_names, first=st.booleans())
def test_urls_that_differ_outside_of_signature_never_collapse(one: str, other: str, scheme: str, first: bool) -> None:
    assume(one != other)
    assert of(audio=one) != of(audio=other)
    one, other = signed(one, scheme, 1, first), signed(other, scheme, 1, first)
    assert without_signature(one) != without_signature(other)
    assert of(video=one) != of(video=other)
    assert media(audio=one) != media(audio=other)


# --- the warning ------------------------------------------------------------------------------------------------------


@each_scheme
def test_known_signature_is_not_warned_of(scheme: str) -> None:
    for which in (1, 2):
        assert unrecognised_signature(signed(f"{AUDIO}?take=1", scheme, which, False)) is None


@each_scheme
def test_signature_that_may_name_the_file_is_warned_of_where_path_does_not(scheme: str) -> None:
    for which in (1, 2):
        warning = unrecognised_signature(signed("https://h.example.com/audio?take=1", scheme, which, False))
        assert (warning is not None) is SCHEMES[scheme].generic


@pytest.mark.parametrize(
    ("scheme", "name"), [("Fastly", "token"), ("UPYUN", "_upt"), ("Backblaze B2", "Authorization")]
)
def test_token_that_may_name_the_file_is_part_of_identity_and_warned_of(scheme: str, name: str) -> None:
    first, again = (signed("https://h.example.com/audio", scheme, which, False) for which in (1, 2))
    assert of(audio=first) != of(audio=again)
    assert media(video=first) != media(video=again)
    named = f"its parameter {name!r} looks like a signature or an expiry of an unknown kind"
    assert unrecognised_signature(first) == unrecognised_signature(again) == named


@pytest.mark.parametrize(
    "url",
    [
        AUDIO,
        *(
            f"{AUDIO}?{query}"
            for query in ["e=episode-1", "token=intro", "st=2", "sign=leo", "v=3", "t=12", "n=%C4%E3"]
        ),
        f"{AUDIO}?token={jwt(url='a')}",
        f"{AUDIO}?date=2026-01-01",
        f"{AUDIO}?hash={MD5}",
        f"{AUDIO}?token=abcdefghijklmnopqrst",
        f"{AUDIO}?token=01234567",
        f"{AUDIO}?token={MD5[:15]}",
        f"{AUDIO}?expires=never",
        f"{AUDIO}?expires=9999999999",
        f"{AUDIO}?episode=1767225600",
        f"{AUDIO}?key1={MD5}&key2=17672256001x",
        f"{AUDIO}?n=eyJh.eyJh",
        f"{AUDIO}?assign={MD5}",
        f"{AUDIO}?n=12345678-{MD5}",
        *(f"https://h.example.com/{signature}/a.mp3" for pair in SIGNED_PATHS.values() for signature in pair),
        f"https://h.example.com/201508150800/{MD5}.mp3",
        f"https://h.example.com/191508150800/{MD5}/a.mp3",
        f"https://h.example.com/2015081508000/{MD5}/a.mp3",
        f"https://h.example.com/201508150800/{MD5}0/a.mp3",
        "https://h.example.com/edge-cache-token=/a.mp3",
        f"https://h.example.com/{MD5}/clips/a.mp3",
        f"https://h.example.com/{MD5}/1234/a.mp3",
        f"https://h.example.com/20260101/{MD5}/a.mp3",
    ],
)
def test_plain_url_is_not_warned_of(url: str) -> None:
    assert unrecognised_signature(url) is None


@pytest.mark.parametrize(
    ("added", "names"),
    [
        (f"?mac={MD5}", ["'mac'"]),
        (f"?my_sig={MD5}", ["'my_sig'"]),
        (f"?urlSignature={MD5}", ["'urlSignature'"]),
        (f"?SIGNATURE={MD5[:16]}", ["'SIGNATURE'"]),
        *((f"?{name}=IaLGSmELTvlhfd0I", [repr(name)]) for name in ("sig", "sign", "signature", "signed", "hmac")),
        *((f"?{name}=IaLGSmELTvlhfd0I", [repr(name)]) for name in ("token", "jwt", "auth", "authorization", "secret")),
        *(
            (f"?{name}=IaLGSmELTvlhfd0I", [repr(name)])
            for name in ("credential", "nonce", "ticket", "verify", "policy")
        ),
        *((f"?{name}=IaLGSmELTvlhfd0I", [repr(name)]) for name in ("hdnts", "hdnea", "_upt", "s", "st", "tk")),
        *((f"?{name}=1767225600", [repr(name)]) for name in ("exp", "expire", "expires", "expiry", "expiration", "e")),
        *((f"?{name}=1767225600", [repr(name)]) for name in ("deadline", "until", "valid", "time", "timestamp", "ts")),
        *((f"?{name}=1767225600", [repr(name)]) for name in ("ttl", "t", "se", "Expires_At", "validUntil")),
        ("?sig=0123456789012345", ["'sig'"]),
        ("?sig=abcdefghijklmnop1", ["'sig'"]),
        ("?sig=1234567890123456g", ["'sig'"]),
        ("?sig=IaLGSmELTvlhfd0I%3D%3D", ["'sig'"]),
        ("?expires=1767225600123", ["'expires'"]),
        ("?expires=20260101T000000Z", ["'expires'"]),
        ("?expires=2026-01-01T00%3A00%3A00%2B08%3A00", ["'expires'"]),
        ("?expires=2026-01-01", ["'expires'"]),
        ("?t=6955b900", ["'t'"]),
        (f"?Expires=1767225600&Signature=IaLGSmELTvlhfd0I&n={'a' * 9}", ["'Expires'", "'Signature'"]),
        (f"?key1={MD5}&key2=1767225600", ["'key1'"]),
        (f"?n={jwt(url='a')}", ["'n'"]),
        (f"?n=1767225600-{MD5}", ["'n'"]),
        (f"?n=1767225600-0-0-{MD5}", ["'n'"]),
        ("?expires=1767225600&expires=1767225601", ["'expires'"]),
        # what is no plain name can be a value
        (f"?{jwt(url='a')}", []),
        ("?e5955b90", []),
        (f"?1767225600-{MD5}", []),
        (f"?a%20sig={MD5}", []),
        (f"?{'n' * 33}={jwt()}", []),
        (f"?{OTHER_MD5}={jwt()}", []),
        (f"?IaLGSmELTvlhfd0I={jwt()}", []),
        (f"?1sig={MD5}", []),
        (f"?a%20sig={MD5}&b%20sig={MD5}", []),
    ],
)
def test_unknown_signature_is_named_by_its_parameters(added: str, names: list[str]) -> None:
    shown = " and ".join(f"its parameter {name}" for name in names) or "a parameter"
    verb = "look" if len(names) > 1 else "looks"
    assert unrecognised_signature(AUDIO + added) == f"{shown} {verb} like a signature or an expiry of an unknown kind"


@pytest.mark.parametrize(
    "path",
    [
        f"{jwt(url='a')}/a.mp3",
        f"videos/{jwt(url='a')}",
        f"{MD5}/1767225600/a.mp3",
        f"{MD5}/6955b900/a",
        f"x/{MD5}/6955b900/a.mp3",
        f"1767225600/{MD5}/a.mp3",
        f"201508150800/{MD5}/a.mp3",
        f"x/201508150800/{MD5}/a",
        "bcdn_token=a/a",
        "x/edge-cache-token=a/a.mp3",
    ],
)
def test_unknown_signature_in_path_is_warned_of(path: str) -> None:
    form = "{} like a signature or an expiry of an unknown kind"
    url = f"https://h.example.com/{path}"
    assert unrecognised_signature(url) == form.format("a part of its path looks")
    assert unrecognised_signature(f"{url}?sig={MD5}") == form.format("its parameter 'sig' and a part of its path look")


@given(
    names=st.lists(st.sampled_from(["sig", "token", "expires", "n", "a%20b", ""]), max_size=3),
    values=st.lists(st.sampled_from([MD5, "1767225600", jwt(url="a"), "IaLGSmELTvlhfd0I", ""]), min_size=3, max_size=3),
    equals=st.sampled_from(["=", ""]),
)
def test_warning_never_contains_a_value(names: list[str], values: list[str], equals: str) -> None:
    warning = unrecognised_signature(f"{AUDIO}?" + "&".join(map(equals.join, zip(names, values, strict=False)))) or ""
    assert not any(value in warning for value in values if value)
