"""Puts the endpoints together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from airflow_provider_digitalhuman import __version__
from airflow_provider_digitalhuman.sandbox import admin, answers, api, files
from airflow_provider_digitalhuman.sandbox.state import Sandbox, Settings, sandbox_of
from airflow_provider_digitalhuman.sandbox.wire import connection_of


def create_app(settings: Settings) -> FastAPI:
    """The application; it is served by uvicorn with :class:`.wire.SandboxProtocol`."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        sandbox = Sandbox(settings)
        sandbox.start()
        yield {"sandbox": sandbox}
        sandbox.stop()

    app = FastAPI(
        title="DigitalHuman sandbox",
        version=__version__,
        lifespan=lifespan,
        openapi_url="/sandbox/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.include_router(api.router)
    app.include_router(files.router)
    app.include_router(admin.router)
    app.add_exception_handler(HTTPException, _not_routed)
    app.add_middleware(_CountApiConnections)
    return app


async def _not_routed(request: Request, error: Exception) -> Response:
    path = request.scope["path"]
    if isinstance(error, HTTPException) and error.status_code == 405:
        return answers.spring_error(405, path)
    sandbox_of(request).counters.unknown_paths += 1
    return answers.no_handler(request.method, path)


class _CountApiConnections:
    """Counts the TCP connections that carried a request to the API: clients should keep theirs alive."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(api.BASE_PATH):
            connection = connection_of(scope)
            if not connection.carried_api_request:
                connection.carried_api_request = True
                scope["state"]["sandbox"].counters.api_connections += 1
        await self._app(scope, receive, send)
