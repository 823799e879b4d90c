"""Reads the body of a request within bounds."""

import json
from typing import Any, Final

from starlette.requests import Request

_MAX_BYTES: Final = 1024 * 1024
_MAX_DEPTH: Final = 32


async def read_body(request: Request) -> bytes | None:
    """The body; None if it is too large.

    :raises starlette.requests.ClientDisconnect: if the client leaves before its end.
    """
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size <= _MAX_BYTES:
            parts.append(part)
    return b"".join(parts) if size <= _MAX_BYTES else None


def parse_json(text: str) -> Any:
    """The JSON value; None if it is none, or nested deeper than anything that makes sense."""
    try:
        content = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return None
    level = [content]
    for _ in range(_MAX_DEPTH):
        level = [child for value in level for child in _children(value)]
        if not level:
            return content
    return None


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
