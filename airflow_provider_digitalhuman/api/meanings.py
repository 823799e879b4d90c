"""What each HTTP status and each error code of the gateway means: on a create, and on a query.

These tables are the contract's rows F4 to F15. A create and a query share none: to change what one of them makes of an
answer, change one row here. On a create a wrong row pays twice: only what proves that nothing was accepted may be
anything but UNKNOWN.
"""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final


class OnCreate(Enum):
    """What the answer to a create means, where no task ID says more."""

    BY_BODY = auto()
    """Read the body: a task ID is an acceptance, else the error code decides."""
    KEY_REFUSED = auto()
    NO_BALANCE = auto()
    RATE_LIMIT = auto()
    """Not accepted, and the one answer after which the same POST is sent again."""
    NO_SUCH_PATH = auto()
    REDIRECT = auto()
    REFUSED = auto()
    UNKNOWN = auto()
    """Nothing proves whether a video was accepted."""


class OnQuery(Enum):
    """What the answer to a query means. None of them says anything about the video itself."""

    BY_BODY = auto()
    """Read the body: a task, else the error code decides."""
    KEY_REFUSED = auto()
    RATE_LIMIT = auto()
    NOT_FOUND = auto()
    ASK_AGAIN = auto()


_OTHER: Final = "other"

HTTP_ON_CREATE: Final[Mapping[int | str, OnCreate]] = {
    "2xx": OnCreate.BY_BODY,
    301: OnCreate.REDIRECT,
    302: OnCreate.UNKNOWN,  # servers send 302 and 303 after a POST that they have carried out
    303: OnCreate.UNKNOWN,
    307: OnCreate.REDIRECT,
    308: OnCreate.REDIRECT,
    400: OnCreate.REFUSED,  # F10
    401: OnCreate.KEY_REFUSED,  # F7
    402: OnCreate.NO_BALANCE,  # F8
    403: OnCreate.KEY_REFUSED,  # F7
    404: OnCreate.NO_SUCH_PATH,  # F10
    405: OnCreate.REFUSED,
    408: OnCreate.UNKNOWN,
    409: OnCreate.UNKNOWN,
    410: OnCreate.UNKNOWN,
    413: OnCreate.REFUSED,
    415: OnCreate.REFUSED,
    422: OnCreate.REFUSED,
    429: OnCreate.RATE_LIMIT,  # F9
    500: OnCreate.UNKNOWN,  # F4: a proxy can time out after the backend has accepted
    502: OnCreate.UNKNOWN,
    503: OnCreate.UNKNOWN,
    504: OnCreate.UNKNOWN,
    _OTHER: OnCreate.UNKNOWN,
}

HTTP_ON_QUERY: Final[Mapping[int | str, OnQuery]] = {
    "2xx": OnQuery.BY_BODY,
    401: OnQuery.KEY_REFUSED,  # F14
    402: OnQuery.ASK_AGAIN,
    403: OnQuery.KEY_REFUSED,
    404: OnQuery.NOT_FOUND,  # F15
    410: OnQuery.NOT_FOUND,
    429: OnQuery.RATE_LIMIT,  # F13
    500: OnQuery.ASK_AGAIN,
    502: OnQuery.ASK_AGAIN,
    503: OnQuery.ASK_AGAIN,
    504: OnQuery.ASK_AGAIN,
    _OTHER: OnQuery.ASK_AGAIN,
}

NO_ERROR: Final = frozenset({"", "0", "200"})
"""Values of ``code`` that say that nothing went wrong, as its absence does."""

CODE_ON_CREATE: Final[Mapping[str, OnCreate]] = {
    "204": OnCreate.KEY_REFUSED,  # F7: "login check failed", with HTTP 200
    "401": OnCreate.KEY_REFUSED,
    "403": OnCreate.KEY_REFUSED,
    "AuthenticationError": OnCreate.KEY_REFUSED,
    "402": OnCreate.NO_BALANCE,  # F8
    "429": OnCreate.RATE_LIMIT,  # F9
    **dict.fromkeys(("201", "202", "0000", "00000", "success", "ok"), OnCreate.UNKNOWN),  # a success is no refusal: F5
    _OTHER: OnCreate.REFUSED,  # F6
}

CODE_ON_QUERY: Final[Mapping[str, OnQuery]] = {
    "204": OnQuery.KEY_REFUSED,  # F14
    "401": OnQuery.KEY_REFUSED,
    "403": OnQuery.KEY_REFUSED,
    "AuthenticationError": OnQuery.KEY_REFUSED,
    "429": OnQuery.RATE_LIMIT,  # F13
    "-1": OnQuery.NOT_FOUND,  # F15
    "404": OnQuery.NOT_FOUND,
    _OTHER: OnQuery.ASK_AGAIN,
}

KNOWN_CODES: Final = NO_ERROR | CODE_ON_CREATE.keys() | CODE_ON_QUERY.keys()


def http_on_create(status: int) -> OnCreate:
    """Return what an HTTP status means on a create."""
    return HTTP_ON_CREATE.get(status) or HTTP_ON_CREATE.get(_class(status)) or HTTP_ON_CREATE[_OTHER]


def http_on_query(status: int) -> OnQuery:
    """Return what an HTTP status means on a query."""
    return HTTP_ON_QUERY.get(status) or HTTP_ON_QUERY.get(_class(status)) or HTTP_ON_QUERY[_OTHER]


def code_on_create(code: str | None) -> OnCreate:
    """Return what an error code means on a create; without one, a 2xx that holds no ID proves nothing (F5)."""
    if code is None:
        return OnCreate.UNKNOWN
    return CODE_ON_CREATE.get(code) or CODE_ON_CREATE.get(code.lower()) or CODE_ON_CREATE[_OTHER]


def code_on_query(code: str | None) -> OnQuery:
    """Return what an error code means on a query."""
    return OnQuery.ASK_AGAIN if code is None else CODE_ON_QUERY.get(code, CODE_ON_QUERY[_OTHER])


def _class(status: int) -> str:
    return f"{status // 100}xx"
