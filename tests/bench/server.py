"""Starts the stub server, steers it, and ends it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Server:
    """A running stub.

    :param bundle: CA file that trusts it beside all public ones, as a real one does; None without TLS.
    """

    port: int
    steering: int
    bundle: str | None

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return f"{'https' if self.bundle else 'http'}://127.0.0.1:{self.port}"

    def do(self, what: str, **how: Any) -> dict[str, Any]:
        """Steer the server; what it has counted so far comes back."""
        return steer(self.steering, what, **how)


def steer(port: int, what: str, **how: Any) -> dict[str, Any]:
    """Send one line to a stub's steering port."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection, connection.makefile("rw") as file:
        file.write(json.dumps({"what": what, **how}) + "\n")
        file.flush()
        return dict(json.loads(file.readline()))


@contextmanager
def running_server(folder: Path, *, tls: bool) -> Iterator[Server]:
    """Start a stub in a process of its own; ``folder`` takes its certificate."""
    certificate = _certificate(folder) if tls else ()
    command = [sys.executable, "-m", "tests.bench.stub", *map(str, certificate)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port, steering = (int(port) for port in process.stdout.readline().split())
            yield Server(port, steering, _bundle(folder) if tls else None)
        finally:
            process.kill()


def _certificate(folder: Path) -> tuple[Path, Path]:
    certificate, key = folder / "stub.pem", folder / "stub.key"
    if not certificate.exists():
        made = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1"
        name = ["-addext", "subjectAltName=IP:127.0.0.1"]
        command = ["openssl", *made.split(), *name, "-out", str(certificate), "-keyout", str(key)]
        subprocess.run(command, check=True, capture_output=True)
    return certificate, key


def _bundle(folder: Path) -> str:
    import certifi

    bundle = folder / "bundle.pem"
    bundle.write_text(Path(certifi.where()).read_text() + (folder / "stub.pem").read_text())
    return str(bundle)
