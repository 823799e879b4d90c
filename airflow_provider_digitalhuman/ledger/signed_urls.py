"""What is a signature in a URL, and what names the file: pure, no network.

Signing a file again changes its URL, and it is still the same file. Everything else in a URL may name another file: a
short name such as ``e``, ``t`` or ``token`` is a signature only beside its companions and with a value of their form.
What is not certain is part of the identity: one payment too many can be warned of beforehand
(``signature_warning``), the wrong video cannot.
"""

import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

_ANY: Final = r".+"
_NUMBER: Final = r"[0-9]+"
_EPOCH: Final = r"[0-9]{10}"
_EPOCH_OR_HEX: Final = r"[0-9]{10}|[0-9a-fA-F]{8}"
_MD5: Final = r"[0-9a-fA-F]{32}"
_MD5_BASE64: Final = r"[0-9A-Za-z+/_-]{22}(==)?"
_DIGEST: Final = r"[0-9a-fA-F]{32,128}|[0-9A-Za-z+/_-]{22,86}={0,2}"
_TYPE_A: Final = rf"({_EPOCH_OR_HEX})-[0-9A-Za-z]*-[0-9A-Za-z]*-{_MD5}"
_AKAMAI: Final = r"(.+~)?exp=[0-9]+~(.+~)?hmac=[0-9a-fA-F]+"


@dataclass(frozen=True, slots=True)
class Scheme:
    """One way of signing a URL by parameters.

    :param needs: lower-case names that must all be there, each once, with the pattern of its decoded value. Together
        they cannot be anything else.
    :param also: lower-case names that belong to the signature where the needed ones are there.
    :param generic: the parameters may be all that names the file, as in ``/audio?token=…``, so the path must name a
        media file.
    :param example: of the query string, in the case of the vendor's documentation.
    """

    needs: Mapping[str, str]
    example: str
    also: tuple[str, ...] = ()
    generic: bool = False


