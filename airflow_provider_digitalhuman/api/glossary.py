"""The vendor's known words in English: an error shows both, as not every reader reads Chinese."""

import re
from typing import Final

GLOSSES: Final[tuple[tuple[str, str], ...]] = (
    ("登录验证失败", "login check failed: the API key is not accepted"),
    ("风控", "risk control: the content is refused"),
    ("余额不足", "insufficient balance"),
    ("欠费", "the account is in arrears"),
    ("充值", "top up the account"),
    ("素材 ?URL ?无法访问", "the media URL cannot be reached"),
    ("缺少必填参数", "a required parameter is missing"),
    ("系统繁忙", "the system is busy"),
)
"""Pattern of the vendor's words, and what they mean."""

NO_BALANCE: Final = r"(?i)余额|欠费|充值|arrears|(?<!im)balance(?![dr])|insufficient.?(?:credit|fund|quota)"
"""Words of a refusal because the account cannot pay (contract F8: no code is known for it)."""


def glossed(shown: str, whole: str | None = None) -> str:
    """Return ``shown``, and behind it in English what is known of the vendor's words.

    :param whole: the text to look for them in, where ``shown`` is only a part of it.
    """
    found = [gloss for pattern, gloss in GLOSSES if re.search(pattern, shown if whole is None else whole)]
    return f"{shown} (in English: {'; '.join(found)})" if found else shown


def speaks_of_balance(text: str) -> bool:
    """Return whether ``text`` says that the account cannot pay."""
    return re.search(NO_BALANCE, text) is not None
