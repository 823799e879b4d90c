"""Runs the application with uvicorn."""

import socket

import uvicorn

from airflow_provider_digitalhuman.sandbox.api import BASE_PATH
from airflow_provider_digitalhuman.sandbox.app import create_app
from airflow_provider_digitalhuman.sandbox.state import Settings
from airflow_provider_digitalhuman.sandbox.wire import SandboxProtocol

__all__ = ["Settings", "serve"]

_KEEP_ALIVE_SECONDS = 75
"""Longer than a client waits between two queries."""


def serve(
    listener: socket.socket, settings: Settings, *, certificate: str | None = None, private_key: str | None = None
) -> int:
    """Serve until a signal comes; the exit code.

    :param certificate: path of a PEM file, for https.
    :param private_key: path of its private key.
    """
    config = uvicorn.Config(
        create_app(settings),
        loop="asyncio",
        http=SandboxProtocol,
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=2,
        ssl_certfile=certificate,
        ssl_keyfile=private_key,
    )
    config.load()
    server = _Server(config)
    server.run(sockets=[listener])
    return 0 if server.started else 1


class _Server(uvicorn.Server):
    """Says where it listens, as soon as it does."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or []:
            host, port = listener.getsockname()[:2]
            scheme = "https" if self.config.is_ssl else "http"
            address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            print(f"DigitalHuman sandbox listening on {scheme}://{address}{BASE_PATH}", flush=True)
