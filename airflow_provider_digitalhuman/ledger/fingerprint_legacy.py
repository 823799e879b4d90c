"""The fingerprint as the provider computed it before its second version: frozen, it must never change.

Records of paid videos in people's databases hold its result. Where it changes by a single byte, every open record looks
as if it were of another request, and a person who clears a task in order to go on with a paid video pays for a second
one. So it stands here with everything that it is made of, faults included: the body as it was sent then, and names such
as ``e`` or ``token`` taken for a signature by themselves. Nothing new is compared by it: a new record holds what
``fingerprint.fingerprint`` returns. ``tests/unit/golden/fingerprints.json`` holds it to values of the code of then.
"""

import hashlib
import json
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

if TYPE_CHECKING:
    from airflow_provider_digitalhuman.api.request import VideoRequest

_PREFIXES: Final = ("x-amz-", "x-goog-", "x-oss-", "x-cos-", "x-tos-", "x-obs-", "x-bce-", "q-")
# fmt: off
_NAMES: Final = frozenset({
    "signature", "awsaccesskeyid", "ossaccesskeyid", "googleaccessid", "security-token", "expires", "key-pair-id",
    "policy", "accesskeyid", "authorization", "auth_key", "e", "token",
    "sig", "se", "st", "sp", "sv", "sr", "spr", "skoid", "sktid", "skt", "ske", "sks", "skv",
    "sign", "x-signature", "x-expires", "wssecret", "wstime", "hdnts", "hdnea", "auth_token",
})
# fmt: on
_BESIDE_SIGN: Final = frozenset({"t", "us", "exper", "rlimit"})


def legacy_fingerprint(request: "VideoRequest", base_url: str) -> str:
    """Return the 16 hex digits that a record of ``request``, written by an earlier version, holds."""
    body: dict[str, str | int] = {
        "model": request.model,
        "audioUrl": _without_signature(request.audio_url),
        "videoUrl": _without_signature(request.video_url),
    }
    if request.model_version is not None:
        body["modelVersion"] = request.model_version
    if request.side_face:
        body["sideFace"] = 1
    if request.tilted_face:
        body["tiltedFace"] = 1
    return hashlib.sha256(json.dumps([base_url, body], sort_keys=True).encode()).hexdigest()[:16]


def _without_signature(url: str) -> str:
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    tencent = any(name.lower() == "sign" for name, _ in query)
    kept = [(name, value) for name, value in query if not _signs(name.lower(), tencent)]
    return parts._replace(query=urlencode(kept), fragment="").geturl()


def _signs(name: str, tencent: bool) -> bool:
    return name in _NAMES or name.startswith(_PREFIXES) or (tencent and name in _BESIDE_SIGN)
