"""Any answer of the gateway, turned into a :class:`VideoTask` or into the one typed error that it means.

Order of reading (the contract's): HTTP status, JSON object, task ID, ``code``, ``status``. HTTP 200 alone says nothing,
and only a *string* is ever a task status: the server's own error page carries a numeric one. What each HTTP status and
each code means stands in :mod:`~airflow_provider_digitalhuman.api.meanings`.
"""

import json
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from airflow_provider_digitalhuman.api.answer import Answer
from airflow_provider_digitalhuman.api.glossary import speaks_of_balance
from airflow_provider_digitalhuman.api.meanings import (
    NO_ERROR,
    OnCreate,
    OnQuery,
    code_on_create,
    code_on_query,
    http_on_create,
    http_on_query,
)
from airflow_provider_digitalhuman.api.possible_ids import has_status, holds_data, may_name_task, possible_ids, task_ids
from airflow_provider_digitalhuman.api.redact import excerpt
from airflow_provider_digitalhuman.api.response import FAILED, URL_ALIASES, VOCABULARY, TaskStatus, VideoTask
from airflow_provider_digitalhuman.api.values import error_of, md5_of, moment_of, text_of
from airflow_provider_digitalhuman.exceptions import (
    NOT_KNOWN,
    AuthenticationError,
    DigitalHumanError,
    InsufficientBalanceError,
    QueryError,
    RateLimitError,
    RequestRefusedError,
    SubmissionUnknownError,
    VideoTaskNotFoundError,
)

LONGEST_KEPT: Final = 64 * 1024
"""Bytes of an answer that is kept as a whole, and so goes into XCom; of a longer one the known fields are kept."""
_LONGEST_VALUE: Final = 4096
"""Characters of a known field that is kept of such an answer."""
_ID_OUTSIDE: Final = "id_outside_data"
"""The name in ``raw`` of an ID that was not taken: the one inside ``data`` was."""
_KNOWN: Final = (
    *("id", "object", "created", "model", "status", "video_url", "md5", "error", *URL_ALIASES),
    *("progress", "actualDuration", "amount", _ID_OUTSIDE),
)
_MOST_SHOWN: Final = 5
"""IDs beside the first one that an error names."""


def read_create(answer: Answer, sent_video_url: str | None = None) -> VideoTask:
    """Read the answer to ``POST /v1/digitalHuman/videos``.

    :param sent_video_url: the presenter's clip where it is known: an answer that repeats it names no result by it.
    :raises AuthenticationError, InsufficientBalanceError, RateLimitError, RequestRefusedError: nothing was accepted.
    :raises SubmissionUnknownError: it is not known whether a video was accepted and charged.
    """
    payload = answer.json_object()
    task = _task_object(payload)
    task_id = _task_id(task)
    meaning, code = http_on_create(answer.http_status), None
    if meaning is OnCreate.BY_BODY:
        if task_id is not None:
            return _to_task(_with_other_id(task, payload), task_id, payload, len(answer.body), sent_video_url)
        code = _error_code(payload)
        meaning = code_on_create(code)
    # An id alone can be the request's, as some gateways put it into an error; but a rate limit allows another POST.
    if named := task_ids(answer, VOCABULARY, any_id=meaning is OnCreate.RATE_LIMIT):
        raise _unknown(answer, f"it names a video task ({named[0]}) although it is no acceptance", *named)
    if meaning is not OnCreate.UNKNOWN and has_status(answer, VOCABULARY - FAILED):
        raise _unknown(answer, "it gives the status of a video task, which may be an accepted one")
    if may_name_task(answer):
        raise _unknown(answer, "it may name a video task in a form that cannot be read", *possible_ids(answer))
    if code is not None and holds_data(answer):
        raise _unknown(answer, "it holds data beside the error code, which can name a video task")
    _raise_not_accepted(answer, meaning)


