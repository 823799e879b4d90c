"""The sandbox's own endpoints below /sandbox: ledger, faults, reset. They need no key."""

import time
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from airflow_provider_digitalhuman.sandbox import answers
from airflow_provider_digitalhuman.sandbox.body import parse_json, read_body
from airflow_provider_digitalhuman.sandbox.faults import InvalidFaultError
from airflow_provider_digitalhuman.sandbox.openapi import FAULT_BODY
from airflow_provider_digitalhuman.sandbox.playing import ELSEWHERE
from airflow_provider_digitalhuman.sandbox.state import root_of, sandbox_of
from airflow_provider_digitalhuman.sandbox.store import Task

router = APIRouter()


@router.get("/sandbox/ledger", response_class=Response)
async def ledger(request: Request) -> Response:
    """What clients have asked, and what it would have cost."""
    sandbox = sandbox_of(request)
    tasks = sandbox.store.tasks.values()
    return answers.json_answer(
        {
            "posts": len(sandbox.store.requests),
            "accepted": len(tasks),
            # Worst case: whether the vendor charges for a task that fails is not known.
            "charged": len(tasks),
            **asdict(sandbox.counters),
            "requests": [asdict(entry) for entry in sandbox.store.requests],
            "tasks": [_task(task, root_of(request)) for task in tasks],
        }
    )


def _task(task: Task, root: str) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "id": task.id,
        "status": task.status(time.time()),
        "created": task.created,
        "body": task.body,
        "charged": True,
        "amount": task.amount,
        "error": task.error,
        "md5": task.film_md5,
        "seconds": task.seconds,
    }
    if task.urls:
        entry["video_url"] = f"{root}/files/{list(task.urls)[-1]}.mp4"
    return entry


@router.post("/sandbox/reset", response_class=Response)
async def reset(request: Request) -> Response:
    """Forget tasks, requests, faults and counts."""
    sandbox_of(request).reset()
    return answers.json_answer({"reset": True})


@router.post("/sandbox/faults", openapi_extra=FAULT_BODY, response_class=Response)
async def add_fault(request: Request) -> Response:
    """Switch a fault on."""
    raw = await read_body(request)
    try:
        fault = sandbox_of(request).faults.add(parse_json((raw or b"").decode("utf-8", "replace")))
    except InvalidFaultError as error:
        return answers.json_answer({"error": str(error)}, 422)
    return answers.json_answer(fault.as_json(), 201)


@router.get("/sandbox/faults", response_class=Response)
async def list_faults(request: Request) -> Response:
    """All faults since the last clearing, and how often each was played."""
    return answers.json_answer({"faults": sandbox_of(request).faults.listed()})


@router.delete("/sandbox/faults", response_class=Response)
async def clear_faults(request: Request) -> Response:
    """Switch all faults off."""
    sandbox_of(request).faults.clear()
    return answers.json_answer({"faults": []})


@router.api_route(ELSEWHERE, methods=["GET", "POST", "PUT", "PATCH", "DELETE"], include_in_schema=False)
async def elsewhere(request: Request) -> Response:
    """Where a client arrives that follows a redirect."""
    counters = sandbox_of(request).counters
    counters.elsewhere += 1
    if "authorization" in request.headers:
        counters.key_leaked_elsewhere += 1
    return answers.json_answer({"msg": "elsewhere"})
