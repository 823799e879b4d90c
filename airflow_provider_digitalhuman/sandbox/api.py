"""The vendor's two endpoints: create and query."""

import json
import time
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from fastapi import APIRouter
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from airflow_provider_digitalhuman.api.endpoints import CREATE_PATH, DEFAULT_BASE_URL, RESULT_PATH
from airflow_provider_digitalhuman.sandbox import answers
from airflow_provider_digitalhuman.sandbox.body import parse_json, read_body
from airflow_provider_digitalhuman.sandbox.openapi import CREATE_BODY, TASK_ANSWER
from airflow_provider_digitalhuman.sandbox.playing import held_up, instead, reshaped
from airflow_provider_digitalhuman.sandbox.state import Sandbox, root_of, sandbox_of
from airflow_provider_digitalhuman.sandbox.store import CreateRequest, Task
from airflow_provider_digitalhuman.sandbox.wire import CutAnswer, NoAnswer

BASE_PATH: Final = urlsplit(DEFAULT_BASE_URL).path

router = APIRouter(prefix=BASE_PATH)


@router.post(CREATE_PATH, openapi_extra=CREATE_BODY, responses=TASK_ANSWER, response_class=Response)
async def create(request: Request) -> Response:
    """Submit a video."""
    sandbox = sandbox_of(request)
    entry = sandbox.store.new_request(authorized=_authorized(sandbox, request))
    try:
        answer = await _create(sandbox, request, entry)
    except ClientDisconnect:
        answer = NoAnswer()
    sandbox.store.save_request(entry)
    return answer


async def _create(sandbox: Sandbox, request: Request, entry: CreateRequest) -> Response:
    raw = await read_body(request)
    if raw is None:
        entry.outcome = "refused"
        return answers.spring_error(413, request.scope["path"])
    text = raw.decode("utf-8", "replace")
    content = parse_json(text)
    entry.body = text[:2000] if content is None else content

    before = sandbox.faults.pick("create", text, when="before")
    if before is not None:
        entry.fault, entry.when = before.name, before.when
        sandbox.store.save_request(entry)
        answer = await held_up(before, request) or instead(before, request)
        if answer is not None:
            entry.outcome = "dropped" if isinstance(answer, CutAnswer) else "refused"
            return answer

    refusal = _refusal(entry, request, content)
    if refusal is not None:
        entry.outcome = "refused"
        return refusal
    after = sandbox.faults.pick("create", text, when="after")
    task = sandbox.accept(_known_fields(content), text, after)
    entry.outcome, entry.video_task_id = "accepted", task.id
    if after is not None:
        entry.fault, entry.when = after.name, after.when
    sandbox.store.save_request(entry)  # before a hang, during which the server may be killed
    normal = _created(task)
    return await held_up(after, request) or instead(after, request, normal) or reshaped(after, normal)


@router.get(RESULT_PATH + "{video_task_id:path}", responses=TASK_ANSWER, response_class=Response)
async def query(request: Request, video_task_id: str) -> Response:
    """Ask for the state of a video."""
    sandbox = sandbox_of(request)
    sandbox.counters.queries += 1
    segment = _segment(request)
    if segment is None:
        return answers.no_handler(request.method, request.scope["path"])
    task = sandbox.store.tasks.get(segment)
    status = task.status(time.time()) if task is not None else ""
    subject = segment if task is None else f"{segment}\n{json.dumps(task.body, ensure_ascii=False)}"
    fault = sandbox.faults.pick("query", subject, completed=status == "completed")
    answer = await held_up(fault, request)
    if answer is not None:
        return answer
    if task is not None and fault is not None and fault.name == "hang":
        status = task.status(time.time())
    normal = _described(sandbox, task, status, root_of(request)) if task is not None else None
    answer = instead(fault, request, normal)
    if answer is not None:
        return answer
    if not _authorized(sandbox, request):
        return answers.json_answer(answers.LOGIN_FAILED)
    if task is None or normal is None:
        return answers.json_answer(answers.UNKNOWN_ID)
    expired = fault is not None and fault.name == "expired_url"
    return reshaped(fault, normal, sandbox.expired_url_of(task, root_of(request)) if expired else "", task.body)


def _authorized(sandbox: Sandbox, request: Request) -> bool:
    return request.headers.get("authorization") == f"Bearer {sandbox.settings.api_key}"


def _segment(request: Request) -> str | None:
    """The task ID: one segment of the path as it was sent, so that an ID with a bare slash is not one."""
    raw = request.scope["raw_path"].decode("latin-1")
    segment = raw.removeprefix(BASE_PATH + RESULT_PATH)
    return None if not segment or "/" in segment else unquote(segment)


def _refusal(entry: CreateRequest, request: Request, content: Any) -> Response | None:
    """The answer to a request that cannot be accepted."""
    if not entry.authorized:
        return answers.json_answer(answers.LOGIN_FAILED)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        return answers.spring_error(415, request.scope["path"])
    if not isinstance(content, dict):
        return answers.spring_error(400, request.scope["path"])
    for name in ("model", "audioUrl", "videoUrl"):
        value = content.get(name)
        if value is None or value == "":
            return answers.missing_parameter(name)
        if not isinstance(value, str):
            return answers.invalid_parameter(name)
    for name, allowed in (("modelVersion", (1, 2)), ("sideFace", (0, 1)), ("tiltedFace", (0, 1))):
        value = content.get(name)
        if value is not None and (type(value) is not int or value not in allowed):
            return answers.invalid_parameter(name)
    if not all(_is_network_url(content[name]) for name in ("audioUrl", "videoUrl")):
        return answers.json_answer(answers.MEDIA_REFUSED)
    return None


def _is_network_url(url: str) -> bool:
    """As the vendor's page says: a network URL, not a local path, no Chinese characters in it."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and url.isascii() and url.isprintable()
    except ValueError:
        return False


def _known_fields(content: dict[str, Any]) -> dict[str, Any]:
    names = ("model", "audioUrl", "videoUrl", "modelVersion", "sideFace", "tiltedFace")
    return {name: content[name] for name in names if name in content}


def _created(task: Task) -> dict[str, Any]:
    return {
        "id": task.id,
        "object": "video",
        "created": int(task.created),
        "model": task.body["model"],
        "status": "failed" if task.ending == "failed" and task.takes == 0 else "queued",
        "error": task.error if task.takes == 0 else None,
    }


def _described(sandbox: Sandbox, task: Task, status: str, root: str) -> dict[str, Any]:
    ended = status == task.ending
    answer = {**_created(task), "status": status, "error": task.error if ended else None}
    if status == "completed":
        answer |= {
            "video_url": sandbox.url_of(task, root),
            "md5": task.film_md5,
            "actualDuration": round(task.seconds or 0.0, 3),
            "amount": task.amount,
        }
    return answer
