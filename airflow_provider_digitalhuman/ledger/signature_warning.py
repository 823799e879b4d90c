"""What looks like a signature in a URL without being one that is known: for a warning before anything is paid.

Only a warning follows from it, so it may guess.
"""

import re
from collections.abc import Iterator
from typing import Final

from airflow_provider_digitalhuman.ledger.signed_urls import PATH_SCHEMES, Parts, split, unsigned, value_of

_SIGNS: Final = frozenset(
    {"sig", "sign", "signature", "signed", "hmac", "mac", "token", "jwt", "auth", "authorization", "secret"}
    | {"credential", "nonce", "ticket", "verify", "policy", "hdnts", "hdnea", "upt", "s", "st", "tk"}
)
_EXPIRES: Final = frozenset(
    {"exp", "expire", "expires", "expiry", "expiration", "deadline", "until", "valid", "time", "timestamp", "ts", "ttl"}
    | {"e", "t", "se"}
)
# 2017 to 2096 in seconds or milliseconds, or a moment as text: 20260101T000000Z, 2026-01-01T00:00:00Z
_MOMENT: Final = (
    r"(1[5-9]|[23][0-9])[0-9]{8}([0-9]{3})?|20[0-9]{2}-?[0-9]{2}-?[0-9]{2}(T[0-9:.]{4,15}(Z|[+-][0-9:]{4,5})?)?"
)
_MOMENT_IN_HEX: Final = r"[5-9a-fA-F][0-9a-fA-F]{7}"
_HEX: Final = r"[0-9a-fA-F]{16,}"
_BASE64: Final = r"(?=.*[0-9])(?=.*[A-Za-z])[0-9A-Za-z+/_-]{16,}={0,2}"
_JWT: Final = r"eyJ[0-9A-Za-z_-]+\.[0-9A-Za-z_-]+\.[0-9A-Za-z_-]*"
_MOMENT_AND_DIGEST: Final = r"(1[5-9]|[23][0-9])[0-9]{8}[^0-9A-Za-z](.*[^0-9A-Za-z])?[0-9a-fA-F]{32,}"
# A time before an MD5 digest or behind it is how CDNs of Alibaba, Tencent and others sign (types B and C).
_IN_PATH: Final = (
    rf"/{_JWT}(/|$)|/[0-9a-f]{{32}}/(1[5-9][0-9]{{8}}|[5-7][0-9a-f]{{7}})/"
    rf"|/(1[5-9][0-9]{{8}}|20[0-9]{{10}})/[0-9a-f]{{32}}/|/({'|'.join(PATH_SCHEMES.values())})=[^/]"
)
_WORD: Final = r"[A-Z]?[a-z]+|[A-Z]+"
_PLAIN: Final = r"[A-Za-z_][A-Za-z0-9_.-]{0,31}"


def unrecognised_signature(url: str) -> str | None:
    """Return what in ``url`` may be a signature or an expiry of an unknown kind, in a few words; None if nothing is.

    :param url: as it would be sent.
    :returns: names of parameters, never their values.
    """
    parts = unsigned(split(url))
    found = list(dict.fromkeys(_parameters(parts)))
    if re.search(_IN_PATH, parts.path):
        found.append("a part of its path")
    if not found:
        return None
    verb = "looks" if len(found) == 1 else "look"
    return f"{' and '.join(found)} {verb} like a signature or an expiry of an unknown kind"


def _parameters(parts: Parts) -> Iterator[str]:
    pieces = [piece for piece in parts.pieces or () if " " not in piece]  # with a space: the claims of a known JWT
    with_moment = any(re.fullmatch(_MOMENT, _value(piece)) for piece in pieces)
    for piece in pieces:
        # Under names of the site's own choice, as CDNs let one choose them: a digest beside a moment.
        if _is_suspicious(piece) or (with_moment and re.fullmatch(r"[0-9a-fA-F]{32,}", _value(piece))):
            yield _shown(piece)


def _is_suspicious(piece: str) -> bool:
    words = {word.lower() for word in re.findall(_WORD, piece.partition("=")[0])}
    value = _value(piece)
    if words & _SIGNS and re.fullmatch(f"{_HEX}|{_BASE64}", value):
        return True
    if words & _EXPIRES and re.fullmatch(f"{_MOMENT}|{_MOMENT_IN_HEX}", value):
        return True
    return re.fullmatch(f"{_JWT}|{_MOMENT_AND_DIGEST}", value) is not None


def _value(piece: str) -> str:
    return value_of(piece if "=" in piece else f"={piece}")


def _shown(piece: str) -> str:
    name, _, value = piece.partition("=")
    # What is no plain name can be a value itself: "?eyJhbGci…" has no other.
    plain = value and re.fullmatch(_PLAIN, name) and not re.fullmatch(f"{_HEX}|{_BASE64}", name)
    return f"its parameter {name!r}" if plain else "a parameter"
