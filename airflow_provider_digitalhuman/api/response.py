"""Any answer of the gateway, turned into a :class:`VideoTask` or into the one typed error that it means.

Order of reading (the contract's): HTTP class, JSON object, task ID, ``code``, ``status``. HTTP 200 alone
says nothing, and only a *string* is ever a task status: the server's own error page carries a numeric one.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final, Literal, NoReturn

import pendulum

from airflow_provider_digitalhuman.api.answer import URL_ALIASES, Answer
from airflow_provider_digitalhuman.api.encoding import MAX_KEPT
from airflow_provider_digitalhuman.api.possible_ids import holds_data, may_name_task, possible_ids, task_ids
from airflow_provider_digitalhuman.api.redact import excerpt
from airflow_provider_digitalhuman.exceptions import (
    AuthenticationError,
    DigitalHumanError,
    InsufficientBalanceError,
    QueryError,
    RateLimitError,
    RequestRefusedError,
    SubmissionUnknownError,
    VideoTaskNotFoundError,
)


class TaskStatus(StrEnum):
    """The vendor's words for the state of a task; a word that is not here means a task that may still run."""

    QUEUED = "queued"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


_FAILED: Final = frozenset({TaskStatus.FAILED, TaskStatus.CANCELLED, TaskStatus.EXPIRED})
_VOCABULARY: Final = frozenset(TaskStatus)


