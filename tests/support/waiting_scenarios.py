"""Every way a wait can go, once: what the server answers, and how the wait must end, in all modes alike."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_digitalhuman.exceptions import (
    AuthenticationError,
    DigitalHumanError,
    VideoFailedError,
    VideoTaskNotFoundError,
    VideoUrlMissingError,
    WaitTimeoutError,
)
from tests.support.raw_server import Peer, Script, http_answer

ID = "vt/ä 1"
URL = "https://cdn.example.com/result.mp4?sign=abc"
POLL_INTERVAL = 0.02


def task(status: str, **fields: Any) -> bytes:
    return http_answer(
        body=json.dumps({"id": ID, "object": "video", "created": 1761635478, "status": status, **fields})
    )


QUEUED, PROCESSING = task("queued"), task("processing", progress=40)
COMPLETED = task("completed", video_url=URL, md5="9E107D9D372BB6826BD81D3542A419D6", amount=1.5)
ENVELOPE = http_answer(
    body=json.dumps({"code": 200, "msg": "ok", "data": {"id": ID, "status": "completed", "result_url": URL}})
)
NO_URL = task("completed")
BAD_KEY = http_answer(body=json.dumps({"code": "204", "msg": "登录验证失败"}, ensure_ascii=False))
UNAUTHORIZED = http_answer(401, json.dumps({"error": {"code": "AuthenticationError", "message": "no", "type": "x"}}))
NOT_FOUND = http_answer(body=json.dumps({"code": -1, "data": None}))
SPRING = http_answer(500, json.dumps({"timestamp": "…", "status": 500, "error": "Internal Server Error", "path": "/"}))
HTML = http_answer(502, "<html><h1>502 Bad Gateway</h1></html>", content_type="text/html")
SLOW_DOWN = http_answer(429, "{}", retry_after="0")
TRUNCATED = COMPLETED.replace(b'"md5"', b'"m', 1)[:-40]
REDIRECT = http_answer(302, "", location="http://127.0.0.1:9/")
_BODY = COMPLETED.split(b"\r\n\r\n")[1]
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"9;ext=1\r\n%s\r\n%X\r\n%s\r\n0\r\nTrailer: x\r\n\r\n" % (_BODY[:9], len(_BODY) - 9, _BODY[9:])
)
UNTIL_CLOSED = b"HTTP/1.0 200 OK\r\n\r\n" + _BODY
HUGE = http_answer(200, b'{"id": "' + b"x" * 200_000 + b'"}')
NOT_HTTP = b"SSH-2.0-OpenSSH_9.6\r\n\r\n"


@dataclass(frozen=True)
class Scenario:
    """What the server answers, one after the other (the last again and again; None resets the connection)."""

    answers: tuple[bytes | None, ...]
    error: type[DigitalHumanError] | None = None
    words: tuple[str, ...] = ()
    timeout: float = 30.0
    result: dict[str, Any] = field(default_factory=dict)

    def script(self) -> Script:
        left = list(self.answers)

        def play(peer: Peer) -> None:
            while peer.read_request() is not None:
                answer = left.pop(0) if len(left) > 1 else left[0]
                if answer is None:
                    return peer.reset()
                peer.send(answer)
                if answer in (TRUNCATED, UNTIL_CLOSED, NOT_HTTP):
                    return None

        return play


SCENARIOS: dict[str, Scenario] = {
    "completed at once": Scenario(
        (COMPLETED,), result={"md5": "9e107d9d372bb6826bd81d3542a419d6", "amount": 1.5, "video_url": URL}
    ),
    "the usual way": Scenario((QUEUED, PROCESSING, PROCESSING, COMPLETED), result={"status": "completed"}),
    "in an envelope": Scenario((ENVELOPE,), result={"video_url": URL}),
    "an unknown word": Scenario((task("rendering"), task("rendering"), COMPLETED)),
    "gateway errors (F13)": Scenario((SPRING, HTML, SLOW_DOWN, REDIRECT, http_answer(200, ""), COMPLETED)),
    "resets (F13)": Scenario((None, QUEUED, None, None, COMPLETED)),
    "broken answers (F13)": Scenario((TRUNCATED, NOT_HTTP, HUGE, COMPLETED)),
    "chunked": Scenario((CHUNKED,), result={"video_url": URL}),
    "until closed": Scenario((UNTIL_CLOSED,), result={"video_url": URL}),
    "a good key refused for a while (F14)": Scenario((BAD_KEY, UNAUTHORIZED, BAD_KEY, PROCESSING, BAD_KEY, COMPLETED)),
    "a bad key (F14)": Scenario((BAD_KEY,), AuthenticationError, (ID, "refused 6 times", "goes on")),
    "401 for good (F14)": Scenario((QUEUED, UNAUTHORIZED), AuthenticationError, (ID, "HTTP 401")),
    "unknown at first (F15)": Scenario((NOT_FOUND, NOT_FOUND, COMPLETED)),
    "failed (F16)": Scenario(
        (QUEUED, task("failed", error="风控拒绝")), VideoFailedError, (ID, "'failed'", "风控拒绝")
    ),
    "failed, with an object (F16)": Scenario(
        (task("failed", error={"code": "X1", "message": "policy rejected"}),), VideoFailedError, ("policy rejected",)
    ),
    "cancelled (F16)": Scenario((task("cancelled"),), VideoFailedError, ("'cancelled'", "no reason")),
    "the URL comes late (F18)": Scenario((NO_URL, NO_URL, COMPLETED), result={"video_url": URL}),
    "the URL never comes (F18)": Scenario((NO_URL,), VideoUrlMissingError, (ID, "charged", "nothing is submitted")),
    "too late (F19)": Scenario((PROCESSING,), WaitTimeoutError, (ID, "'processing'", "submitted again"), timeout=0.3),
    "finished at the deadline (F19)": Scenario((COMPLETED,), result={"video_url": URL}, timeout=0.0),
    "failed at the deadline (F19)": Scenario((task("failed"),), VideoFailedError, timeout=0.0),
    "never an answer by the deadline": Scenario((HTML,), WaitTimeoutError, ("HTTP 502",), timeout=0.3),
}

GONE = Scenario((NOT_FOUND,), VideoTaskNotFoundError, (ID, "about a day"))
"""Needs a submission that is long past."""

Ending = tuple[dict[str, Any] | None, type[BaseException] | None, str]


def ending_of(wait: Callable[[], dict[str, Any]]) -> Ending:
    """Return the result of ``wait``, or the class and the message of the error it raises."""
    try:
        return wait(), None, ""
    except DigitalHumanError as error:
        return None, type(error), str(error)
