"""The bodies that the vendor's gateway answers with, and the error pages of what stands before it.

Where a body was seen or is documented, ``docs/sandbox.md`` says so; the rest is assumed.
"""

import datetime
import http
import json
from typing import Any, Final

from starlette.responses import Response

LOGIN_FAILED: Final = {"code": "204", "msg": "登录验证失败"}
UNKNOWN_ID: Final = {"code": -1, "data": None}
MEDIA_REFUSED: Final = {"code": 1001, "msg": "素材 URL 无法访问", "data": None}
HTML_PAGE: Final = "<!DOCTYPE html><html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"


def json_answer(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """JSON in UTF-8; a lone surrogate, which UTF-8 cannot hold, becomes a question mark."""
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    return Response(body, status, headers, media_type="application/json;charset=UTF-8")


def html_answer(status: int, title: str | None = None) -> Response:
    """A page as a proxy makes it."""
    return Response(HTML_PAGE.format(title=title or f"{status} {phrase(status)}"), status, media_type="text/html")


def spring_error(status: int, path: str) -> Response:
    """The error page of Spring Boot: its ``status`` is a number and no task status."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    return json_answer({"timestamp": now, "status": status, "error": phrase(status), "path": path}, status)


def no_handler(method: str, path: str) -> Response:
    """What the gateway says about a path that it does not know."""
    return json_answer({"message": f"No handler found for {method} {path}"}, 404)


def missing_parameter(name: str) -> Response:
    """What the gateway says when a parameter is not there."""
    return json_answer({"msg": f"缺少必填参数: {name}"})


def invalid_parameter(name: str) -> Response:
    """What the sandbox says about a parameter of the wrong type or value (assumed)."""
    return json_answer({"code": 400, "msg": f"参数错误: {name}"})


def unauthorized(status: int) -> Response:
    """A key refused further inside."""
    error = {"code": "AuthenticationError", "message": "The API key is not valid", "type": "Unauthorized"}
    return json_answer({"error": error}, status)


def phrase(status: int) -> str:
    """The words that belong to an HTTP status."""
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Error"