SCHEMES: Final[Mapping[str, Scheme]] = {
    "AWS version 4": Scheme(
        needs={"x-amz-signature": _ANY},
        also=(
            *("x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-expires", "x-amz-signedheaders"),
            *("x-amz-security-token", "x-amz-content-sha256"),
        ),
        example="X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKID%2F20260101%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Content-Sha256=UNSIGNED-PAYLOAD&X-Amz-Date=20260101T000000Z&X-Amz-Expires=3600"
        "&X-Amz-Security-Token=t&X-Amz-SignedHeaders=host&X-Amz-Signature=0a1b",
    ),
    "AWS version 2": Scheme(
        needs={"awsaccesskeyid": _ANY, "expires": _NUMBER, "signature": _ANY},
        also=("x-amz-security-token",),
        example="AWSAccessKeyId=AKID&Expires=1767225600&Signature=c2ln&x-amz-security-token=t",
    ),
    "CloudFront": Scheme(
        needs={"key-pair-id": _ANY, "signature": _ANY},
        also=("expires", "policy", "hash-algorithm"),
        example="Expires=1767225600&Policy=e30_&Signature=c2ln&Key-Pair-Id=K2JC&Hash-Algorithm=SHA256",
    ),
    "Google version 4": Scheme(
        needs={"x-goog-signature": _ANY},
        also=("x-goog-algorithm", "x-goog-credential", "x-goog-date", "x-goog-expires", "x-goog-signedheaders"),
        example="X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Credential=a%2F20260101%2Fauto%2Fstorage%2Fgoog4_request"
        "&X-Goog-Date=20260101T000000Z&X-Goog-Expires=900&X-Goog-SignedHeaders=host&X-Goog-Signature=0a1b",
    ),
    "Google version 2": Scheme(
        needs={"googleaccessid": _ANY, "expires": _NUMBER, "signature": _ANY},
        example="GoogleAccessId=a%40b.iam.gserviceaccount.com&Expires=1767225600&Signature=c2ln",
    ),
    "Google Cloud CDN": Scheme(
        needs={"keyname": _ANY, "expires": _NUMBER, "signature": _ANY},
        also=("urlprefix",),
        example="URLPrefix=aHR0cHM6&Expires=1767225600&KeyName=key&Signature=c2ln",
    ),
    "Azure SAS": Scheme(
        needs={"sig": _ANY, "sv": r"[0-9]{4}-[0-9]{2}-[0-9]{2}"},
        also=(
            *("se", "st", "sp", "sr", "spr", "sip", "si", "ss", "srt", "sdd", "ses"),
            *("skoid", "sktid", "skt", "ske", "sks", "skv", "saoid", "suoid", "scid"),
        ),
        example="sp=r&st=2026-01-01T00:00:00Z&se=2026-01-02T00:00:00Z&sip=1.2.3.4&spr=https&sv=2022-11-02&sr=b&sdd=1"
        "&si=policy&ss=b&srt=o&ses=scope&skoid=o&sktid=t&skt=2026-01-01T00:00:00Z&ske=2026-01-02T00:00:00Z&sks=b"
        "&skv=2022-11-02&saoid=o&suoid=o&scid=c&sig=c2ln",
    ),
    "Alibaba OSS version 4": Scheme(
        needs={"x-oss-signature": _ANY},
        also=(
            *("x-oss-signature-version", "x-oss-credential", "x-oss-date", "x-oss-expires"),
            *("x-oss-additional-headers", "x-oss-security-token"),
        ),
        example="x-oss-additional-headers=host&x-oss-credential=AKID%2F20260101%2Fcn-hangzhou%2Foss%2Faliyun_v4_request"
        "&x-oss-date=20260101T000000Z&x-oss-expires=3600&x-oss-security-token=t"
        "&x-oss-signature-version=OSS4-HMAC-SHA256&x-oss-signature=0a1b",
    ),
    "Alibaba OSS version 1": Scheme(
        needs={"ossaccesskeyid": _ANY, "expires": _NUMBER, "signature": _ANY},
        also=("security-token",),
        example="OSSAccessKeyId=AKID&Expires=1767225600&Signature=c2ln&security-token=t",
    ),
    "Huawei OBS": Scheme(
        needs={"accesskeyid": _ANY, "expires": _NUMBER, "signature": _ANY},
        also=("x-obs-security-token",),
        example="AccessKeyId=AKID&Expires=1767225600&Signature=c2ln&x-obs-security-token=t",
    ),
    "Tencent COS": Scheme(
        needs={"q-sign-algorithm": _ANY, "q-signature": _ANY},
        also=(
            *("q-ak", "q-sign-time", "q-key-time", "q-header-list", "q-url-param-list"),
            "x-cos-security-token",
        ),
        example="q-sign-algorithm=sha1&q-ak=AKID&q-sign-time=1767225600;1767229200&q-key-time=1767225600;1767229200"
        "&q-header-list=host&q-url-param-list=&q-signature=0a1b&x-cos-security-token=t",
    ),
    "Tencent COS in one parameter": Scheme(
        needs={"sign": r"q-sign-algorithm=.+&q-signature=[0-9a-f]+.*"},
        also=("x-cos-security-token",),
        example="sign=q-sign-algorithm%3Dsha1%26q-ak%3DAKID%26q-signature%3D0a1b&x-cos-security-token=t",
    ),
    "Volcengine TOS": Scheme(
        needs={"x-tos-signature": _ANY},
        also=(
            *("x-tos-algorithm", "x-tos-credential", "x-tos-date", "x-tos-expires", "x-tos-signedheaders"),
            *("x-tos-security-token", "x-tos-policy"),
        ),
        example="X-Tos-Algorithm=TOS4-HMAC-SHA256&X-Tos-Credential=AKID%2F20260101%2Fcn-beijing%2Ftos%2Frequest"
        "&X-Tos-Date=20260101T000000Z&X-Tos-Expires=3600&X-Tos-SignedHeaders=host&X-Tos-Policy=e30"
        "&X-Tos-Security-Token=t&X-Tos-Signature=0a1b",
    ),
    "Volcengine VOD": Scheme(
        needs={"x-expires": _NUMBER, "x-signature": _ANY},
        example="x-expires=1767225600&x-signature=c2ln",
    ),
    "Baidu BOS": Scheme(
        needs={"authorization": r"bce-auth-v[0-9]+/.+"},
        also=("x-bce-security-token",),
        example="authorization=bce-auth-v1%2FAKID%2F2026-01-01T00%3A00%3A00Z%2F1800%2Fhost%2F0a1b"
        "&x-bce-security-token=t",
    ),
    "Backblaze B2": Scheme(
        needs={"authorization": r"[0-9]+_.+_(dnld|acct)(_.+)?"},
        generic=True,
        example="Authorization=3_20260101000000_53982a92f631a8c7303e3266_d940c7f5_000_20260102000000_0006_dnld",
    ),
    "Qiniu Kodo": Scheme(
        needs={"e": _EPOCH, "token": r"[0-9A-Za-z_-]+:[0-9A-Za-z_-]+=*(:[0-9A-Za-z_-]+=*)?"},
        example="e=1767225600&token=AKID:c2lnbmF0dXJl",
    ),
    "UPYUN": Scheme(
        needs={"_upt": r"[0-9a-f]{8}[0-9]{10}"},
        also=("_upp",),
        generic=True,
        example="_upp=2&_upt=0a1b2c3d1767225600",
    ),
    "Wangsu": Scheme(
        needs={"wssecret": _ANY, "wstime": r"[0-9a-fA-F]+"},
        example="wsSecret=0a1b2c3d4e5f60718293a4b5c6d7e8f9&wsTime=1767225600",
    ),
    "Alibaba CDN type A": Scheme(
        needs={"auth_key": _TYPE_A},
        example="auth_key=1767225600-0-0-0a1b2c3d4e5f60718293a4b5c6d7e8f9",
    ),
    "Huawei CDN type C2": Scheme(
        needs={"auth_key": _MD5, "timestamp": _EPOCH_OR_HEX},
        example="auth_key=0a1b2c3d4e5f60718293a4b5c6d7e8f9&timestamp=6955b900",
    ),
    "Tencent CDN type A": Scheme(
        needs={"sign": _TYPE_A},
        example="sign=1767225600-im1acp76sx9s-0-0a1b2c3d4e5f60718293a4b5c6d7e8f9",
    ),
    # ``exper`` stays: it is how many seconds of the video the server gives away.
    "Tencent VOD, Tencent CDN type D, Qiniu CDN": Scheme(
        needs={"sign": _MD5, "t": _EPOCH_OR_HEX},
        also=("us", "rlimit"),
        generic=True,
        example="t=6955b900&rlimit=3&us=72d4cd1101&sign=0a1b2c3d4e5f60718293a4b5c6d7e8f9",
    ),
    "Tencent EdgeOne type D": Scheme(
        needs={"token": _MD5, "t": _EPOCH_OR_HEX},
        generic=True,
        example="token=0a1b2c3d4e5f60718293a4b5c6d7e8f9&t=1767225600",
    ),
    "Akamai": Scheme(needs={"hdnts": _AKAMAI}, example="hdnts=exp=1~hmac=0a"),
    "Akamai for a segment": Scheme(needs={"hdnea": _AKAMAI}, example="hdnea=st=1~exp=2~acl=/*~hmac=0a"),
    "Akamai by default": Scheme(needs={"__token__": _AKAMAI}, example="__token__=exp=2~acl=/*~hmac=0a"),
    "Akamai under a common name": Scheme(needs={"token": _AKAMAI}, example="token=exp=2~acl=/*~hmac=0a"),
    "Cloudflare": Scheme(
        needs={"verify": rf"{_EPOCH}-[0-9A-Za-z+/_-]{{43}}=?"},
        example="verify=1767225600-IaLGSmELTvlhfd0ItdN6PhhHTFhzx73EX8uy%2FcSDiIU%3D",
    ),
    "Fastly": Scheme(
        needs={"token": r"[0-9]{10,11}_[0-9a-f]{40,64}"},
        generic=True,
        example="token=1767225600_4492f25946a2e8e1414a8bb53dab8a6ba1cf4615",
    ),
    "bunny.net": Scheme(
        needs={"token": _DIGEST, "expires": _EPOCH},
        also=("token_path",),
        generic=True,
        example="token=HS256-aiDhHXZGHidbDZZqIY14z1eHhhbZvMlzh_7u9cEIdfI&token_path=%2Fa%2F&expires=1767225600",
    ),
    "nginx secure_link": Scheme(
        needs={"md5": _MD5_BASE64, "expires": _EPOCH},
        generic=True,
        example="md5=_e4Nc3iduzkWRm01TBBNYw&expires=1767225600",
    ),
    "nginx secure_link, short": Scheme(
        needs={"st": _MD5_BASE64, "e": _EPOCH},
        generic=True,
        example="st=_e4Nc3iduzkWRm01TBBNYw&e=1767225600",
    ),
    "timestamp, nonce and sign": Scheme(
        needs={"timestamp": rf"{_EPOCH}([0-9]{{3}})?", "nonce": r"[0-9A-Za-z_-]+", "sign": _DIGEST},
        generic=True,
        example="timestamp=1767225600&nonce=a1b2c3&sign=0a1b2c3d4e5f60718293a4b5c6d7e8f9",
    ),
    "hmac and exp": Scheme(
        needs={"hmac": _DIGEST, "exp": _EPOCH},
        generic=True,
        example="exp=1767225600&hmac=0a1b2c3d4e5f60718293a4b5c6d7e8f9",
    ),
}
"""By name; the parameters as the vendors document them."""

