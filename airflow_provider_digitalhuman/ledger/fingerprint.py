"""What makes two requests the same video: the body and the API's address, without the signatures of signed URLs."""

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_digitalhuman.ledger.signed_urls import without_signature

if TYPE_CHECKING:
    from airflow_provider_digitalhuman.api.request import VideoRequest

_VERSION: Final = "2:"
"""Before the digits, so that a record tells by which rules it was written. Other rules need another number."""


def fingerprint(request: "VideoRequest", base_url: str) -> str:
    """Return a text that is equal for equal requests to the same API: ``2:`` and 16 hex digits."""
    return _digest([base_url, request.body() | _media(request)])


def media_fingerprint(request: "VideoRequest") -> str:
    """Return a text that is equal for the same audio and video, whatever else differs: ``2:`` and 16 hex digits."""
    return _digest(_media(request))


def legacy_fingerprint(request: "VideoRequest", base_url: str) -> str:
    """Return the 16 hex digits that a record of ``request``, written by an earlier version, holds."""
    from airflow_provider_digitalhuman.ledger.fingerprint_legacy import legacy_fingerprint as frozen

    return frozen(request, base_url)


def unrecognised_signature(url: str) -> str | None:
    """Return why signing ``url`` again may look like another video, in a few words to warn with; None if nothing does.

    It names parameters, never their values.
    """
    from airflow_provider_digitalhuman.ledger.signature_warning import unrecognised_signature as warning

    return warning(url)


def _media(request: "VideoRequest") -> dict[str, str]:
    return {
        "audioUrl": without_signature(request.audio_url),
        "videoUrl": without_signature(request.video_url),
    }


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True)
    return _VERSION + hashlib.sha256(text.encode()).hexdigest()[:16]
