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
})
# fmt: on
"""Of S3, Google, OSS and its CDN, COS, TOS, OBS, BOS, Qiniu, CloudFront and Azure SAS: they change whenever the same
file is signed again."""


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
    kept = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if not _signs(name.lower())]
    return parts._replace(query=urlencode(kept), fragment="").geturl()


def _signs(name: str) -> bool:
    return name in _SIGNING_NAMES or name.startswith(_SIGNING_PREFIXES)
