"""The text of a body, whatever its characters are encoded in: UTF-8 and its kin, or GBK, as is common in China."""

import json
import re
from collections.abc import Iterator
from typing import Final

_ANNOUNCED: Final = r"(?i)charset\s*=\s*[\"']?([\w.:-]+)"
_GB18030: Final = "gb18030"
"""Holds all that GBK and GB 2312 hold."""
_SMALLER: Final = frozenset({"gbk", "gb2312", "x-gbk", "cp936", "euc-cn", _GB18030})


def decoded_text(body: bytes, content_type: str | None = None) -> str:
    """Return ``body`` as text; characters that cannot be read are replaced.

    :param content_type: the header, for the charset that it announces. A wrong one does no harm: text in UTF-8 is
        almost never valid in another encoding of China, nor the other way round.
    """
    for encoding in _encodings(body, content_type):
        try:
            return body.decode(encoding, "surrogatepass")
        except (ValueError, LookupError):  # not in this encoding; no encoding of this name
            continue
    return body.decode(json.detect_encoding(body), "replace")


def _encodings(body: bytes, content_type: str | None) -> Iterator[str]:
    found = re.search(_ANNOUNCED, content_type or "")
    announced = found[1].lower() if found else ""
    if announced in _SMALLER:
        yield _GB18030
    own = json.detect_encoding(body)
    yield own
    if announced and announced not in _SMALLER:
        yield announced
    if own.startswith("utf-8"):  # the others are recognised by their zero bytes
        yield _GB18030
