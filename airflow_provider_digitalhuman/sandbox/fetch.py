"""Fetches the media of a task over HTTP, bounded in size and time."""

import hashlib
import ipaddress
import ssl
import time
import urllib.request
from functools import lru_cache
from http.client import HTTPException
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from airflow_provider_digitalhuman.sandbox.video import MediaError

MAX_BYTES: Final = 200 * 1024 * 1024
"""Largest input; a bound for this machine, the vendor states none."""
MAX_SECONDS: Final = 60.0
"""Longest time for one input."""
_SOCKET_SECONDS: Final = 10.0
_CHUNK: Final = 64 * 1024


def fetch(field: str, url: str, target: Path) -> str:
    """Store what the URL answers in ``target`` and give back its SHA-256.

    :param field: name of the request's field, for the error text.
    :raises MediaError: if the URL cannot be fetched within the bounds.
    """
    deadline = time.monotonic() + MAX_SECONDS
    digest = hashlib.sha256()
    size = 0
    try:
        with (
            _opener(loopback=_is_loopback(urlsplit(url).hostname or "")).open(url, timeout=_SOCKET_SECONDS) as answer,
            target.open("wb") as file,
        ):
            while chunk := answer.read1(_CHUNK):
                size += len(chunk)
                if size > MAX_BYTES:
                    raise MediaError(f"{field} 素材 URL 无法访问: more than {MAX_BYTES} bytes")
                if time.monotonic() > deadline:
                    raise MediaError(f"{field} 素材 URL 无法访问: took longer than {MAX_SECONDS:.0f} s")
                digest.update(chunk)
                file.write(chunk)
    except (OSError, HTTPException, ValueError) as error:
        raise MediaError(f"{field} 素材 URL 无法访问: {error}") from error
    return digest.hexdigest()


@lru_cache
def _opener(*, loopback: bool) -> urllib.request.OpenerDirector:
    """Open http and https only: the standard opener would follow a redirect to ftp, or open a file."""
    if loopback:  # a test server on this machine has a certificate of its own, and no proxy leads to it
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    else:
        tls = ssl.create_default_context()
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler({} if loopback else None),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=tls),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
