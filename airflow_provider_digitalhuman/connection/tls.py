"""Which certificates a TLS connection trusts."""

import os
import ssl
from functools import lru_cache
from pathlib import Path
from typing import Final

from airflow_provider_digitalhuman.exceptions import InvalidConnectionError

CA_VARIABLES: Final = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
"""Variables of the environment that name the CA file; the first one that is set is taken. The first two are those of
``requests``, the last one is OpenSSL's."""
UNTRUSTED: Final = (
    "The TLS handshake failed. If a certificate is not trusted, name the CA file of your company or its proxy in"
    f" extra.verify of the connection, or on workers and triggerer in {', '.join(CA_VARIABLES[:-1])} or"
    f" {CA_VARIABLES[-1]}."
)


def tls_context(verify: bool | str) -> ssl.SSLContext:
    """Return what a connection trusts.

    :param verify: the connection's: a CA file or folder, True for the one of the environment, False to trust any
        certificate.
    :raises InvalidConnectionError: for a CA file that cannot be read.
    """
    if verify is False:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    name, path = _trusted() if verify is True else ("extra.verify", verify)
    try:
        if Path(path).is_dir():
            return ssl.create_default_context(capath=path)
        found = os.stat(path)
        return _trusting(path, (found.st_ino, found.st_mtime_ns, found.st_size))
    except OSError as error:
        raise InvalidConnectionError(f"{name}={path!r} cannot be read as a CA file: {error}.") from error


@lru_cache(maxsize=4)
def _trusting(path: str, version: tuple[int, ...]) -> ssl.SSLContext:
    """Read a CA file, which takes 20 ms, once for all forks of a process, as long as it is the same.

    A context may be shared: after this only ``urllib3`` changes it, and sets the same ALPN each time.
    """
    return ssl.create_default_context(cafile=path)


def _trusted() -> tuple[str, str]:
    """Return the name of what sets the trusted CA file, and the file."""
    for name in CA_VARIABLES:
        if path := os.environ.get(name):
            return name, path
    import certifi

    return "certifi", certifi.where()