# A named tuple would be made quicker, but comes back from XCom as a mere tuple, where a @task returns one.
@dataclass(frozen=True, slots=True)
class VideoTask:
    """The vendor's task that makes one video.

    :param id: the vendor's task ID, opaque.
    :param status: the vendor's word in lower case; see :class:`TaskStatus`.
    :param object: what the vendor calls it (``video``).
    :param created: when the vendor accepted it.
    :param model: the model's name as the vendor echoes it; not comparable with the one that was sent.
    :param video_url: where the finished file lies; expires after about a day.
    :param md5: MD5 of the finished file in lower-case hex; what is no MD5 stays as it came.
    :param error: the vendor's words when it failed.
    :param raw: the whole object as it came, also what is not documented (``progress``, ``amount``, ...).
    """

    id: str
    status: str
    object: str | None = None
    created: pendulum.DateTime | None = None
    model: str | None = None
    video_url: str | None = None
    md5: str | None = None
    error: str | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def is_completed(self) -> bool:
        """True when the video is made, whether or not its URL has come yet."""
        return self.status == TaskStatus.COMPLETED

    @property
    def is_failed(self) -> bool:
        """True when the task has ended without a video."""
        return self.status in _FAILED

    @property
    def is_known_status(self) -> bool:
        """True when the status is a word of the vendor's vocabulary."""
        return self.status in _VOCABULARY

    def to_dict(self) -> dict[str, Any]:
        """Return the task as JSON types, with what else the vendor sent under its own names."""
        known = {
            "id": self.id,
            "object": self.object,
            "created": self.created.isoformat() if self.created else None,
            "model": self.model,
            "status": self.status,
            "video_url": self.video_url,
            "md5": self.md5,
            "error": self.error,
        }
        return {
            **known,
            **{key: value for key, value in self.raw.items() if key not in known and key not in URL_ALIASES},
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "VideoTask":
        """Return the task that :meth:`to_dict` turned into ``value``.

        :raises ValueError: if it holds no ``id``.
        """
        task_id = _task_id(value)
        if task_id is None:
            raise ValueError(f"there is no task ID in {value!r}")
        created = value.get("created")
        moment = pendulum.DateTime.fromisoformat(created) if created else None
        return replace(_to_task(value, task_id, value), created=moment)


def read_create(answer: Answer, sent_video_url: str | None = None) -> VideoTask:
    """Read the answer to ``POST /v1/digitalHuman/videos``.

    :param sent_video_url: the presenter's clip where it is known: an answer that repeats it names no result by it.
    :raises AuthenticationError, InsufficientBalanceError, RateLimitError, RequestRefusedError: nothing was accepted.
    :raises SubmissionUnknownError: it cannot be told whether a video was accepted and charged.
    """
    payload = answer.json_object()
    task = _task_object(payload)
    task_id = _task_id(task)
    is_2xx = 200 <= answer.http_status < 300
    if is_2xx and task_id is not None:
        return _to_task(_kept(task, payload, len(answer.body)), task_id, payload, sent_video_url)
    code = _error_code(payload) if is_2xx else None
    # An id alone can be the request's, as some gateways put it into an error; but a rate limit allows another POST.
    any_id = answer.http_status == 429 or _meaning(code) == "rate_limit"
    if named := task_ids(answer, _VOCABULARY, any_id):
        raise _unknown(answer, f"it names a task ({named[0]}) although it is no acceptance", *named)
    if may_name_task(answer):
        raise _unknown(answer, "it may name a task in a form that cannot be read", *possible_ids(answer))
    if is_2xx:
        _raise_create_without_id(answer, code)
    _raise_create_http_error(answer)


def read_query(answer: Answer, video_task_id: str, sent_video_url: str | None = None) -> VideoTask:
    """Read the answer to ``GET /v1/result/{id}``. No error in here says anything about the video itself.

    :param sent_video_url: the presenter's clip where it is known: an answer that repeats it names no result by it.
    :raises AuthenticationError: the key was refused.
    :raises VideoTaskNotFoundError: the API does not know the ID.
    :raises RateLimitError, QueryError: ask again later; also where the answer is about another task (F26).
    """
    payload = answer.json_object()
    other: str | None = None
    if 200 <= answer.http_status < 300 and payload is not None:
        task = _task_object(payload)
        other = _another_id(task, video_task_id)
        if other is None and _tells_status(task, payload):
            return _to_task(task, video_task_id, payload, sent_video_url)
    meaning = _meaning(_error_code(payload)) if answer.http_status < 300 else _HTTP_MEANING.get(answer.http_status)
    said = f"The query for video task {video_task_id} was answered with {answer.describe()}"
    match meaning:
        case "authentication":
            raise AuthenticationError(f"The API refused the key. {said}. Check the password field of the connection.")
        case "rate_limit":
            raise RateLimitError(f"The API asks to slow down. {said}.", answer.retry_after_seconds())
        case _ if other is not None:
            raise QueryError(f"{said}, which is about another task ({excerpt(other)}).", answer.retry_after_seconds())
        case "not_found":
            raise VideoTaskNotFoundError(f"The API does not know the task, or the base URL is wrong. {said}.")
        case _:
            raise QueryError(f"{said}, which tells nothing about the task.", answer.retry_after_seconds())


_Meaning = Literal["authentication", "balance", "rate_limit", "not_found", "refused"]

_HTTP_MEANING: Final[Mapping[int, _Meaning]] = {
    **dict.fromkeys((401, 403), "authentication"),
    402: "balance",
    429: "rate_limit",
    **dict.fromkeys((404, 410), "not_found"),
}
_NO_ERROR_CODES: Final = frozenset({"", "0", "200"})
_CODE_MEANING: Final[Mapping[str, _Meaning]] = {
    **dict.fromkeys(("204", "401", "403", "AuthenticationError"), "authentication"),
    "402": "balance",
    "429": "rate_limit",
    **dict.fromkeys(("-1", "404"), "not_found"),
}
_REFUSED_ON_CREATE: Final = frozenset({400, 404, 405, 413, 415, 422})
_REDIRECTS: Final = frozenset({301, 307, 308})
"""302 and 303 are left out: servers send them after a POST that they have carried out."""
_BALANCE_WORDS: Final = r"(?i)余额|欠费|充值|arrears|(?<!im)balance(?![dr])|insufficient.?(?:credit|fund|quota)"
_MILLISECONDS_FROM: Final = 1e12
_DOCUMENTED: Final = ("id", "object", "created", "model", "status", "video_url", "md5", "error", *URL_ALIASES)
_ID_OUTSIDE: Final = "id_outside_data"
"""The name in ``raw`` of an ID that was not taken: the one inside ``data`` was."""
_MOST_SHOWN: Final = 5
"""IDs beside the first one that an error names."""


def _raise_create_without_id(answer: Answer, code: str | None) -> NoReturn:
    if code is None:
        raise _unknown(answer, "it carries neither a task ID nor an error code")
    if holds_data(answer):
        raise _unknown(answer, "it holds data beside the error code, which can name a task")
    said = f"The API did not accept the video: {answer.describe()}."
    match _meaning(code):
        case "authentication":
            raise _key_refused(said)
        case "rate_limit":
            raise RateLimitError(said, answer.retry_after_seconds())
        case "balance":
            raise InsufficientBalanceError(said)
        case _:
            raise _refused(answer, said + " The same input would be refused again; change it.")


def _raise_create_http_error(answer: Answer) -> NoReturn:
    said = f"The API did not accept the video: {answer.describe()}."
    match _HTTP_MEANING.get(answer.http_status):
        case "authentication":
            raise _key_refused(said)
        case "balance":
            raise InsufficientBalanceError(said)
        case "rate_limit":
            raise RateLimitError(said, answer.retry_after_seconds())
    if answer.http_status == 404:
        raise RequestRefusedError(
            said + " There is no such path: the host field of the connection (base URL) is wrong."
        )
    if answer.http_status in _REDIRECTS:
        raise RequestRefusedError(
            f"{said} It redirects to {answer.target()}, and the key is never sent after a redirect:"
            " put the right base URL into the host field of the connection."
        )
    if answer.http_status in _REFUSED_ON_CREATE:
        raise _refused(answer, said)
    raise _unknown(answer, "it does not prove that nothing was accepted")


def _key_refused(said: str) -> AuthenticationError:
    return AuthenticationError(f"{said} It refused the key: check the password field (API key) of the connection.")


def _refused(answer: Answer, said: str) -> DigitalHumanError:
    # Nothing was accepted either way: the words only choose how the refusal is called (contract F8).
    kind = InsufficientBalanceError if re.search(_BALANCE_WORDS, answer.text()) else RequestRefusedError
    return kind(said)


def _unknown(answer: Answer, why: str, *named: str) -> SubmissionUnknownError:
    return unknown_with_ids(
        f"It is not known whether the video was accepted and charged: the answer is {answer.describe()}, and {why}.",
        answer,
        *named,
    )


def unknown_with_ids(message: str, answer: Answer | None, *named: str) -> SubmissionUnknownError:
    """Return the error of a create whose outcome is unknown, with every ID that ``answer`` can name a task by.

    :param answer: what came, be it broken; None if nothing did.
    :param named: those IDs in there that are known already.
    """
    first, *others = dict.fromkeys((*named, *(possible_ids(answer) if answer else ()))) or (None,)
    if others:
        message = f"{message} It also holds {', '.join(excerpt(str(other)) for other in others[:_MOST_SHOWN])}."
    return SubmissionUnknownError(message, video_task_id=first)


def _task_object(payload: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return the object that describes the task: the one with the ID, inside ``data`` or the whole.

    Of two IDs the one inside ``data`` is taken, unless only the other one has a status beside it.
    """
    payload = payload or {}
    inner = payload.get("data")
    if not isinstance(inner, dict):
        return payload
    if _task_id(payload) is not None:
        is_task = _status_word(payload) in _VOCABULARY and _status_word(inner) is None
        return payload if is_task or _task_id(inner) is None else inner
    return inner if _task_id(inner) is not None or _status_word(inner) is not None else payload


def _kept(task: Mapping[str, Any], payload: Mapping[str, Any] | None, size: int) -> Mapping[str, Any]:
    """Return what is kept of an accepted task: not more than goes into XCom, and an ID outside ``data`` with it.

    :param size: bytes of the answer.
    """
    kept = task if size <= MAX_KEPT else {name: task[name] for name in _DOCUMENTED if name in task}
    outside = _task_id(payload or {})
    return kept if outside in (None, _task_id(task)) else {**kept, _ID_OUTSIDE: outside}


def _task_id(task: Mapping[str, Any]) -> str | None:
    value = task.get("id")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if abs(value) < 10**40 else None
    return value if isinstance(value, str) and value.strip() else None


def _another_id(task: Mapping[str, Any], video_task_id: str) -> str | None:
    """Return the ID that ``task`` names, if it is not the one that was asked for."""
    named = _task_id(task)
    return None if named is None or named.strip() == video_task_id.strip() else named


def _status_word(task: Mapping[str, Any]) -> str | None:
    value = task.get("status")
    return value.strip().lower() or None if isinstance(value, str) else None


def _tells_status(task: Mapping[str, Any], payload: Mapping[str, Any]) -> bool:
    status = _status_word(task)
    if _task_id(task) is not None:
        return status is not None
    # Without the ID only a word that costs nothing is believed: an error page must never look like a failed task.
    return status in _VOCABULARY - _FAILED and _error_code(payload) is None


def _error_code(payload: Mapping[str, Any] | None) -> str | None:
    """Return the code that says what went wrong; None where there is none, or one that says that nothing did."""
    payload = payload or {}
    code = payload.get("code")
    error = payload.get("error")
    if code is None and isinstance(error, dict):
        code = error.get("code")
    if isinstance(code, bool) or not isinstance(code, int | str):
        return None
    text = str(code).strip() if isinstance(code, str) or abs(code) < 10**40 else None
    return None if text is None or text in _NO_ERROR_CODES else text


def _meaning(code: str | None) -> _Meaning | None:
    return None if code is None else _CODE_MEANING.get(code, "refused")


def _to_task(
    task: Mapping[str, Any], task_id: str, payload: Mapping[str, Any] | None, sent_video_url: str | None = None
) -> VideoTask:
    return VideoTask(
        id=task_id,
        status=_status_word(task) or TaskStatus.QUEUED,
        object=_text(task.get("object")),
        created=_moment(task.get("created")),
        model=_text(task.get("model")),
        video_url=_result_url(task, sent_video_url),
        md5=_md5(task.get("md5")),
        error=_error_text(task.get("error")) or _reason_beside(task, payload),
        raw=task,
    )


def _result_url(task: Mapping[str, Any], sent_video_url: str | None) -> str | None:
    """Return where the result lies; ``videoUrl`` is the request's field as well, so it can be the presenter's clip."""
    for key in ("video_url", *URL_ALIASES):
        url = _text(task.get(key))
        repeats_request = key == "videoUrl" and _text(task.get("audioUrl")) is not None
        if url is not None and not repeats_request and not is_same_file(url, sent_video_url):
            return url
    return None


def is_same_file(url: str | None, sent_video_url: str | None) -> bool:
    """Whether ``url`` is the clip that was sent, however its query string was signed."""
    if url is None or sent_video_url is None:
        return False
    return url.strip().partition("?")[0] == sent_video_url.strip().partition("?")[0]


def _reason_beside(task: Mapping[str, Any], payload: Mapping[str, Any] | None) -> str | None:
    """Return why a task has failed that has no ``error``: the words beside it, unless a code says that all is well."""
    if _status_word(task) not in _FAILED:
        return None
    for place in (task, payload or {}):
        if "code" not in place or _error_code(place) is not None:
            reason = _error_text(place.get("msg")) or _error_text(place.get("message"))
            if reason:
                return reason
    return None


def _text(value: Any) -> str | None:
    return value.strip() or None if isinstance(value, str) else None


def _md5(value: Any) -> str | None:
    text = _text(value)
    return text.lower() if text else None


def _error_text(value: Any) -> str | None:
    if isinstance(value, dict):
        parts = [str(value[key]) for key in ("code", "message", "type") if value.get(key) not in (None, "")]
        return excerpt(": ".join(parts) or json.dumps(value, ensure_ascii=False)) if value else None
    if value in (None, "", False, [], 0):
        return None
    return excerpt(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)) or None


def _moment(value: Any) -> pendulum.DateTime | None:
    """Read Unix seconds, or milliseconds above 1e12; anything else is no moment."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value)
        seconds = seconds / 1000 if seconds > _MILLISECONDS_FROM else seconds
        return pendulum.DateTime.fromtimestamp(seconds, pendulum.UTC)
    except (ValueError, OverflowError, OSError):
        return None
