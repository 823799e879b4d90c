"""Plays a fault: gives the answer that stands in for the normal one, or changes the normal one."""

import gzip
import secrets
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from airflow_provider_digitalhuman.sandbox import answers
from airflow_provider_digitalhuman.sandbox.faults import Fault
from airflow_provider_digitalhuman.sandbox.wire import CutAnswer, DrippingAnswer, leaves_within

ELSEWHERE = "/sandbox/elsewhere"
"""Where redirects lead to: a place that has no use for a key."""


async def held_up(fault: Fault | None, request: Request) -> Response | None:
    """Hang, if the fault says so; an answer if that was the end of it, None to go on as normal."""
    if fault is None or fault.name != "hang":
        return None
    if await leaves_within(request.receive, fault.options["seconds"]) or fault.options["then"] == "close":
        return CutAnswer()
    return None


def instead(fault: Fault | None, request: Request, normal: dict[str, Any] | None = None) -> Response | None:
    """The answer that stands in for the normal one; None if the fault leaves the normal one.

    :param normal: the normal answer, where there is one already.
    """
    if fault is None:
        return None
    options = fault.options
    match fault.name:
        case "reset":
            return CutAnswer(reset=True)
        case "close":
            return CutAnswer()
        case "http_status":
            return _http_status(options["status"], options["body"], options["retry_after"])
        case "spring_error":
            return answers.spring_error(options["status"], request.scope["path"])
        case "no_handler":
            return answers.no_handler(request.method, request.scope["path"])
        case "redirect":
            location = options["location"] or ELSEWHERE
            return Response(status_code=options["status"], headers={"location": location})
        case "truncated":
            body = bytes(answers.json_answer(normal or {"id": "cut-off", "object": "video", "status": "queued"}).body)
            head = {"content-type": "application/json", "content-length": str(len(body))}
            return CutAnswer(body[: len(body) // 2], head=(200, head))
        case "invalid_json":
            return Response('{"id": "broken", "status": queued', media_type="application/json")
        case "empty_answer":
            return Response(status_code=200)
        case "html_page":
            return answers.html_answer(200, "Welcome")
        case "json_array":
            return answers.json_answer(["queued"])
        case "custom":
            # Encoded here: Starlette would fail on a lone surrogate. These two statuses cannot have a body.
            body = b"" if options["status"] in (204, 304) else options["text"].encode("utf-8", "replace")
            return Response(body, options["status"], media_type=options["content_type"])
        case _:
            return _refusal(fault, normal)


def _refusal(fault: Fault, normal: dict[str, Any] | None) -> Response | None:
    options = fault.options
    match fault.name:
        case "login_failed":
            return answers.json_answer(answers.LOGIN_FAILED)
        case "unauthorized":
            return answers.unauthorized(options["status"])
        case "payment_required":
            return answers.json_answer({"code": 402, "msg": "余额不足，请充值"}, 402)
        case "no_balance" | "error_code":
            return answers.json_answer({"code": options["code"], "msg": options["msg"], "data": None})
        case "rate_limited":
            return _http_status(429, "json", options["retry_after"])
        case "other_id_name":
            named = {options["field"]: (normal or {}).get("id", "task-of-somebody")}
            content = {"code": options["code"], "msg": "success", "data": named}
            return answers.json_answer(content, options["status"])
        case "broken_with_id":
            return _broken_with_id(options["how"], normal or {})
        case "no_id":
            return answers.json_answer({key: value for key, value in (normal or {}).items() if key != "id"})
        case "unknown_id":
            return answers.json_answer(answers.UNKNOWN_ID)
        case _:
            return None


def _broken_with_id(how: str, normal: dict[str, Any]) -> Response:
    content = {"msg": "x" * 400, **normal, "trace": secrets.token_hex(4000)}
    if how == "http_500":
        return answers.json_answer(content, 500)
    body = bytes(answers.json_answer(content).body)
    head = {"content-type": "application/json", "content-length": str(len(body) + 1000)}
    if how == "gzip":
        body = gzip.compress(body)[:-1000]
        head["content-encoding"] = "gzip"
    return CutAnswer(body, head=(200, head))


def _http_status(status: int, body: str, retry_after: str | None) -> Response:
    match body:
        case "html":
            answer = answers.html_answer(status)
        case "empty":
            answer = Response(status_code=status)
        case "json":
            answer = answers.json_answer({"code": status, "msg": answers.phrase(status)}, status)
        case _:
            answer = Response(answers.phrase(status), status, media_type="text/plain")
    if retry_after is not None:
        answer.headers["retry-after"] = retry_after
    return answer


def reshaped(
    fault: Fault | None, task: dict[str, Any], expired_url: str = "", sent: Mapping[str, Any] | None = None
) -> Response:
    """The task's JSON as an answer, in the form that the fault asks for.

    :param sent: the body of the create.
    """
    if fault is None:
        return answers.json_answer(task)
    options = fault.options
    content = dict(task)
    match fault.name:
        case "envelope":
            content = {"code": options["code"], "msg": options["msg"], "data": content}
        case "with_code":
            content["code"] = options["code"]
        case "created_in_ms":
            content["created"] *= 1000
        case "other_model":
            content["model"] = "digitalHuman-2"
        case "status_word":
            content["status"] = options["word"]
        case "completed_without_url":
            content["video_url"] = None
        case "url_field":
            content[options["field"]] = content.pop("video_url")
        case "another_task":
            url = "http://127.0.0.1:1/video-of-another-task.mp4"
            content |= {"id": "another-task", "status": options["word"], "video_url": url, "error": "Not Found"}
        case "repeats_request":
            _repeat(content, sent or {}, options["field"])
        case "error_value":
            content["error"] = options["value"]
        case "md5":
            _change_md5(content, options["form"])
        case "expired_url":
            content["video_url"] = expired_url
    answer = answers.json_answer(content)
    return DrippingAnswer(answer, options["seconds"]) if fault.name == "slow" else answer


def _repeat(content: dict[str, Any], sent: Mapping[str, Any], field: str) -> None:
    del content["video_url"]
    content[field] = sent.get("videoUrl")
    if field == "videoUrl":
        content["audioUrl"] = sent.get("audioUrl")


def _change_md5(content: dict[str, Any], form: str) -> None:
    match form:
        case "missing":
            del content["md5"]
        case "wrong":
            content["md5"] = "0" * 32
        case "uppercase":
            content["md5"] = content["md5"].upper()
        case _:
            content["md5"] = "not-an-md5"