# A time and a digest without names are none: "/202601011200/<MD5>/a.mp3" may be of any upload by minute and content.
PATH_SCHEMES: Final[Mapping[str, str]] = {
    "bunny.net": "bcdn_token",
    "Google Media CDN": "edge-cache-token",
}
"""By name; what the first segment of a path is called, before a ``=``, where the path ends with a media file's name."""

_JWT_NAMES: Final = ("token", "jwt", "access_token")
_JWT: Final = r"eyJ[0-9A-Za-z_-]+\.([0-9A-Za-z_-]+)\.[0-9A-Za-z_-]*"
_JWT_TIMES: Final = frozenset({"exp", "iat", "nbf", "jti"})
# fmt: off
_MEDIA: Final = frozenset({
    "mp3", "mp4", "wav", "m4a", "aac", "aar", "flac", "ogg", "mov", "avi", "mkv", "webm", "m4v", "mpg", "mpeg", "wmv",
    "flv", "ts", "3gp",
})
# fmt: on


@dataclass(frozen=True, slots=True)
class Parts:
    """A URL taken apart without changing a byte of it.

    :param origin: scheme and host.
    :param path: with its leading slash, or empty.
    :param pieces: of the query string, in their order; None where the URL has no question mark.
    :param fragment: with its ``#``, or empty.
    """

    origin: str
    path: str
    pieces: tuple[str, ...] | None
    fragment: str