def read_query(answer: Answer, video_task_id: str, sent_video_url: str | None = None) -> VideoTask:
    """Read the answer to ``GET /v1/result/{id}``. No error in here says anything about the video itself.

    :param sent_video_url: the presenter's clip where it is known: an answer that repeats it names no result by it.
    :raises AuthenticationError: the key was refused.
    :raises VideoTaskNotFoundError: the API does not know the ID.
    :raises RateLimitError, QueryError: ask again later; also where the answer is about another task (F26).
    """
    payload = answer.json_object()
    meaning, other = http_on_query(answer.http_status), None
    if meaning is OnQuery.BY_BODY:
        if payload is not None:
            task = _task_object(payload)
            other = _another_id(task, video_task_id)
            if other is None and _has_status(task, payload):
                return _to_task(task, video_task_id, payload, len(answer.body), sent_video_url)
        meaning = code_on_query(_error_code(payload))
    said = f"The query for video task {video_task_id} was answered with {answer.describe()}"
    match meaning:
        case OnQuery.KEY_REFUSED:
            raise AuthenticationError(f"The API refused the key. {said}. Check the API key of the connection.")
        case OnQuery.RATE_LIMIT:
            raise RateLimitError(f"The API asks to slow down. {said}.", answer.retry_after_seconds())
        case _ if other is not None:
            raise QueryError(
                f"{said}, which is about another video task ({excerpt(other)}).", answer.retry_after_seconds()
            )
        case OnQuery.NOT_FOUND:
            raise VideoTaskNotFoundError(f"The API does not know the video task, or the Base URL is wrong. {said}.")
        case _:
            raise QueryError(f"{said}, which says nothing about the video task.", answer.retry_after_seconds())


def unknown_with_ids(message: str, answer: Answer | None, *named: str) -> SubmissionUnknownError:
    """Return the error of a create whose outcome is unknown, with every ID that ``answer`` can name a task by.

    :param answer: what came, be it broken; None if nothing did.
    :param named: those IDs in there that are known already.
    """
    first, *others = dict.fromkeys((*named, *(possible_ids(answer) if answer else ()))) or (None,)
    if others:
        message = f"{message} It also holds {', '.join(excerpt(str(other)) for other in others[:_MOST_SHOWN])}."
    return SubmissionUnknownError(message, video_task_id=first)


def is_same_file(url: str | None, sent_video_url: str | None) -> bool:
    """Whether ``url`` is the clip that was sent, however its query string was signed."""
    if url is None or sent_video_url is None:
        return False
    return url.strip().partition("?")[0] == sent_video_url.strip().partition("?")[0]


def _raise_not_accepted(answer: Answer, meaning: OnCreate) -> NoReturn:
    said = f"The API did not accept the video: {answer.describe()}."
    match meaning:
        case OnCreate.RATE_LIMIT:
            raise RateLimitError(said, answer.retry_after_seconds())
        case OnCreate.NO_SUCH_PATH:
            raise RequestRefusedError(f"{said} There is no such path: the Base URL of the connection is wrong.")
        case OnCreate.REDIRECT:
            raise RequestRefusedError(
                f"{said} It redirects to {answer.target()}, and the key is never sent after a redirect:"
                " correct the Base URL of the connection."
            )
        case OnCreate.KEY_REFUSED | OnCreate.NO_BALANCE | OnCreate.REFUSED:
            raise _refusal(answer, meaning, said)
    raise _unknown(
        answer,
        "it carries neither a video task ID nor an error code"
        if http_on_create(answer.http_status) is OnCreate.BY_BODY
        else "it does not prove that nothing was accepted",
    )


def _refusal(answer: Answer, meaning: OnCreate, said: str) -> DigitalHumanError:
    # Nothing was accepted in any case: the words only decide which error it is (contract F8).
    if meaning is OnCreate.NO_BALANCE or speaks_of_balance(answer.text()):
        return InsufficientBalanceError(
            f"{said} The account has no balance: top it up, then clear the task. Nothing was charged."
        )
    if meaning is OnCreate.KEY_REFUSED:
        return AuthenticationError(
            f"{said} It refused the key: check the API key of the connection. Nothing was charged."
        )
    return RequestRefusedError(f"{said} Nothing was charged. The same input would be refused again; change it.")


def _unknown(answer: Answer, why: str, *named: str) -> SubmissionUnknownError:
    return unknown_with_ids(
        f"{NOT_KNOWN}: the answer is {answer.describe()}, and {why}.",
        answer,
        *named,
    )


