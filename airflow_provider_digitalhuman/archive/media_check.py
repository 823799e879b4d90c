"""A look at the media before a video is paid for: one byte of each, as the vendor's server would ask for it."""

from typing import Final

import requests

from airflow_provider_digitalhuman.api.redact import redact_url
from airflow_provider_digitalhuman.api.request import VideoRequest
from airflow_provider_digitalhuman.connection.fetching import (
    NETWORK_ERRORS,
    FetchError,
    FileSession,
    describe,
    is_html,
)
from airflow_provider_digitalhuman.connection.settings import FileAccess
from airflow_provider_digitalhuman.exceptions import DownloadRefusedError, InvalidRequestError
from airflow_provider_digitalhuman.support.logs import Log

READ_TIMEOUT: Final = 15.0
"""Seconds for the first bytes of a medium; longer, and it is only warned."""
_GONE: Final = frozenset({404, 410})
_LOOK: Final = 512


def check_media(
    request: VideoRequest,
    *,
    log: Log,
    access: FileAccess,
    read_timeout: float = READ_TIMEOUT,
) -> None:
    """Refuse media of which it is certain that the vendor cannot fetch them; nothing is submitted, nothing charged.

    A GET of the first byte, not a HEAD: signed URLs allow GET only. Never with the key. What is not certain (a
    time-out, a 403 that may only be for this machine, a 5xx) is a warning.

    :param request: the checked parameters.
    :param log: receives what is unclear; never a signed URL.
    :param access: the way to the media's servers.
    :param read_timeout: seconds for an answer as a whole.
    :raises InvalidRequestError: for HTTP 404 or 410, or an HTML page (such as a login page) in place of a medium.
    """
    # The vendor fetches the media, not this machine: a private host is refused elsewhere, by the request itself.
    with FileSession(
        access, allow_private_hosts=True, read_timeout=read_timeout, answer_timeout=read_timeout
    ) as session:
        for medium in request.media:
            _check(session, medium.name, medium.url, log)


def _check(session: FileSession, field: str, url: str, log: Log) -> None:
    try:
        with session.open(url, {"Range": "bytes=0-0"}) as response:
            start = _start(response) if response.status_code in (200, 206) else b""
            unclear = _judge(field, url, response, start)
    except (FetchError, DownloadRefusedError) as error:
        unclear = str(error)
    if unclear:
        log.warning(
            "%s could not be checked, and is submitted all the same: %s. The vendor's server may see it otherwise.",
            *(field, unclear.rstrip(".")),
        )


def _judge(field: str, url: str, response: requests.Response, start: bytes) -> str | None:
    """Return what is unclear, None if nothing is.

    :raises InvalidRequestError: where it is certain that there is no medium.
    """
    status = response.status_code
    if status in _GONE:
        raise _invalid(field, url, f"its server answers HTTP {status}; check the URL, and whether the file is there")
    if status not in (200, 206):
        return f"{redact_url(url)} was answered with HTTP {status}"
    if is_html(response, start):
        where = redact_url(response.url)
        raise _invalid(field, url, f"an HTML page is there ({where}), not a medium; give a URL that needs no login")
    if not start:
        return f"{redact_url(url)} is empty"
    return None


def _start(response: requests.Response) -> bytes:
    """Return the first bytes: one where ranges are known, more where the whole file comes; the rest is left unread."""
    try:
        return bytes(response.raw.read(_LOOK, decode_content=True))
    except NETWORK_ERRORS as error:
        raise FetchError(f"broken off: {describe(error)}") from None


def _invalid(field: str, url: str, why: str) -> InvalidRequestError:
    return InvalidRequestError(f"{field}={redact_url(url)!r} cannot be used: {why}. Nothing was submitted or charged.")