def split(url: str) -> Parts:
    """Take ``url`` apart; :func:`join` of the result is ``url`` again."""
    rest, sharp, fragment = url.partition("#")
    address, mark, query = rest.partition("?")
    scheme, colon, after = address.partition("://")
    host, slash, path = after.partition("/")
    return Parts(scheme + colon + host, slash + path, tuple(query.split("&")) if mark else None, sharp + fragment)


def join(parts: Parts) -> str:
    """Put a URL together again."""
    query = "" if parts.pieces is None else "?" + "&".join(parts.pieces)
    return parts.origin + parts.path + query + parts.fragment


def without_signature(url: str) -> str:
    """Return what is the same however often the file at ``url`` is signed.

    Nothing is decoded, sorted or spelled anew: two URLs that differ in a byte outside of a signature stay different. A
    JWT is replaced by its claims without times and number, since they can be what names the file.
    """
    return join(unsigned(split(url)))


def unsigned(parts: Parts) -> Parts:
    """Return ``parts`` without its signature; see :func:`without_signature`."""
    media_file = parts.path.rpartition(".")[2].lower() in _MEDIA
    path = _unsigned_path(parts.path) if media_file else parts.path
    if parts.pieces is None:
        return Parts(parts.origin, path, None, parts.fragment)
    signing = _signing_names(parts.pieces, media_file)
    kept = tuple(_without_times(piece) for piece in parts.pieces if name_of(piece) not in signing)
    return Parts(parts.origin, path, kept or None, parts.fragment)


def name_of(piece: str) -> str:
    """Return the decoded name of a piece of a query string, in lower case."""
    return _decoded(piece.partition("=")[0]).lower()


def value_of(piece: str) -> str:
    """Return the decoded value of a piece of a query string; a ``+`` stays, as Base64 has it."""
    return _decoded(piece.partition("=")[2])


def _decoded(text: str) -> str:
    return unquote_to_bytes(text).decode("latin-1")  # byte by byte: nothing is lost or replaced


def _unsigned_path(path: str) -> str:
    first, slash, rest = path[1:].partition("/")
    name, _, value = first.partition("=")
    return slash + rest if slash and value and name in PATH_SCHEMES.values() else path


def _signing_names(pieces: tuple[str, ...], media_file: bool) -> frozenset[str]:
    names = [name_of(piece) for piece in pieces]
    values = {name_of(piece): value_of(piece) for piece in pieces}
    # A name that is there twice is not of one signature alone: which of the two would name the file?
    once = {name: value for name, value in values.items() if names.count(name) == 1}
    return frozenset(name for scheme in SCHEMES.values() for name in _names(scheme, once, media_file))


def _names(scheme: Scheme, once: Mapping[str, str], media_file: bool) -> Iterator[str]:
    # Whether the names are there first: a pattern is compiled only for a URL that can match it.
    if not scheme.needs.keys() <= once.keys() or (scheme.generic and not media_file):
        return
    if all(re.fullmatch(pattern, once[name], re.DOTALL) for name, pattern in scheme.needs.items()):
        yield from scheme.needs
        yield from (name for name in scheme.also if name in once)


def _without_times(piece: str) -> str:
    if name_of(piece) not in _JWT_NAMES or not (token := re.fullmatch(_JWT, value_of(piece))):
        return piece
    claims = jwt_claims(token.group(1))
    if claims is None:
        return piece
    named = {name: value for name, value in claims.items() if name not in _JWT_TIMES}
    # No URL contains a space, so no other piece can look like this one.
    return f"{name_of(piece)} {json.dumps(named, sort_keys=True)}"


def jwt_claims(payload: str) -> dict[str, object] | None:
    """Return the claims in the middle part of a JWT; None where it is none."""
    try:
        claims = json.loads(urlsafe_b64decode(payload + "=="))  # padding beyond what is needed is ignored
    except (ValueError, RecursionError):
        return None
    return claims if isinstance(claims, dict) else None
