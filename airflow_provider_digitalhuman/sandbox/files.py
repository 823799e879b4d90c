"""Serves finished videos from URLs that expire, and the sample media."""

import re
import time
from pathlib import Path
from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from airflow_provider_digitalhuman.sandbox import answers
from airflow_provider_digitalhuman.sandbox.faults import Fault
from airflow_provider_digitalhuman.sandbox.playing import held_up, instead
from airflow_provider_digitalhuman.sandbox.state import sandbox_of
from airflow_provider_digitalhuman.sandbox.store import Task
from airflow_provider_digitalhuman.sandbox.wire import ChunkedAnswer, CutAnswer, DrippingAnswer

MEDIA: Final = Path(__file__).parent / "media"
SAMPLES: Final = {"speech.m4a": "audio/mp4", "presenter.mp4": "video/mp4"}
_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_EXPIRED: Final = "<Error><Code>AccessDenied</Code><Message>Request has expired.</Message></Error>"

router = APIRouter()


@router.api_route("/files/{name}", methods=["GET", "HEAD"], response_class=Response)
async def download(request: Request, name: str) -> Response:
    """Fetch a finished video; no key is needed, and none should be sent."""
    sandbox = sandbox_of(request)
    if "authorization" in request.headers:
        sandbox.counters.key_leaked_to_files += 1
    if request.method == "GET":
        sandbox.counters.downloads += 1
    token = name.removesuffix(".mp4")
    task = sandbox.store.task_of_token(token)
    if task is None or task.film_md5 is None:
        return Response("<Error><Code>NoSuchKey</Code></Error>", 404, media_type="application/xml")
    fault = sandbox.faults.pick("download", f"{name}\n{task.id}\n{task.body['audioUrl']}\n{task.body['videoUrl']}")
    if fault is not None and fault.name == "redirect" and fault.options["location"] is None:
        return Response(status_code=fault.options["status"], headers={"location": f"/files/{name}?moved=1"})
    answer = await held_up(fault, request) or instead(fault, request)
    if answer is not None:
        return answer
    if task.urls[token] <= time.time():
        return Response(_EXPIRED, 403, media_type="application/xml")
    return _played(fault, _serve(request, sandbox.studio.path(task.film_md5), task, fault))


@router.api_route("/sandbox/media/{name}", methods=["GET", "HEAD"], response_class=Response)
async def sample(request: Request, name: str) -> Response:
    """Fetch one of the sample media: speech.m4a or presenter.mp4."""
    if name not in SAMPLES:
        return answers.no_handler(request.method, request.scope["path"])
    return Response((MEDIA / name).read_bytes(), media_type=SAMPLES[name])


def _serve(request: Request, path: Path, task: Task, fault: Fault | None) -> Response:
    content = path.read_bytes()
    headers = {"etag": f'"{task.film_md5}"', "accept-ranges": "bytes"}
    if fault is not None and fault.name == "no_range":
        return Response(content, headers={"etag": headers["etag"]}, media_type="video/mp4")
    if fault is not None and fault.name == "wrong_bytes":
        middle = len(content) // 2
        content = (
            content[:middle] + bytes(byte ^ 0xFF for byte in content[middle : middle + 64]) + content[middle + 64 :]
        )
    wanted = _range(request, headers["etag"], len(content))
    if wanted is None:
        return Response(content, headers=headers, media_type="video/mp4")
    first, last = wanted
    if first >= len(content) or first > last:
        return Response(status_code=416, headers={"content-range": f"bytes */{len(content)}"})
    headers["content-range"] = f"bytes {first}-{last}/{len(content)}"
    return Response(content[first : last + 1], 206, headers, media_type="video/mp4")


def _range(request: Request, etag: str, size: int) -> tuple[int, int] | None:
    """First and last byte of a single range; None where the whole file is the answer."""
    if request.headers.get("if-range", etag) != etag:
        return None
    match = _RANGE.fullmatch(request.headers.get("range", "").strip())
    if match is None or match[0] == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        return (max(0, size - int(last)), size - 1) if int(last) else (size, size)
    if last and int(last) < int(first):
        return None
    return int(first), min(int(last), size - 1) if last else size - 1


def _played(fault: Fault | None, answer: Response) -> Response:
    if fault is None:
        return answer
    body = bytes(answer.body)
    match fault.name:
        case "slow":
            return DrippingAnswer(answer, fault.options["seconds"])
        case "no_content_length":
            return ChunkedAnswer(answer)
        case "cut_off":
            sent = len(body) // 2 if fault.options["bytes"] is None else fault.options["bytes"]
            return CutAnswer(body[:sent], head=_head(answer, len(body)), reset=fault.options["how"] == "reset")
        case "wrong_content_length":
            length = max(0, len(body) + fault.options["delta"])
            return CutAnswer(body, head=_head(answer, length))
        case _:
            return answer


def _head(answer: Response, length: int) -> tuple[int, dict[str, str]]:
    return answer.status_code, {**answer.headers, "content-length": str(length)}