def _task_object(payload: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return the object that describes the task: the one with the ID, inside ``data`` or the whole.

    Of two IDs the one inside ``data`` is taken, unless only the other one has a status beside it.
    """
    payload = payload or {}
    inner = payload.get("data")
    if not isinstance(inner, dict):
        return payload
    if _task_id(payload) is not None:
        is_task = _status_word(payload) in VOCABULARY and _status_word(inner) is None
        return payload if is_task or _task_id(inner) is None else inner
    return inner if _task_id(inner) is not None or _status_word(inner) is not None else payload


def _task_id(task: Mapping[str, Any]) -> str | None:
    value = task.get("id")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value.strip() else None


def _another_id(task: Mapping[str, Any], video_task_id: str) -> str | None:
    """Return the ID that ``task`` names, if it is not the one that was asked for."""
    named = _task_id(task)
    return None if named is None or named.strip() == video_task_id.strip() else named


def _status_word(task: Mapping[str, Any]) -> str | None:
    value = task.get("status")
    return value.strip().lower() or None if isinstance(value, str) else None


def _has_status(task: Mapping[str, Any], payload: Mapping[str, Any]) -> bool:
    """Whether the answer says how the task stands."""
    status = _status_word(task)
    if _task_id(task) is not None:
        return status is not None
    # Without the ID only a word that costs nothing counts: an error page must never look like a failed task.
    return status in VOCABULARY - FAILED and _error_code(payload) is None


def _error_code(payload: Mapping[str, Any] | None) -> str | None:
    """Return the code that says what went wrong; None where there is none, or one that says that nothing did."""
    payload = payload or {}
    code = payload.get("code")
    error = payload.get("error")
    if code is None and isinstance(error, dict):
        code = error.get("code")
    if isinstance(code, bool) or not isinstance(code, int | str):
        return None
    text = str(code).strip()
    return None if text in NO_ERROR else text


def _to_task(
    task: Mapping[str, Any], task_id: str, payload: Mapping[str, Any] | None, size: int, sent_video_url: str | None
) -> VideoTask:
    return VideoTask(
        id=task_id,
        status=_status_word(task) or TaskStatus.QUEUED,
        object=text_of(task.get("object")),
        created=moment_of(task.get("created")),
        model=text_of(task.get("model")),
        video_url=_result_url(task, sent_video_url),
        md5=md5_of(task.get("md5")),
        error=error_of(task.get("error")) or _reason_beside(task, payload),
        raw=_kept(task, size),
    )


def _with_other_id(task: Mapping[str, Any], payload: Mapping[str, Any] | None) -> Mapping[str, Any]:
    outside = _task_id(payload or {})
    return task if outside in (None, _task_id(task)) else {**task, _ID_OUTSIDE: outside}


def _kept(task: Mapping[str, Any], size: int) -> Mapping[str, Any]:
    """Return what is kept of a task: not more than goes into XCom.

    :param size: bytes of the answer.
    """
    if size <= LONGEST_KEPT:
        return task
    return {name: task[name] for name in _KNOWN if name in task and len(json.dumps(task[name])) <= _LONGEST_VALUE}


def _result_url(task: Mapping[str, Any], sent_video_url: str | None) -> str | None:
    """Return where the result lies; ``videoUrl`` is the request's field as well, so it can be the presenter's clip."""
    for key in ("video_url", *URL_ALIASES):
        url = text_of(task.get(key))
        repeats_request = key == "videoUrl" and text_of(task.get("audioUrl")) is not None
        if url is not None and not repeats_request and not is_same_file(url, sent_video_url):
            return url
    return None


def _reason_beside(task: Mapping[str, Any], payload: Mapping[str, Any] | None) -> str | None:
    """Return why a task has failed that has no ``error``: the words beside it, unless a code says that all is well."""
    if _status_word(task) not in FAILED:
        return None
    for place in (task, payload or {}):
        if "code" not in place or _error_code(place) is not None:
            reason = error_of(place.get("msg")) or error_of(place.get("message"))
            if reason:
                return reason
    return None
