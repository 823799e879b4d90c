"""What makes two requests the same video: the body and the API's address, without the signatures of signed URLs."""

import hashlib
import json
from typing import Any, Final

from airflow_provider_digitalhuman.api.request import VideoRequest
from airflow_provider_digitalhuman.ledger import fingerprint_legacy
from airflow_provider_digitalhuman.ledger.signed_urls import without_signature

_LEGACY_FIELDS: Final = frozenset({"model", "audioUrl", "videoUrl", "modelVersion", "sideFace", "tiltedFace"})
_VERSION: Final = "2:"
"""Before the digits: names the rules by which a record was written. Other rules need another number."""


def fingerprint(request: VideoRequest, base_url: str) -> str:
    """Return a text that is equal for equal requests to the same API: ``2:`` and 16 hex digits."""
    return _digest([base_url, request.body() | _media(request)])


def media_fingerprint(request: VideoRequest) -> str:
    """Return a text that is equal for the same media, whatever else differs: ``2:`` and 16 hex digits."""
    return _digest(_media(request))


def legacy_fingerprint(request: VideoRequest, base_url: str) -> str:
    """Return the 16 hex digits that a record of ``request``, written by an earlier version, holds.

    Empty for a request that no earlier version could send: it equals no record.
    """
    if not request.body().keys() <= _LEGACY_FIELDS:
        return ""
    return fingerprint_legacy.legacy_fingerprint(request, base_url)


def _media(request: VideoRequest) -> dict[str, str]:
    return {medium.wire_name: without_signature(medium.url) for medium in request.media}


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True)
    return _VERSION + hashlib.sha256(text.encode()).hexdigest()[:16]
