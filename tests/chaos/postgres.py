"""A PostgreSQL of its own in a temporary folder, on a free loopback port; ended by its process number."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

from tools.airflow_cluster import free_ports

START_SECONDS = 60.0
STOP_SECONDS = 20.0


class Postgres(NamedTuple):
    """A running server.

    :param url: for SQLAlchemy.
    :param pid: of the first process.
    """

    url: str
    dsn: str
    pid: int

    def pause(self) -> None:
        """Freeze the server: nothing is refused, nothing is answered."""
        for process in self._processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()

    def resume(self) -> None:
        """Undo :meth:`pause`."""
        for process in self._processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()

    def _processes(self) -> list[psutil.Process]:
        first = psutil.Process(self.pid)
        return [first, *first.children(recursive=True)]


def binaries() -> Path | None:
    """Where initdb and postgres are; installed with apt-get if this may be done."""
    if (found := _find()) is None and os.geteuid() == 0 and shutil.which("apt-get"):
        command = ["apt-get", "install", "-y", "--no-install-recommends", "postgresql"]
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        with contextlib.suppress(subprocess.SubprocessError):
            subprocess.run(command, env=quiet, stdin=subprocess.DEVNULL, timeout=300, check=True)
        found = _find()
    return found


def _find() -> Path | None:
    if on_path := shutil.which("initdb"):
        return Path(on_path).resolve().parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


@contextlib.contextmanager
def running_postgres(folder: Path, programs: Path) -> Iterator[Postgres]:
    """Start a server whose data is in ``folder``, which is made in a temporary folder; it is ended at the end."""
    # The server refuses to run as root.
    user = "postgres" if os.geteuid() == 0 else None
    folder.mkdir(parents=True)
    if user:
        shutil.chown(folder, user)
        folder.parent.chmod(0o711)  # a temporary folder is its owner's alone
    data, (port,) = folder / "data", free_ports(1)
    name = pwd.getpwuid(os.geteuid()).pw_name
    initdb: list[str | Path] = [
        programs / "initdb",
        "-D",
        data,
        "-U",
        name,
        "--auth=trust",
        "--encoding=UTF8",
        "--no-sync",
    ]
    subprocess.run(
        initdb, user=user, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=True
    )
    options = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": str(folder),
        "fsync": "off",
        "max_connections": "200",
    }
    server: list[str | Path] = [programs / "postgres", "-D", data]
    server += [word for pair in options.items() for word in ("-c", "=".join(pair))]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(server, user=user, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        address = f"{name}@127.0.0.1:{port}/postgres"
        # The driver is named: SQLAlchemy 2.1 takes another one by itself.
        yield _wait(
            Postgres(f"postgresql+psycopg2://{address}", f"postgresql://{address}", process.pid), folder / "log"
        )
    finally:
        process.send_signal(signal.SIGCONT)
        process.send_signal(signal.SIGINT)  # fast shutdown
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_SECONDS)


def _wait(server: Postgres, log: Path) -> Postgres:
    import psycopg2  # type: ignore[import-untyped]

    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            psycopg2.connect(server.dsn).close()
            return server
        except psycopg2.OperationalError as error:
            if time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: {error}\n{log.read_text()[-2000:]}") from error
            time.sleep(0.2)
