"""A sandbox for your tests: ``with running_sandbox() as sandbox: ...``."""

import json
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["SandboxClient", "running_sandbox"]

_START_SECONDS = 60.0
_STOP_SECONDS = 10.0


class SandboxClient:
    """Steers a running sandbox, and shows what it has counted.

    :param base_url: for the connection's host, such as ``http://127.0.0.1:8099/kyyReactApiServer``.
    :param api_key: for the connection's password.
    :param process: the server's process; None if it was not started from here.
    """

    def __init__(
        self, base_url: str, api_key: str = "sandbox-key", process: subprocess.Popen[str] | None = None
    ) -> None:
        self.base_url = base_url
        self.root_url = base_url.rpartition("/")[0]
        self.api_key = api_key
        self.process = process

    @property
    def sample_audio_url(self) -> str:
        """A spoken sentence of about four seconds."""
        return f"{self.root_url}/sandbox/media/speech.m4a"

    @property
    def sample_video_url(self) -> str:
        """A presenter, three seconds."""
        return f"{self.root_url}/sandbox/media/presenter.mp4"

    def ledger(self) -> dict[str, Any]:
        """What the sandbox has counted."""
        return self._ask("GET", "/sandbox/ledger")

    def add_fault(
        self, *, on: str, fault: str, times: int | None = 1, match: str | None = None, **options: Any
    ) -> dict[str, Any]:
        """Switch a fault on.

        :param on: create, query, download or task.
        :param fault: name of the fault.
        :param times: how often it happens, None for ever.
        :param match: only to requests with this text in them.
        :param options: when, skip, probability, seed, and the options of this fault.
        :raises ValueError: if the sandbox does not know such a fault.
        """
        definition = {"on": on, "fault": fault, "times": times, "match": match, **options}
        return self._ask("POST", "/sandbox/faults", definition)

    def faults(self) -> list[dict[str, Any]]:
        """The faults that were switched on, and how often each has happened."""
        return list(self._ask("GET", "/sandbox/faults")["faults"])

    def clear_faults(self) -> None:
        """Switch all faults off."""
        self._ask("DELETE", "/sandbox/faults")

    def reset(self) -> None:
        """Forget tasks, requests, faults and counts."""
        self._ask("POST", "/sandbox/reset")

    def _ask(self, method: str, path: str, content: object = None) -> dict[str, Any]:
        data = None if content is None else json.dumps(content).encode()
        url = self.root_url + path
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)  # noqa: S310
        try:
            with _opener().open(request, timeout=30) as answer:
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            with error:
                text = error.read().decode()
            if error.code == 422:
                raise ValueError(json.loads(text)["error"]) from None
            raise


def _opener() -> urllib.request.OpenerDirector:
    import ssl

    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname = False  # the sandbox on this machine has a certificate of your own making
    tls.verify_mode = ssl.CERT_NONE
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls))


@contextmanager
def running_sandbox(
    *,
    port: int = 0,
    api_key: str = "sandbox-key",
    processing_seconds: float = 0.2,
    url_ttl_seconds: float = 86_400.0,
    state_dir: str | Path | None = None,
    ssl_certfile: str | Path | None = None,
    ssl_keyfile: str | Path | None = None,
) -> Iterator[SandboxClient]:
    """Start a sandbox in a process of its own, and end it afterwards. The parameters are those of the command.

    :raises RuntimeError: if it does not start; the text holds what it said.
    """
    command = [
        *(sys.executable, "-m", "airflow_provider_digitalhuman.sandbox"),
        *("--port", str(port), "--api-key", api_key),
        *("--processing-seconds", str(processing_seconds), "--url-ttl-seconds", str(url_ttl_seconds)),
    ]
    for option, value in (
        ("--state-dir", state_dir),
        ("--ssl-certfile", ssl_certfile),
        ("--ssl-keyfile", ssl_keyfile),
    ):
        if value is not None:
            command += [option, str(value)]
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)  # noqa: S603 - own code
        try:
            yield SandboxClient(_wait_for_address(process, errors), api_key, process)
        finally:
            _stop(process)


def _wait_for_address(process: subprocess.Popen[str], errors: Any) -> str:
    from threading import Timer

    impatience = Timer(_START_SECONDS, process.kill)
    impatience.start()
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
    finally:
        impatience.cancel()
    if "listening on " not in line:
        process.wait()
        errors.seek(0)
        raise RuntimeError(f"The sandbox did not start: {errors.read().strip() or 'no word from it'}")
    return line.strip().rpartition(" ")[2]


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
