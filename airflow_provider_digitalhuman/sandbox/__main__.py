"""The command ``digitalhuman-sandbox``."""

import argparse
import signal
import socket
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

_EXTRA = 'The sandbox needs its extra: pip install "airflow-provider-digitalhuman[sandbox]"'


def main(argv: Sequence[str] | None = None) -> int:
    """Run the server until SIGTERM or SIGINT; the exit code."""
    options = _parse(argv)
    try:
        from airflow_provider_digitalhuman.sandbox import server
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("airflow_provider_digitalhuman"):
            raise
        print(f"{_EXTRA} ({error.name} is missing)", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    try:
        listener = _listen(options.host, options.port)
    except OSError as error:
        print(f"Cannot listen on {options.host} port {options.port}: {error.strerror or error}", file=sys.stderr)
        return 1
    with listener, tempfile.TemporaryDirectory(prefix="digitalhuman-sandbox-", ignore_cleanup_errors=True) as folder:
        try:
            state_dir = Path(options.state_dir or folder).resolve()
            state_dir.mkdir(parents=True, exist_ok=True)
            return server.serve(
                listener,
                server.Settings(
                    state_dir=state_dir,
                    api_key=options.api_key,
                    processing_seconds=options.processing_seconds,
                    url_ttl_seconds=options.url_ttl_seconds,
                ),
                certificate=options.ssl_certfile,
                private_key=options.ssl_keyfile,
            )
        except OSError as error:
            print(f"The sandbox cannot start: {error}", file=sys.stderr)
            return 1


def _end(number: int, frame: FrameType | None) -> None:
    """uvicorn raises its signals again after its own orderly end; this lets the temporary folder be removed."""
    raise SystemExit(0)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=2048)
    # Inherited by the connections; without it head and body of an answer arrive 40 ms apart.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="digitalhuman-sandbox",
        description="A stand-in of the DigitalHuman API on this machine: no key, no charge, real MP4 files.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=8099, help="port, 0 for any free one (default: %(default)s)")
    parser.add_argument("--api-key", default="sandbox-key", help="the key that is accepted (default: %(default)s)")
    parser.add_argument(
        "--processing-seconds", type=_seconds, default=5.0, help="how long a video takes (default: %(default)s)"
    )
    parser.add_argument(
        "--url-ttl-seconds", type=_seconds, default=86_400.0, help="how long a file URL lives (default: %(default)s)"
    )
    parser.add_argument("--state-dir", help="keep tasks and videos here (default: a temporary folder, removed at exit)")
    parser.add_argument("--ssl-certfile", help="serve https with this certificate (PEM)")
    parser.add_argument("--ssl-keyfile", help="private key of the certificate (PEM)")
    options = parser.parse_args(argv)
    if options.ssl_keyfile and not options.ssl_certfile:
        parser.error("--ssl-keyfile needs --ssl-certfile")
    return options


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 65_535:
        raise argparse.ArgumentTypeError(f"{text} is not a port: it must be from 0 to 65535")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1e9:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds")
    return value


if __name__ == "__main__":
    sys.exit(main())
