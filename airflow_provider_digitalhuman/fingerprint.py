"""What makes two requests the same video: the body and the API's address, without the signatures of signed URLs."""

import hashlib
import json
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

if TYPE_CHECKING:
    from airflow_provider_digitalhuman.api.request import VideoRequest

_SIGNING_PREFIXES: Final = ("x-amz-", "x-goog-", "x-oss-", "x-cos-", "x-tos-", "x-obs-", "x-bce-", "q-")
# fmt: off
_SIGNING_NAMES: Final = frozenset({
    "signature", "awsaccesskeyid", "ossaccesskeyid", "googleaccessid", "security-token", "expires", "key-pair-id",
    "policy", "accesskeyid", "authorization", "auth_key", "e", "token",
    "sig", "se", "st", "sp", "sv", "sr", "spr", "skoid", "sktid", "skt", "ske", "sks", "skv",
    "sign", "x-signature", "x-expires", "wssecret", "wstime", "hdnts", "hdnea", "auth_token",
})
_BESIDE_SIGN: Final = frozenset({"t", "us", "exper", "rlimit"})
# fmt: on
"""Of S3, Google, OSS and its CDN, COS, TOS, OBS, BOS, Qiniu, CloudFront, Azure SAS, Wangsu, Akamai and Tencent (whose
short names count only beside ``sign``): they change whenever the same file is signed again."""


def fingerprint(request: "VideoRequest", base_url: str) -> str:
    """Return 16 hex digits that are equal for equal requests to the same API."""
    body = request.body() | {
        "audioUrl": _without_signature(request.audio_url),
        "videoUrl": _without_signature(request.video_url),
    }
    text = json.dumps([base_url, body], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _without_signature(url: str) -> str:
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    tencent = any(name.lower() == "sign" for name, _ in query)
    kept = [(name, value) for name, value in query if not _signs(name.lower(), tencent)]
    return parts._replace(query=urlencode(kept), fragment="").geturl()


def _signs(name: str, tencent: bool) -> bool:
    return name in _SIGNING_NAMES or name.startswith(_SIGNING_PREFIXES) or (tencent and name in _BESIDE_SIGN)


def legacy_fingerprint(request: "VideoRequest", base_url: str) -> str:
    return fingerprint(request, base_url)


def media_fingerprint(request: "VideoRequest") -> str:
    return hashlib.sha256(
        (_without_signature(request.audio_url) + " " + _without_signature(request.video_url)).encode()
    ).hexdigest()[:16]
